"""The decorators: three small bases in `storage.decorators.bases.store_decorator`, and one module for each idea."""
