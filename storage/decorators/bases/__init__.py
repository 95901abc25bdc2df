"""The bases of the decorators: what decorators of one kind have in common."""
