"""Panels, their transforms, windows and splits; loaders and generators."""
