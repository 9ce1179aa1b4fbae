"""Yours: what the columns of the file mean (data.py) and the model itself (estimator.py)."""
