"""What a person gives in place of a recipe: a file, a mapping, a folder of data, or parts of their own.

All of it is read without torch, so that a slip of the pen is answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import nearest
from torchkiln.runs.directory import RECIPE


def check(recipe: Any, model: Any, data: Any) -> None:
    """Whether there is something to train, and data to train it on.

    Raises:
        InputError: There is not.
    """
    if model is not None and data is None:
        raise DataError("data: give datasets, loaders or a LightningDataModule beside the model")
    if recipe is None and model is None:
        raise RecipeError("give a recipe, data, or model and data")


def recipe_of(recipe: Any, overrides: Any, model: Any, target: str | None) -> Recipe:
    """The recipe of a new run; with a model of the person's it is a custom one."""
    if model is None:
        return _read(recipe, overrides, target)
    written = recipe if isinstance(recipe, Mapping) else {}
    return recipes.load({"task": "custom", "data": {}, **written}, overrides, check_paths=False)


def _read(recipe: Any, overrides: Any, target: str | None) -> Recipe:
    """A recipe, or the one proposed for the data that was given in its place."""
    if not isinstance(recipe, str | Path):
        return recipes.load(recipe, overrides)
    path = Path(recipe)
    if path.suffix.lower() in (".yaml", ".yml") and not path.is_dir():
        return recipes.load(path, overrides)
    if path.is_dir() and (path / RECIPE).is_file():
        raise RecipeError(f"{path} is a run directory; repeat it by {path / RECIPE}, or go on by --resume {path}")
    if not path.exists():
        raise RecipeError(_not_there(path, "a recipe (.yaml), or a folder or file of data"))
    return recipes.loads(proposal(path, str(path), target or _target_in(overrides)), overrides)


def proposal(data: str | Path, written: str, target: str | None) -> str:
    """A recipe for `data`, which it names as `written`."""
    from torchkiln.data import facts, sources
    from torchkiln.recipe.propose import propose

    path = Path(data)
    if not path.exists():
        raise DataError(_not_there(path, "a folder or a file of data"))
    return propose(facts.gather(sources.look(path), written), target)


def _target_in(overrides: Mapping[str, Any] | Sequence[str]) -> str | None:
    """What the overrides say of `data.target`, so that it need not be guessed."""
    if isinstance(overrides, Mapping):
        found = overrides.get("data.target")
        return None if found is None else str(found)
    said = [o.partition("=")[2] for o in overrides if o.startswith("data.target=")]
    return said[-1] if said else None


def _not_there(path: Path, wanted: str) -> str:
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    return f"{path} does not exist; " + (f"did you mean {path.with_name(near)}?" if near else f"give {wanted}")


def devices_alone(overrides: Mapping[str, Any] | Sequence[str]) -> bool:
    """Whether nothing but the number of processes is to change."""
    return all(str(o).partition("=")[0] == "train.devices" for o in overrides)
