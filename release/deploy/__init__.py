"""From a promoted version to one that answers at a URL."""
