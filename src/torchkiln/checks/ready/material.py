"""What a run directory holds of evidence, read and nothing executed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torchkiln.errors import RunError
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs import checkpoints, verify
from torchkiln.runs.directory import RECIPE, RunDirectory

NOTES = "ready.json"
"""In the run: waivers with their reasons, the version to go back to, the run that was resumed."""


@dataclass(frozen=True)
class Answer:
    """What an item of the checklist comes to.

    Args:
        state: pass, fail or not applicable.
        evidence: What was found, or what is missing.
        command: What makes the evidence, where it fails.
    """

    state: Literal["pass", "fail", "not applicable"]
    evidence: str
    command: str | None = None


def passed(evidence: str) -> Answer:
    """The item holds."""
    return Answer("pass", evidence)


def failed(evidence: str, command: str | None = None) -> Answer:
    """The item does not hold, or nothing shows that it does."""
    return Answer("fail", evidence, command)


def spared(evidence: str) -> Answer:
    """The item does not apply to this run."""
    return Answer("not applicable", evidence)


class Material:
    """A run's evidence.

    Args:
        path: The run directory.

    Raises:
        RunError: It is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory.open(path)
        self.path = self.directory.path

    @cached_property
    def recipe(self) -> Recipe:
        """As the run resolved it."""
        return recipes.load(self.path / RECIPE, check_paths=False)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json, empty where there is none."""
        return self.json("environment.json")

    @cached_property
    def plan(self) -> dict[str, dict[str, Any]]:
        """The decisions of plan.json by what they decide."""
        return {one["what"]: one for one in self.json("plan.json").get("decisions", [])}

    @cached_property
    def test(self) -> dict[str, Any]:
        """test.json, empty before the test."""
        return self.json("test.json")

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """events.jsonl; a torn line is passed over."""
        file, found = self.path / "events.jsonl", []
        for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [one for one in found if isinstance(one, dict)]

    @cached_property
    def checked(self) -> dict[str, Any]:
        """`torchkiln verify`'s answer."""
        return verify.verify(self.directory)

    @cached_property
    def notes(self) -> dict[str, Any]:
        """ready.json."""
        return self.json(NOTES)

    @property
    def bundle(self) -> Path:
        """Where an export lies by default."""
        return self.path / "bundle"

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object in the run, empty where there is none.

        Raises:
            RunError: It is damaged.
        """
        found = self.directory.read_json(name, {})
        if not isinstance(found, dict):
            raise RunError(f"{self.path / name} is damaged (it holds no object)")
        return found

    @cached_property
    def class_paths(self) -> list[str]:
        """Class paths of the recipe that lead to code that is not ours."""
        text = (self.path / RECIPE).read_text(encoding="utf-8", errors="replace")
        named = re.findall(r"^\s*class_path:\s*([\w.]+)\s*$", text, re.MULTILINE)
        libraries = ("torch.", "torchvision.", "lightning.", "torchkiln.", "timm.", "transformers.")
        return [n for n in named if n != "null" and not n.startswith(libraries)]

    @cached_property
    def own_files(self) -> dict[str, Path | None]:
        """Each class path with the file it lies in, found by its name below the working directory."""
        found: dict[str, Path | None] = {}
        for name in self.class_paths:
            module = Path(*name.split(".")[:-1])
            places = [Path(module).with_suffix(".py"), module / "__init__.py"]
            places += [Path("src") / place for place in places]
            found[name] = next((place for place in places if place.is_file()), None)
        return found

    def last_step(self) -> Path | None:
        """The newest checkpoint of a step."""
        folder = self.path / "checkpoints"
        steps = checkpoints.steps(folder, checkpoints.STEP)
        return checkpoints.named(folder, checkpoints.STEP, max(steps)) if steps else None

    def result_digest(self) -> str:
        """SHA-256 over what a run comes to: its metrics, its scores and its best weights."""
        whole = hashlib.sha256()
        best = self.json("best.json").get("step")
        files = [self.path / "metrics.csv", self.path / "test.json"]
        if best is not None:
            files.append(checkpoints.named(self.path / "checkpoints", checkpoints.BEST, best) / "weights.safetensors")
        for file in files:
            if not file.is_file():
                raise RunError(f"{file} is missing, so that the run cannot be compared")
            whole.update(hashlib.sha256(file.read_bytes()).digest())
        return whole.hexdigest()
