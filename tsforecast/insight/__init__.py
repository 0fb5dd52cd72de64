"""Pictures of forecasts and backtests."""
