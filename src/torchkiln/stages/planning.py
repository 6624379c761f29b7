"""The plan of a run that is not begun."""

from __future__ import annotations

from typing import Any

from torchkiln.recipe.schema import Recipe
from torchkiln.runs.progress import Progress
from torchkiln.stages import from_parts, from_recipe


def plan(recipe: Recipe, parts: from_parts.Parts | None, progress: Progress, anew: bool) -> dict[str, Any]:
    """How a run of this recipe would go here; writes nothing but caches.

    Args:
        recipe: As loaded.
        parts: The person's own parts, in place of the recipe's data.
        progress: Who shows it.
        anew: Measure although an earlier run did.

    Returns:
        As plan.json, and `recipe` with every `auto` replaced.
    """
    if parts is None:
        planned = from_recipe.look(recipe, progress, anew)[-1]
    else:
        planned = from_parts.look(parts, recipe, progress, anew)[-1]
    return {**planned.written(), "recipe": planned.recipe.model_dump(mode="json")}
