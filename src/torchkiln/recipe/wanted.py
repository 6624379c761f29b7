"""What the recipe's schema wants at a place, in JSON Schema and in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from torchkiln.recipe.schema import SHORT_FORMS, Recipe
from torchkiln.registry import task_names

Node = dict[str, Any]
"""A part of the JSON Schema."""


@functools.cache
def json_schema() -> Node:
    """The JSON Schema of recipes, with which editors complete and check them."""
    schema = Recipe.model_json_schema()
    properties = schema["properties"]
    properties["task"]["enum"] = task_names()
    for section, key in SHORT_FORMS.items():
        full = properties[section]
        said = f"{full.pop('description', '')} A single word is short for {key}.".strip()
        properties[section] = {"anyOf": [{"type": "string"}, full], "description": said}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "torchkiln recipe"}


def options(node: Node) -> list[Node]:
    """The alternatives that a node allows, references followed."""
    if "$ref" in node:
        return options(json_schema()["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node:
        return [o for part in node["anyOf"] for o in options(part)]
    return [node]


def child(node: Node, key: str | int) -> Node:
    """What is wanted below a mapping's key or a list's index; `{}`, which allows anything, if unknown."""
    for option in options(node):
        if isinstance(key, int) and option.get("type") == "array":
            fixed: list[Node] = option.get("prefixItems", [])
            found: Node = fixed[key] if key < len(fixed) else option.get("items", {})
            return found
        if isinstance(key, str) and option.get("type") == "object":
            below: Any = option.get("properties", {}).get(key, option.get("additionalProperties"))
            return below if isinstance(below, dict) else {}
    return {}


def at(path: Sequence[str | int]) -> Node:
    """What is wanted at a path from the recipe's top."""
    node = json_schema()
    for key in path:
        node = child(node, key)
    return node


def keys(node: Node) -> list[str]:
    """The keys of a section, in the order of the schema; empty where there are none of our own."""
    return [k for option in options(node) for k in option.get("properties", {})]


def known_paths(node: Node | None = None, prefix: str = "") -> Iterator[str]:
    """All dotted paths of the recipe's sections and keys, except those inside lists."""
    node = json_schema() if node is None else node
    for option in options(node):
        for key, below in option.get("properties", {}).items():
            yield prefix + key
            yield from known_paths(below, f"{prefix}{key}.")


def words(node: Node) -> list[str]:
    """The words that a node allows by name."""
    return [w for o in options(node) for w in ([o["const"]] if "const" in o else o.get("enum", []))]


def describe(node: Node) -> str:
    """What is accepted, for a person: `a whole number of at least 1 or null`."""
    named = list(map(str, words(node)))
    said = [_one(o) for o in options(node) if "const" not in o and "enum" not in o]
    if named and "text" not in said:
        said.insert(0, f"one of {', '.join(named)}" if len(named) > 1 else f"the word {named[0]}")
    return " or ".join(dict.fromkeys(said))


def _one(option: Node) -> str:
    kind = option.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(option)
    if kind == "array":
        return _list(option)
    if kind == "object":
        named = keys(option)
        return f"a mapping with keys such as {', '.join(named[:4])}" if named else "a mapping"
    return {"string": "text", "boolean": "true or false", "null": "null"}.get(str(kind), "any plain value")


def _list(option: Node) -> str:
    fixed = option.get("prefixItems")
    if fixed:
        return f"a list of {len(fixed)} ({', '.join(describe(p) for p in fixed)})"
    items = options(option.get("items", {}))
    if items[0].get("type") == "object":
        return f"a list of mappings with keys such as {', '.join(keys(items[0])[:4])}"
    return f"a list, each {describe(option.get('items', {}))}"


def _bounds(option: Node) -> str:
    low, above = option.get("minimum"), option.get("exclusiveMinimum")
    high, below = option.get("maximum"), option.get("exclusiveMaximum")
    if below is not None and below > 2**53:
        below = None
    start = f"of at least {low}" if low is not None else f"above {above}" if above is not None else ""
    end = f"at most {high}" if high is not None else f"below {below}" if below is not None else ""
    if low is not None and end:
        start = f"from {low}"
        end = f"to {high}" if high is not None else f"to below {below}"
        return f" {start} {end}"
    return "".join(f" {part}" for part in (start, "and" if start and end else "", end) if part)
