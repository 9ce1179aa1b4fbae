"""How bytes become requests: gunicorn's worker, and the event loop before the Flask app."""
