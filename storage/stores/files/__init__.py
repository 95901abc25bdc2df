"""The common base of the stores on plain files, `FileStore`, and its parts, one module each."""

import sys

if sys.platform == "win32":
    raise ImportError("stores on files need POSIX (flock, names relative to a directory); on Windows use SqliteStore")
