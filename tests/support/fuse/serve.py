"""The process that serves a mounted file system: ``python -m fuse.serve DESCRIPTOR DIRECTORY BEHAVIOUR``."""

from __future__ import annotations

import errno
import os
import signal
import struct
import sys
import traceback

from fuse.behaviour import Behaviour
from fuse.file_system import FileSystem
from fuse.protocol import HEADER, MAX_WRITE, NO_ANSWER

__all__ = ["serve"]


def serve(device: int, system: FileSystem) -> None:
    """Answer the requests that come from the open ``/dev/fuse``, until the file system is unmounted."""
    while True:
        try:
            request = os.read(device, MAX_WRITE + (1 << 16))
        except OSError as cause:
            if cause.errno in (errno.ENOENT, errno.EINTR):  # the request was interrupted
                continue
            return
        length, op, unique, number, user, group, _, _, _ = HEADER.unpack_from(request)
        if op in NO_ANSWER:
            continue
        failure, answer = 0, b""
        try:
            answer = system.answer(op, number, user, group, request[HEADER.size : length])
        except OSError as cause:
            failure = cause.errno or errno.EIO
        except Exception:
            traceback.print_exc()
            failure = errno.EIO
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(answer), -failure, unique) + answer)
        except OSError:
            continue  # the caller was killed meanwhile


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    serve(int(sys.argv[1]), FileSystem(sys.argv[2], Behaviour.from_json(sys.argv[3])))
