"""What GitHub is told: the comment of a pull request, and the issue of a workflow that nobody watches."""
