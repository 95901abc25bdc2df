"""The parameters of constructors: the kinds of values that annotations mean, and their conversion."""
