"""How bytes become requests: gunicorn's worker, and the fronts before the app."""
