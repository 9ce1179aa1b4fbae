"""The load generator: pairs of requests by Locust, in one process or several, and what an arm can take of them."""
