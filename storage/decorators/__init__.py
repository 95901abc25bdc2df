"""The decorators: one module or package each, on the bases in `storage.decorators.bases`."""
