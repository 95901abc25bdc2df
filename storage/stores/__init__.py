"""The stores, one module or package each."""
