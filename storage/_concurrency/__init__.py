"""_concurrency."""
