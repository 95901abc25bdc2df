"""Functions over the contract: they work on every store, a user's own included."""
