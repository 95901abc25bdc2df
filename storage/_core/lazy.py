"""`lazy`: an attribute that is computed when it is first read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["lazy"]

if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy:  # noqa: N801  # a decorator, like `property`
        """
        An attribute that its method computes when it is first read, and that then costs what others do.

        Two threads may compute it at the same time. Up to Python 3.11, `functools.cached_property` has a lock for that,
        one for all objects: after a fork, the child would wait for ever if another thread of the parent had it.
        """

        def __init__(self, compute: Any) -> None:
            self._compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._compute(instance)
            return value
