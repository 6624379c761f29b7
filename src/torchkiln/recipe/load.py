"""Recipes from files, text, mappings and overrides; defaults laid under them; and back to YAML.

Paths of data and weights in a recipe *file* start at that file's own folder, so that a recipe means the
same from wherever it is used and a folder that holds recipe and data can be moved. Paths given on the
command line or in Python start at the working directory. A loaded recipe holds absolute paths, and so does
the `recipe.yaml` of a run: the run can be copied, moved and repeated from anywhere while the data stays.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from torchkiln.errors import RecipeError
from torchkiln.recipe import check, overriding, yaml_text
from torchkiln.recipe.schema import Recipe, spell_out
from torchkiln.recipe.section import Part, Section
from torchkiln.recipe.wanted import json_schema

__all__ = ["dump", "json_schema", "load", "loads", "resolve"]

Overrides = Mapping[str, Any] | Sequence[str]
_PATHS = (("data", "path"), ("data", "train"), ("data", "val"), ("data", "test"), ("model", "pretrained"))


def load(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Overrides = (),
    *,
    check_paths: bool = True,
) -> Recipe:
    """Read a recipe and check it.

    Args:
        source: A YAML file, or the recipe as a mapping or a `Recipe`.
        overrides: `{"train.epochs": 5}` or `["train.epochs=5"]`; an index names an entry of a list, as in
            `optimizer.groups.0.lr`. A word in place of a section (`model=mlp`) stands for a new section.
        check_paths: Whether the data's files and folders must exist.

    Raises:
        RecipeError: All that is wrong, at once, each with its key, line and the nearest right name.
    """
    if isinstance(source, str | Path):
        text, name = _text(Path(source)), str(source)
        return _load(yaml_text.parse(text, name), name, Path(source).resolve().parent, overrides, check_paths)
    tree = source.model_dump(exclude_unset=True) if isinstance(source, Recipe) else _copied(source)
    return _load(yaml_text.Document(tree), None, Path.cwd(), overrides, check_paths)


def loads(text: str, overrides: Overrides = (), *, check_paths: bool = True) -> Recipe:
    """Like `load`, from YAML text, whose paths start at the working directory."""
    return _load(yaml_text.parse(text), None, Path.cwd(), overrides, check_paths)


def resolve(recipe: Recipe, defaults: Mapping[str, Any]) -> Recipe:
    """Lay defaults under what the person wrote.

    What was written stays, null included; `auto` gives way. The defaults for a part (a net, an optimizer)
    hold for the part they name, so they are left out where the person chose another; a default that does
    not go together with what was written beside it is left out too.

    Args:
        recipe: As loaded.
        defaults: Nested, with the recipe's keys.
    """
    values = recipe.model_dump(exclude_unset=True)
    for path, value in _left_open(values, defaults, Recipe):
        candidate = copy.deepcopy(values)
        holder = candidate
        for key in path[:-1]:
            holder = holder.setdefault(key, {})
        holder[path[-1]] = value
        try:
            Recipe.model_validate(candidate)
        except ValidationError as error:
            if any(e["type"] != "value_error" for e in error.errors()):
                raise
        else:
            values = candidate
    return Recipe.model_validate(values)


def dump(recipe: Recipe) -> str:
    """YAML that loads back to an equal recipe.

    Every value, in the schema's order, without the nulls and empty lists that nobody wrote.
    """
    return yaml.dump(
        _kept(recipe),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )


# Reading


def _load(
    document: yaml_text.Document, where: str | None, folder: Path, overrides: Overrides, check_paths: bool
) -> Recipe:
    tree = _top(document, where)
    written = _anchor(tree, folder)
    faults = [*document.faults, *overriding.apply(tree, overrides, document.origins)]
    written |= _anchor(tree, Path.cwd())
    recipe, found = check.check(tree, document.origins)
    faults += found
    if check_paths:
        faults += _missing_paths(tree, written)
    if faults or recipe is None:
        raise RecipeError(faults, where)
    return recipe


def _copied(value: Any) -> Any:
    """Containers copied, the values inside left as they are."""
    if isinstance(value, Mapping):
        return {str(k): _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _text(file: Path) -> str:
    if file.is_dir():
        raise RecipeError(f"{file} is a folder; a recipe is a YAML file")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise RecipeError(f"{file} does not exist{_nearest_file(file)}") from None
    except OSError as error:
        raise RecipeError(f"{file} cannot be read ({error.strerror})") from None
    try:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file} is no UTF-8 text (byte {error.start} is {content[error.start]:#04x}); "
                          "a recipe is a YAML file") from None  # fmt: skip


def _top(document: yaml_text.Document, where: str | None) -> dict[str, Any]:
    tree = document.value
    if tree is None:
        raise RecipeError("is empty; a recipe needs task and data", where)
    if not isinstance(tree, dict):
        found = "a list" if isinstance(tree, list) else f"only {str(tree)[:40]!r}"
        raise RecipeError(f"holds {found}; a recipe is a mapping of keys such as `task: ...`", where)
    empty = yaml_text.Plain("")
    tree = {k: v for k, v in tree.items() if not (isinstance(v, yaml_text.Plain) and v == empty)}
    null = {k: v for k, v in tree.items() if isinstance(v, yaml_text.Plain) and yaml_text.scalar(v) is None}
    return {k: null.get(k, v) for k, v in spell_out(tree).items()}


# Paths


def _anchor(tree: dict[str, Any], folder: Path) -> dict[str, tuple[str, Path]]:
    """Make the data's paths absolute.

    Args:
        tree: The recipe's data, changed in place.
        folder: Where relative paths start.

    Returns:
        By key, what was written and where it was taken to start.
    """
    written = {}
    for section, key, value in _paths(tree):
        if not os.path.isabs(value):
            written[f"{section}.{key}"] = (value, folder)
            tree[section][key] = os.path.normpath(folder / os.path.expanduser(value))
    _anchor_named_folder(tree.get("model"), folder)
    return written


def _anchor_named_folder(model: Any, folder: Path) -> None:
    """`hf:FOLDER` names a model in a folder, `hf:NAME` one of the hub: only the first is a path."""
    name = model.get("name") if isinstance(model, dict) else None
    if isinstance(name, str) and name.startswith("hf:") and name != "hf:":
        place = folder / os.path.expanduser(name.removeprefix("hf:"))
        if place.is_dir():
            model["name"] = f"hf:{os.path.normpath(place)}"


def _paths(tree: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Section, key and value of each path in a recipe's data."""
    for section, key in _PATHS:
        holder = tree.get(section)
        value = holder.get(key) if isinstance(holder, dict) else None
        said = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
        word = isinstance(value, yaml_text.Plain) and yaml_text.scalar(value) is None
        if key == "pretrained":
            word = word or said.lower() in ("auto", *check.SWITCHES)
        if said and not word:
            yield section, key, said


