"""What the stores on plain files share: `FileStore`, and a module for each thing that it is made of."""

import sys

if sys.platform == "win32":
    raise ImportError("stores on files need POSIX (flock, names relative to a directory); on Windows use SqliteStore")
