"""`Builder`: builds stores from their definitions, the lower ones first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from storage._core.suggestions import did_you_mean
from storage.base import ObjectStore
from storage.config.document import Definition, Document, definition
from storage.config.interpolation import Expanded, InterpolationError, expand
from storage.config.make_store import make
from storage.config.parameters.constructor import Constructor
from storage.config.parameters.kind import MismatchError, called, plain
from storage.config.registry import Registry
from storage.errors import ConfigError

__all__ = ["BuildContext", "Builder"]


class BuildContext:
    """
    What the stores of one configuration share while they are built.

    Attributes:
        file: the name of the configuration in errors.
        document: the configuration.
        registry: where types are looked up.
        objects: the objects that the program passed in.
        variables: for ``${NAME}``.
        main: the store that ``main:`` names or defines, once it is built.
        named: the built stores, by their names.
        built: all built stores, also those without a name; a lower store comes before those built on it.
    """

    def __init__(
        self,
        file: str,
        document: Document,
        registry: Registry,
        objects: Mapping[str, object],
        variables: Mapping[str, str],
    ) -> None:
        self.file = file
        self.document = document
        self.registry = registry
        self.objects = objects
        self.variables = variables
        self.main: ObjectStore[Any, Any] | None = None
        self.named: dict[str, ObjectStore[Any, Any]] = {}
        self.built: list[ObjectStore[Any, Any]] = []


class Builder:
    """
    Builds the stores that one place of a configuration names or defines.

    Args:
        context: the configuration.
        place: the place in it, for errors; empty for the whole.
        names: the stores that are being built now, the outermost first.
    """

    def __init__(self, context: BuildContext, place: str = "", names: tuple[str, ...] = ()) -> None:
        self.objects: Mapping[str, object] = context.objects
        self._context = context
        self._where = f"{context.file}: {place}" if place else context.file
        self._place = place
        self._names = names

    def store(self, value: object) -> ObjectStore[Any, Any]:
        """
        Return the store that *value* names or defines.

        Raises:
            MismatchError: *value* is neither a name nor a definition.
            ConfigError: the store cannot be built.
        """
        if isinstance(value, Mapping):
            inner = definition(value, f"{self._where}, the store defined in it")
            return Builder(self._context, f"{self._place}, the {inner.type} defined in it", self._names)._made(inner)
        if not isinstance(value, str):
            raise MismatchError(f"expected the name of a store, not {called(value)}")
        name: str = plain(value)
        context = self._context
        if name in context.named:
            return context.named[name]
        if name not in context.document.stores:
            self._refuse(f"there is no store named {_shown(value)}: {did_you_mean(name, context.document.stores)}")
        if name in self._names:
            circle = " -> ".join([*self._names[self._names.index(name) :], name])
            self._refuse(f"a store cannot be built on itself: {circle}")
        builder = Builder(context, f"store {name!r}", (*self._names, name))
        store = builder._made(context.document.stores[name])
        return context.named.setdefault(name, store)  # a signal handler may have built it meanwhile

    def expanded(self, value: Any, what: str = "") -> Any:
        """
        Return a value with the references in all its texts replaced.

        Args:
            value: a value as YAML or JSON gives it.
            what: the name of the value, for errors.

        Raises:
            ConfigError: a variable is not set, or a reference is not well formed.
        """
        if isinstance(value, str):
            try:
                return expand(value, self._context.variables)
            except InterpolationError as error:
                self._refuse(f"{what}: {error}" if what else str(error))
        if isinstance(value, list):
            return [self.expanded(each, what) for each in value]
        if isinstance(value, Mapping):
            return {self.expanded(name, what): self.expanded(each, what) for name, each in value.items()}
        return value

    def _made(self, found: Definition) -> ObjectStore[Any, Any]:
        """Return a new store."""
        context = self._context
        cls = self._class(self.expanded(found.type, "type"))
        constructor = Constructor(cls)
        config = {name: self.expanded(value, f"parameter {name!r}") for name, value in found.config.items()}
        below = self._below(self.expanded(found.base, "base"), constructor, cls.__name__)
        for name in config.keys() & below.keys():
            self._refuse(f"parameter {name!r} is given in 'base:' and in 'config:': give it once")
        values = {**below, **config}
        for name, parameter in constructor.stores.items():
            if parameter.required and name not in values:
                names = ", ".join(context.document.stores)
                self._refuse(
                    f"{cls.__name__} needs a store for {name!r}: write '{_form(constructor)}'; available: {names}"
                )
        named = "store_name" in constructor.parameters and "store_name" not in values and self._names
        given = {"store_name": self._names[-1]} if named else {}
        store = make(cls, values, where=self._where, building=self, given=given)
        context.built.append(store)
        return store

    def _class(self, name: str) -> type[ObjectStore[Any, Any]]:
        registry = self._context.registry
        if name not in registry:
            self._refuse(f"unknown type {_shown(name)}: {did_you_mean(name, [*registry, *registry.short_names()])}")
        try:
            return registry[plain(name)]
        except ConfigError as error:
            raise ConfigError(f"{self._where}: {error.message}") from error.__cause__

    def _below(self, base: Any, constructor: Constructor, cls: str) -> dict[str, object]:
        """Return the values that ``base:`` gives, by the parameters' names."""
        stores = constructor.stores
        if base is None:
            return {}
        if not stores:
            self._refuse(f"{cls} is not built on another store: remove 'base:'")
        if isinstance(base, Mapping) and "type" not in base:
            for name in base:
                if name not in stores:
                    self._refuse(f"{cls} has no store parameter {_shown(name)}: {did_you_mean(str(name), stores)}")
            return {plain(name): value for name, value in base.items()}
        wanted = "several" if isinstance(base, list) else "one"
        found = [each for each in stores.values() if each.kind.holds == wanted]
        needed = [each for each in found if each.required] or found
        if len(needed) != 1:
            self._refuse(f"{cls} cannot be built on this 'base:': write '{_form(constructor)}'")
        return {needed[0].name: base}

    def _refuse(self, message: str) -> NoReturn:
        raise ConfigError(f"{self._where}: {message}")


#: How the stores of a parameter are written, by how the parameter holds them.
_FORMS = {"one": "NAME", "several": "[NAME, ...]", "named": "{...: NAME}"}


def _form(constructor: Constructor) -> str:
    """Return how ``base:`` must be written for a class."""
    forms = {name: _FORMS[each.kind.holds or "one"] for name, each in constructor.stores.items()}
    if len(forms) == 1:
        return f"base: {next(iter(forms.values()))}"
    return f"base: {{{', '.join(f'{name}: {form}' for name, form in forms.items())}}}"


def _shown(value: object) -> str:
    """Return a name in the form in which an error may show it."""
    return value.source if isinstance(value, Expanded) else repr(value)
