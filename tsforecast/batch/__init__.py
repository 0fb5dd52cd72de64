"""A scheduled job: forecasts at a run date, safe to repeat and to kill."""
