"""Recurrent networks: cells, heads, the forecasting network and its training."""
