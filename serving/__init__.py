"""The service: Flask under gunicorn, answering for the one model of its bundle."""
