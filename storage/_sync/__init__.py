"""The hand-written half of the synchronous face; the generated half is `storage.sync`."""
