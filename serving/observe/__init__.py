"""What the service says of itself: metrics, log, the ids of requests, spans."""
