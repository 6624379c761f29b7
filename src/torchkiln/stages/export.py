"""A run to a bundle: its net in files that others can run, each proven, with all that is needed to serve it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchkiln.bundle import schema
from torchkiln.bundle.write import Draft
from torchkiln.codec.base import Axis
from torchkiln.deploy import files, graph, quiet
from torchkiln.errors import ExportError, KilnError
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RECIPE, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import proving, use

BUNDLE, LOG = "bundle", "export.log"
PACKAGES = ("torchkiln", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "polars", "pillow", "tokenizers")
"""Whose versions the manifest says."""


@dataclass(frozen=True)
class Wish:
    """What is to be exported, and how.

    Args:
        formats: Of `files.FORMATS`.
        out: The bundle's folder; None: `bundle` in the run directory.
        overwrite: Replace a bundle that is there, once the new one is whole.
    """

    formats: Sequence[str] = ("onnx", "pt2", "int8")
    out: Path | None = None
    overwrite: bool = False


def export(run: RunDirectory, wish: Wish, progress: Progress) -> dict[str, Any]:
    """Write a run's bundle.

    Returns:
        `bundle`, its folder; `ok`, whether every file is proven; `files`, a row each.

    Raises:
        InputError: The run cannot be exported, or there is a bundle already.
    """
    progress.stage("export", "reading the best weights")
    trained = use.load(run)
    trained = replace(trained, net=trained.net.cpu(), device="cpu")
    source = use.own_data(run, trained.recipe)
    if isinstance(source, KilnError):
        raise ExportError(f"the proof cannot be made: {source}") from source

    def say(what: str) -> None:
        progress.stage("export", what)

    with Draft(wish.out or run.path / BUNDLE, overwrite=wish.overwrite) as draft:
        with quiet.into(run.path / LOG):
            whole = graph.of_task(trained.task, trained.net)
            written = files.write(whole, [f for f in wish.formats if f != "int8"], draft.path, say)
        _write_source(trained, draft.path)
        parts = _manifest(run, trained, whole, written, {})
        asked = schema.make(trained.codec, whole.inputs, parts["outputs"], whole.prediction_kind)
        RunDirectory(draft.path).write_json("schema.json", asked)
        case = proving.Case(run, trained, whole, source, draft.path, parts, asked, say)
        proof = proving.prove_files(case, written, int8="int8" in wish.formats)
        RunDirectory(draft.path).write_json("parity.json", proof.parity)
        rows = proof.rows(draft.path)
        folder = draft.finish(_manifest(run, trained, whole, proof.written, proof.proven))
    run.write_json(proving.EVIDENCE, proof.evidence)
    return {"bundle": str(folder), "ok": proof.holds, "files": rows, "int8": proof.int8}


def _write_source(trained: use.Trained, folder: Path) -> None:
    """What the net can be built from again: weights, recipe, codec."""
    shutil.copyfile(trained.weights, folder / "weights.safetensors")
    (folder / RECIPE).write_text(recipes.dump(without_places(trained.recipe)), encoding="utf-8")
    RunDirectory(folder).write_json("codec.json", trained.codec.state(folder))


def without_places(recipe: Recipe) -> Recipe:
    """A recipe that says how the net is built, and names no file or folder of the machine it was trained on."""
    nowhere: dict[str, Any] = {"path": None, "train": None, "val": None, "test": None}
    model = recipe.model.model_copy(update={"pretrained": False})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=nowhere), "model": model})


def _manifest(
    run: RunDirectory,
    trained: use.Trained,
    whole: graph.Graph,
    written: Sequence[files.Written],
    proven: Mapping[str, bool],
) -> dict[str, Any]:
    inputs = [
        {
            "name": spec.name,
            "dtype": spec.dtype,
            "shape": [None if isinstance(n, Axis) else n for n in spec.shape],
            **({"pad": spec.pad} if any(isinstance(n, Axis) for n in spec.shape[1:]) else {}),
        }
        for spec in whole.inputs
    ]
    ours = [spec.name for spec in whole.inputs]
    return {
        "name": run.path.resolve().name,
        "run_id": run_id(run, trained.weights),
        "task": trained.recipe.task,
        "prediction_kind": whole.prediction_kind,
        "inputs": inputs,
        "outputs": whole.output_specs(),
        "models": {
            w.form: {
                "file": w.file,
                "proven": proven.get(w.form, False),
                "inputs": {n: w.names[n] for n in ours},
                "outputs": {n: w.names[n] for n in whole.outputs},
            }
            for w in written
        },
        "serve": next((form for form in ("int8", "onnx") if any(w.form == form for w in written)), None),
        "versions": versions(),
        "licences": {},
    }


def run_id(run: RunDirectory, weights: Path) -> str:
    """Sixteen letters that tell this run's best weights and recipe from all others."""
    digest = hashlib.sha256(weights.read_bytes())
    digest.update((run.path / RECIPE).read_bytes())
    return digest.hexdigest()[:16]


def versions() -> Mapping[str, str]:
    """Of Python and of what made the files."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
