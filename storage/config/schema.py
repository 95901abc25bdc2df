"""The JSON schema of configurations, made from the constructors: editors complete and check configurations with it."""

from __future__ import annotations

import inspect
import re
from typing import Any

from storage.base import ObjectStore
from storage.config.parameters.constructor import Constructor, Parameter
from storage.config.parameters.kind import Schema
from storage.config.registry import Registry, registry

__all__ = ["schema"]

#: The version that most editors support.
VERSION = "http://json-schema.org/draft-07/schema#"

_BELOW: Schema = {"$ref": "#/definitions/below"}

#: How ``base:`` is written for one parameter, by how the parameter holds stores.
_BASES: dict[str, Schema] = {
    "one": _BELOW,
    "several": {"type": "array", "items": _BELOW},
}


def schema(registry: Registry = registry) -> Schema:
    """
    Return the JSON schema (draft 7) of configurations with the types of a registry; all types are imported.

    A type that is not in the registry is valid too, with any parameters: the program may define it.
    """
    classes = {name: registry[name] for name in registry}
    names = {name: [name, *(short for short, of in registry.short_names().items() if of == name)] for name in classes}
    return {
        "$schema": VERSION,
        "title": "Stores, and stacks of stores",
        "type": "object",
        "required": ["stores"],
        "properties": {
            "$schema": {"type": "string"},
            "stores": {
                "description": "Every store under a name of its own.",
                "type": "object",
                "additionalProperties": {"$ref": "#/definitions/store"},
            },
            "main": {"description": "The store that is built when none is named.", "anyOf": [_BELOW]},
        },
        "patternProperties": {"^x-": {"description": "Not read; a place for anchors."}},
        "additionalProperties": False,
        "definitions": {
            "below": {
                "description": "The name of a store in 'stores:', or a definition.",
                "anyOf": [{"type": "string"}, {"$ref": "#/definitions/store"}],
            },
            "store": _store(names),
            **{name: _definition(cls) for name, cls in classes.items()},
        },
    }


def _store(names: dict[str, list[str]]) -> Schema:
    """Return the schema of any store's definition; its type selects the details."""
    known = [each for several in names.values() for each in several]
    return {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"description": "What kind of store it is.", "anyOf": [{"enum": known}, {"type": "string"}]},
            "base": {"description": "The store below, or the stores."},
            "config": {"description": "Parameters of the type.", "type": ["object", "null"]},
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"type": {"enum": [*several, f"Async{name}"]}}},
                "then": {"$ref": f"#/definitions/{name}"},
            }
            for name, several in names.items()
        ],
    }


def _definition(cls: type[ObjectStore[Any, Any]]) -> Schema:
    """Return the schema of the definitions of one type."""
    constructor = Constructor(cls)
    described = _described(cls)
    fields = {name: _parameter(each, described.get(name)) for name, each in constructor.parameters.items()}
    config: Schema = {"type": "object", "properties": fields}
    config["additionalProperties"] = False if constructor.others is None else constructor.others.schema()
    made: Schema = {"description": _summary(cls), "properties": {"config": config}}

    needed = [name for name, each in constructor.parameters.items() if each.required and not each.kind.holds]
    if needed:
        config["required"] = needed
        made["required"] = ["config"]
    else:
        config["type"] = ["object", "null"]
    if not constructor.stores:
        made["properties"]["base"] = {"type": "null"}
        return made

    made["properties"]["base"] = {"anyOf": _bases(constructor)}
    below = [name for name, each in constructor.stores.items() if each.required]
    if below:
        within: Schema = {"required": ["config"], "properties": {"config": {"required": below}}}
        made["anyOf"] = [{"required": ["base"]}, within]
    return made


def _bases(constructor: Constructor) -> list[Schema]:
    """Return all ways to write ``base:``."""
    stores = constructor.stores
    found = []
    for holds, form in _BASES.items():
        fitting = [each for each in stores.values() if each.kind.holds == holds]
        needed = [each for each in fitting if each.required] or fitting
        if len(needed) == 1:
            found.append(form)
    named = {name: each.kind.schema() for name, each in stores.items()}
    return [*found, {"type": "object", "properties": named, "additionalProperties": False}]


def _parameter(parameter: Parameter, description: str | None) -> Schema:
    found = parameter.kind.schema()
    if "$ref" in found:
        found = {"anyOf": [found]}  # draft 7 ignores everything beside a reference
    if description:
        found = {"description": description, **found}
    if isinstance(parameter.default, str | int | float) and not parameter.required:
        found = {**found, "default": parameter.default}
    return found


def _summary(cls: type) -> str:
    """Return the first paragraph of a class's docstring."""
    return " ".join((inspect.getdoc(cls) or cls.__name__).split("\n\n")[0].split())


def _described(cls: type) -> dict[str, str]:
    """Return the descriptions of parameters in the docstrings of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", text, re.MULTILINE):
            for name, words in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE):
                found[name] = " ".join(words.split())
    return found
