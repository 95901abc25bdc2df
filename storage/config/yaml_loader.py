"""`from_yaml`: YAML with safe types only, unique keys and a bounded number of values. Only this module needs PyYAML."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["from_yaml"]

#: The most values of a document, counting those that aliases stand for: a dozen lines can stand for billions.
MAX_VALUES = 50_000


def from_yaml(text: str) -> object:
    """
    Return the document in *text*.

    Raises:
        ValueError: it is not valid YAML. The error shows nothing of the text but keys and tags.
    """
    try:
        return yaml.load(text, _Loader)  # a safe loader, made stricter
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(
            f"it is not valid YAML: {' '.join(filter(None, [error.context, error.problem]))}{place}"
        ) from None
    except yaml.YAMLError:
        raise ValueError("it is not valid YAML: it has characters that YAML does not allow") from None
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):  # PyYAML raises all of these
        raise ValueError("it is not valid YAML: a wrong number or date; put it in quotes if it is text") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which by default takes any number of values and lets a later key replace an earlier one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            anchored: Any = self.anchors.get(event.anchor)
            if anchored is not None and anchored not in self._sizes:
                raise self._wrong("an alias inside the value that it stands for", event.start_mark)
            return super().compose_node(parent, index)

        node: Any = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            size = 1 + sum(self._sizes[part] for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            size = 1 + sum(self._sizes[part] for part in node.value)
        else:
            size = 1
        if size > MAX_VALUES:
            raise self._wrong(f"more than {MAX_VALUES} values, counting those that aliases stand for", node.start_mark)
        self._sizes[node] = size
        return node

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise self._wrong(f"the key {key.value!r} is given twice", key.start_mark)
                seen.add((key.tag, key.value))

    def _wrong(self, problem: str, mark: Any) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
