"""Stores from text: stacks from a YAML file (`storage.config.factory`), a store from a URL (`storage.config.urls`)."""
