"""`key=value`: changes to a recipe by dotted path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import SHORT_FORMS
from torchkiln.recipe.wanted import at, options
from torchkiln.recipe.yaml_text import Path, Plain, dotted, parse, scalar


def apply(tree: dict[str, Any], overrides: Mapping[str, Any] | Sequence[str], origins: dict[Path, str]) -> list[str]:
    """Change a recipe's data in place.

    Args:
        tree: Dicts, lists and scalars.
        overrides: By dotted path, or as `key=value`, whose values are read like unquoted YAML.
        origins: Where each key was written; gains the overrides.

    Returns:
        One sentence for each override that cannot be applied.
    """
    faults: list[str] = []
    for said, key, value in _pairs(overrides, faults):
        path = key.split(".")
        if not all(path):
            faults.append(f"{said}: {key!r} is no key; write it like train.epochs")
            continue
        try:
            origins[_set(tree, path, value)] = f"given as {said}"
        except _Unfit as error:
            faults.append(f"{said}: {error}")
    return faults


class _Unfit(Exception):
    """An override that does not fit what the recipe holds."""


def _pairs(overrides: Mapping[str, Any] | Sequence[str], faults: list[str]) -> Iterator[tuple[str, str, Any]]:
    """What the person said, the key and the value of each override."""
    if isinstance(overrides, Mapping):
        yield from ((f"{key}={value}"[:60], str(key), value) for key, value in overrides.items())
        return
    for said in [overrides] if isinstance(overrides, str) else overrides:
        key, equals, text = said.partition("=")
        if not equals or not key.strip():
            faults.append(f"{said!r} is no override; write key=value, such as train.epochs=5")
        elif not text.strip():
            faults.append(f"{said!r} has no value; write {key}=null to switch a setting off")
        else:
            try:
                yield said[:60], key.strip(), _value(text.strip())
            except RecipeError as error:
                faults.append(f"{said!r}: the value is no YAML ({error.faults[0]})")


def _value(text: str) -> Any:
    """Lists, mappings and quoted text as YAML, all else as it stands: `*.bias`, `a: b`, `x #1`."""
    return parse(text).value if text[0] in "[{\"'" else Plain(text)


def _set(tree: dict[str, Any], keys: list[str], value: Any) -> Path:
    """Put a value at a path; returns the path with positions in lists as numbers."""
    holder: Any = tree
    path: Path = ()
    for key in keys[:-1]:
        step = _step(holder, key)
        path = (*path, step)
        below = _below(holder, step)
        if below is None:
            _put(holder, step, [] if _is_list(path) else {})
            below = _below(holder, step)
        if not isinstance(below, dict | list):
            raise _Unfit(f"{dotted(path)} holds {str(below)!r}, which has no keys of its own")
        holder = below
    last = _step(holder, keys[-1])
    _put(holder, last, value if path else _section(str(last), tree.get(str(last)), value))
    return (*path, last)


def _section(key: str, before: Any, value: Any) -> Any:
    """A word stands for a new section, unless it names the part that is there, or where the data is."""
    short = SHORT_FORMS.get(key)
    if short is None or not isinstance(value, str) or _is_null(value):
        return value
    keeps = isinstance(before, dict) and (key == "data" or before.get(short) == value)
    return {**before, short: value} if keeps else _Anew({short: value})


class _Anew(dict[str, Any]):
    """A mapping that takes the place of the one before it."""


def _step(holder: Any, key: str) -> str | int:
    """The key, or the position in a list."""
    if not isinstance(holder, list):
        return key
    if not key.isdigit():
        raise _Unfit(f"{key!r} is no position in a list of {len(holder)}; positions begin at 0")
    if int(key) > len(holder):
        raise _Unfit(f"there is no entry {key} in a list of {len(holder)}; the next to add is {len(holder)}")
    return int(key)


def _below(holder: Any, step: Any) -> Any:
    if isinstance(holder, list):
        return holder[step] if step < len(holder) else None
    value = holder.get(step)
    return None if _is_null(value) else value


def _put(holder: Any, step: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder[step : step + 1] = [value]
    else:
        holder[step] = _merged(holder.get(step), value)


def _merged(before: Any, value: Any) -> Any:
    """A mapping given for a mapping changes the keys it names."""
    if isinstance(value, _Anew) or not (isinstance(before, dict) and isinstance(value, Mapping)):
        return dict(value) if isinstance(value, Mapping) else value
    return {**before, **{str(k): _merged(before.get(str(k)), v) for k, v in value.items()}}


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, Plain) and scalar(value) is None)


def _is_list(path: Path) -> bool:
    return any(option.get("type") == "array" for option in options(at(path)))
