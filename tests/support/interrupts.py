"""Ctrl-C, or another signal handler, at a chosen moment of a call."""

from __future__ import annotations

import dis
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["interrupted_at"]


def _ctrl_c() -> None:
    raise KeyboardInterrupt


def interrupted_at(moment: int, work: Callable[[], object], handler: Callable[[], object] = _ctrl_c) -> bool:
    """
    Run *work*, and call *handler* at a moment when the interpreter can; return whether it did.

    Moments are counted from 1 on. The interpreter runs signal handlers after a call, at the beginning of a function and
    at the end of a loop's body.
    """
    left = moment
    last: dict[int, str] = {}  # by the frame's id: a frame that is kept would keep what its variables own

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if f"{os.sep}storage{os.sep}" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "call":
            last[id(frame)] = "RESUME"
        if event == "opcode":
            before = last.get(id(frame), "")
            last[id(frame)] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                left -= 1
                if not left:
                    handler()
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return left <= 0  # an interrupt in a finalizer is lost
