"""The decorators: three small bases in `storage.decorators.base`, and one module for each idea."""