def _missing_paths(tree: Mapping[str, Any], written: Mapping[str, tuple[str, Path]]) -> Iterator[str]:
    for section, key, value in _paths(tree):
        if Path(value).exists():
            continue
        said, folder = written.get(f"{section}.{key}", (value, None))
        elsewhere = f" in {folder}" if folder else ""
        hint = _nearest_file(Path(value))
        if folder and Path(said).exists():
            hint = f"; paths in a recipe start at its own folder: write {os.path.relpath(said, folder)!r}"
        yield f"{section}.{key}: {said!r} does not exist{elsewhere}{hint}"


def _nearest_file(file: Path) -> str:
    """`; did you mean 'x'?` for a name like it in the same folder."""
    if not file.parent.is_dir():
        return ""
    beside = [p.name for p in file.parent.iterdir() if not p.name.startswith(".")]
    match = difflib.get_close_matches(file.name, beside, n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


# Defaults


def _left_open(
    written: Mapping[str, Any], defaults: Mapping[str, Any], section: type[BaseModel] | None
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths and values of the defaults that nothing written stands in the way of."""
    if section is not None and issubclass(section, Part) and _another_part(written, defaults):
        return
    for key, value in defaults.items():
        own = written.get(key, "auto")
        if isinstance(value, Mapping) and (own == "auto" or isinstance(own, Mapping)):
            below = {} if own == "auto" else own
            for path, leaf in _left_open(below, value, _section(section, key)):
                yield (key, *path), leaf
        elif own == "auto":
            yield (key,), value


def _another_part(written: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the person chose a part other than the one that the defaults are for."""
    for key in ("name", "class_path"):
        own, default = written.get(key), defaults.get(key)
        if own not in (None, "auto") and own != default and (defaults.get("name") or defaults.get("class_path")):
            return True
    return False


def _section(section: type[BaseModel] | None, key: str) -> type[BaseModel] | None:
    """The model of a key's value, if it is a section."""
    if section is None or key not in section.model_fields:
        return None
    annotation = section.model_fields[key].annotation
    found = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)]
    return found[0] if found else None


# Writing


def _kept(section: BaseModel) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            below = _kept(value)
            if below or value != field.get_default(call_default_factory=True):
                values[key] = below
        elif key in section.model_fields_set or value not in (None, [], {}):
            values[key] = _plain(value)
    return {**values, **{k: _plain(v) for k, v in (section.model_extra or {}).items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _kept(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


class _Dumper(yaml.SafeDumper):
    """Lists of scalars in one line; text in quotes where our reader would take it for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values out: our reader refuses aliases."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    ambiguous = not isinstance(yaml_text.scalar(text), str) or text.lower() in ("yes", "no", "on", "off")
    # line breaks other than \n are folded to spaces by YAML unless they are escaped
    style = '"' if set(text) & set("\r\x85\u2028\u2029") else "'" if ambiguous else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    flat = not any(isinstance(v, dict | list) for v in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
