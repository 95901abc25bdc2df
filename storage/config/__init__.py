"""
Stores from text.

A stack from a YAML file (`storage.config.factory`), a store from a URL (`storage.config.urls`), a class by its name
(`storage.config.registry`).
"""
