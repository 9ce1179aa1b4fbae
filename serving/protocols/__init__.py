"""The protocols that the service speaks: each takes bodies to records and answers of the model to replies."""
