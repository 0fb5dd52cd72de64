"""Judgement: rolling origins, tests of skill, proof against looking ahead."""
