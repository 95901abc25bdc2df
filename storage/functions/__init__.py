"""Functions that use only the contract of stores: they work on every store, also on your own."""
