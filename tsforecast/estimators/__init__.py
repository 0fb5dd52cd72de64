"""What users fit: recurrent forecasters and the baselines they must beat."""
