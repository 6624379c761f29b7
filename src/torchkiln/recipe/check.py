"""A recipe as plain data, made into a `Recipe` or into one sentence for each of its faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from torchkiln.recipe import wanted
from torchkiln.recipe.nearest import key_meant, word_meant
from torchkiln.recipe.schema import Recipe
from torchkiln.recipe.yaml_text import Path, Plain, dotted, scalar

_NOTHING = object()
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def check(tree: dict[str, Any], origins: Mapping[Path, str]) -> tuple[Recipe | None, list[str]]:
    """Validate a recipe's data.

    Args:
        tree: Dicts, lists and scalars, short forms spelled out; unquoted scalars of YAML are `Plain`.
        origins: Where the person wrote what, for the sentences.

    Returns:
        The recipe, or None and what is wrong with it.
    """
    checker = _Checker(origins)
    values = checker.settle(tree, wanted.json_schema(), ())
    recipe = checker.validate(values)
    if recipe is None:
        # An unknown key hides how the other keys of its section fit together: look again without it.
        checker.validate(checker.with_right_names(values))
    return (None if checker.faults else recipe), list(dict.fromkeys(checker.faults))


class _Checker:
    """Collects the faults of one recipe."""

    def __init__(self, origins: Mapping[Path, str]) -> None:
        self.origins = origins
        self.faults: list[str] = []
        self.unknown: list[Path] = []

    def add(self, path: Path, said: str) -> None:
        """Note a fault at a path, with the place where the person wrote it."""
        origin = ""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                origin = f" ({self.origins[path[:length]]})"
                break
        self.faults.append(f"{dotted(path) or 'the recipe'}{origin}: {said}")

    # Types: what an unquoted word means depends on what is wanted

    def settle(self, value: Any, node: wanted.Node, path: Path) -> Any:
        """Plain data whose unquoted scalars have the type that the schema wants."""
        if isinstance(value, Plain):
            return self._scalar(value, node, path)
        if isinstance(value, Mapping):
            below = {k: self.settle(v, wanted.child(node, str(k)), (*path, str(k))) for k, v in value.items()}
            return {str(k): v for k, v in below.items() if v is not _NOTHING}
        if isinstance(value, list | tuple):
            items = [self.settle(v, wanted.child(node, i), (*path, i)) for i, v in enumerate(value)]
            return [None if v is _NOTHING else v for v in items]
        return self._python_value(value, node, path)

    def _scalar(self, text: Plain, node: wanted.Node, path: Path) -> Any:
        kinds, value = _kinds(node), scalar(text)
        if text == "" and kinds:
            return _NOTHING  # a section whose lines are all comments is as if it were not written
        if not kinds:
            return self._free(text, path)
        if (value is None and "null" in kinds) or text in wanted.words(node):
            return None if value is None else str(text)
        if "boolean" in kinds and text.lower() in SWITCHES:
            return SWITCHES[text.lower()]
        if type(value) in (int, float) and kinds & {"integer", "number"}:
            return value
        if "string" in kinds and value is not None:
            return str(text)
        return self._python_value(value, node, path)

    def _free(self, text: Plain, path: Path) -> Any:
        """A value of the person's own arguments, where nothing says what is wanted."""
        if text.lower() in SWITCHES and not isinstance(scalar(text), bool):
            meant = str(SWITCHES[text.lower()]).lower()
            self.add(path, f"found {text}, which some read as {meant} and some as a word: write {meant}, or "
                           f"'{text}' in quotes")  # fmt: skip
        return scalar(text)

    def _python_value(self, value: Any, node: wanted.Node, path: Path) -> Any:
        kinds = _kinds(node)
        if hasattr(value, "__fspath__"):
            return str(value)
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
            value = value.item()
        if isinstance(value, bool) and kinds & {"integer", "number"} and "boolean" not in kinds:
            self.add(path, f"found {_found(value)}, accepted is {wanted.describe(node)}")
        if value is not None and not isinstance(value, str | int | float | bool):
            self.add(path, f"holds a value of type {type(value).__name__}; a recipe holds plain values only "
                           "(text, numbers, true, false, null, lists, mappings)")  # fmt: skip
            return _NOTHING
        return value

    # Faults of pydantic, in our words

    def validate(self, values: Any) -> Recipe | None:
        """The recipe, or None and its faults noted."""
        try:
            return Recipe.model_validate(values)
        except ValidationError as error:
            found = [(_real_path(e, values), e) for e in error.errors(include_url=False)]
        for path, fault in found:
            beneath = any(other[: len(path)] == path and len(other) > len(path) for other, _ in found)
            if not (beneath and fault["type"] not in ("value_error", "extra_forbidden")):
                self._tell(path, fault)
        return None

    def _tell(self, path: Path, fault: Any) -> None:
        if fault["type"] == "extra_forbidden":
            self.unknown.append(path)
            self._unknown_key(path)
        elif fault["type"] == "value_error":
            said = str(fault["ctx"]["error"])
            self.add(path, said) if path else self.faults.append(said)
        elif fault["type"] == "missing" and isinstance(fault["loc"][-1], str):
            self.add(path, f"is missing; accepted is {wanted.describe(wanted.at(path))}")
        else:
            value, node = fault["input"], wanted.at(path)
            meant = word_meant(path, value) if isinstance(value, str) else None
            if value is None:
                meant = word_meant((*path, "name"), "null")
            hint = f"; did you mean {meant}?" if meant else ""
            self.add(path, f"found {_found(value)}, accepted is {wanted.describe(node)}{hint}")

    def _unknown_key(self, path: Path) -> None:
        meant, key = key_meant(path), str(path[-1])
        own = wanted.keys(wanted.at(path[:-1]))
        hint = f"did you mean {meant}?" if meant else f"known here are {', '.join(own)}"
        if "." in key and key in wanted.known_paths():
            hint = "nest it: {}: ...".format(": {".join(key.split("."))) + "}" * key.count(".")
        self.add(path, f"unknown key; {hint}")

    def with_right_names(self, values: Any) -> Any:
        """The data with unknown keys renamed to what was meant, where that is beside them, else left out."""
        for *section, key in self.unknown:
            holder = values
            for part in section:
                holder = holder[part]
            value, meant = holder.pop(key), key_meant((*section, key))
            if meant in wanted.keys(wanted.at(section)) and meant not in holder:
                holder[meant] = value
        return values


def _kinds(node: wanted.Node) -> set[str]:
    """JSON types that a node allows; empty where it allows anything."""
    options = wanted.options(node)
    return {str(o["type"]) for o in options} if all("type" in o for o in options) else set()


def _real_path(error: Any, values: Any) -> Path:
    """Pydantic's place of a fault without the names of the union's branches it tried."""
    path: list[str | int] = []
    here, loc = values, error["loc"]
    for part in loc:
        listed = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if listed or (isinstance(here, Mapping) and part in here):
            here = here[part]
            path.append(part)
    if error["type"] == "missing" and isinstance(loc[-1], str):
        path.append(loc[-1])
    return tuple(path)


def _found(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, list(value)[:5]))}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
