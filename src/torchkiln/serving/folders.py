"""Models as they lie in folders: bundles, runs, folders of `name/version/`, and what a folder says of routing."""

from __future__ import annotations

import json
import re
from pathlib import Path

from torchkiln.errors import InputError
from torchkiln.serving.model import NAME, Model, Routing

MANIFEST = "manifest.json"
ROUTING = "serving.json"
"""Beside the versions of a model in a folder: its aliases, canary and shadow."""


def found(path: Path) -> list[Model]:
    """What a path holds, or `NAME=PATH`: one model, or those of a folder."""
    name, _, named = str(path).partition("=")
    if named and not path.exists() and NAME.fullmatch(name):
        models = found(Path(named))
        if len(models) > 1:
            raise InputError(f"{path}: {named} holds {len(models)} models; a name is for one")
        models[0].name = name
        return models
    if path.is_file() or (path / MANIFEST).is_file():
        return [Model(_name(path), paths={"1": path})]
    if (path / "bundle" / MANIFEST).is_file():
        return [Model(_name(path / "bundle"), paths={"1": path / "bundle"})]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; a bundle, a run with one, or a folder of name/version/ is expected")
    models = []
    for folder in sorted(path.iterdir()):
        if NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            versions = {
                one.name: one
                for one in folder.iterdir()
                if NAME.fullmatch(one.name) and not one.is_symlink() and (one / MANIFEST).is_file()
            }
            if versions:
                models.append(Model(folder.name, folder, versions, routing=routing(folder, Routing())))
    if not models and (path / "recipe.yaml").is_file():
        raise InputError(f"{path} is a run without a bundle; make it: torchkiln export {path}")
    if not models:
        raise InputError(f"{path} holds no bundle, neither itself nor as name/version/; make one: torchkiln export RUN")
    return models


def _name(bundle: Path) -> str:
    """What the manifest calls the model, in letters that a route takes."""
    name = bundle.stem
    if bundle.is_dir():
        try:
            name = str(json.loads((bundle / MANIFEST).read_bytes())["name"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            name = bundle.stem  # the loader says what is wrong with it
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("_.-")[:128] or "model"


def policy(text: str) -> int | frozenset[str]:
    """Of the latest how many, 0 for all; or which by name."""
    if text == "all":
        return 0
    kind, _, number = text.partition(":")
    if kind == "latest":
        if number and (not number.isdecimal() or int(number) < 1):
            raise InputError(f"--versions {text}: latest:N takes a number from 1")
        return int(number or 1)
    return frozenset(text.split(","))


def routing(folder: Path, otherwise: Routing) -> Routing:
    """The content of serving.json; `otherwise` where there is none or it cannot be read."""
    try:
        return Routing.of(json.loads((folder / ROUTING).read_bytes()), str(folder / ROUTING))
    except (OSError, ValueError, RecursionError, InputError):
        return otherwise


def keep(folder: Path, routing: Routing) -> None:
    """Write serving.json, so that a restart goes on alike; where the folder cannot be written, memory must do."""
    temporary = folder / f".{ROUTING}"
    try:
        temporary.write_text(json.dumps(routing.state(), indent=1), encoding="utf-8")
        temporary.replace(folder / ROUTING)
    except OSError:
        return


def look_of(bundle: Path) -> str:
    """Names, sizes and times of a bundle's files, which tell whether it is another; empty where it is gone."""
    files = [bundle] if bundle.is_file() else sorted(bundle.rglob("*"))
    try:
        seen = [(str(file), file.lstat().st_size, file.lstat().st_mtime_ns) for file in files]
    except OSError:
        return "changing"
    return repr(seen) if seen else ""
