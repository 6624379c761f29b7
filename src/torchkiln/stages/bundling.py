"""What a bundle holds beside the model's files: what it is built from, what it takes, examples, and its manifest."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchkiln.bundle import card, container, drift, examples, schema, triton
from torchkiln.bundle import manifest as manifests
from torchkiln.bundle.read import Bundle
from torchkiln.bundle.session import Session
from torchkiln.codec.base import Array, Arrays, Axis
from torchkiln.data.source import SPLITS
from torchkiln.deploy import extremes
from torchkiln.deploy.files import Written
from torchkiln.deploy.graph import joined
from torchkiln.deploy.prove import computed, spread
from torchkiln.errors import KilnError
from torchkiln.models.text import HUGGING_FACE
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import RECIPE, RunDirectory
from torchkiln.stages.subject import Subject

WEIGHTS, PROOF = "weights.safetensors", "proof"
PACKAGES = ("torchkiln", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "polars", "pillow", "tokenizers")
"""Whose versions the manifest says."""
REFERENCE_ROWS, REFERENCE_PICTURES = 10_000, 1_000
"""Training rows at most whose shape is kept, to tell drift by; pictures cost a net more, and have no features."""
PROOF_ROWS, PROOF_BYTES = 200, 4_000_000
"""At most that many records are packed for a proof elsewhere, in as many bytes."""


def write_source(subject: Subject, folder: Path) -> None:
    """What the net can be built from again: weights, recipe, codec."""
    shutil.copyfile(subject.weights, folder / WEIGHTS)
    (folder / RECIPE).write_text(recipes.dump(without_places(subject)), encoding="utf-8")
    if subject.codec is not None:
        RunDirectory(folder).write_json("codec.json", subject.codec.state(folder))


def without_places(subject: Subject) -> Recipe:
    """The recipe, which says how the net is built, without any file or folder of the machine it was trained on."""
    recipe = subject.recipe
    nowhere: dict[str, Any] = {"path": None, "train": None, "val": None, "test": None, "init_args": {}}
    model: dict[str, Any] = {"pretrained": False}
    kind = getattr(subject.codec.inputs, "model", None) if subject.codec else None
    if kind and (recipe.model.name or "").startswith(HUGGING_FACE):  # a folder; its configuration is in the codec
        model["name"] = HUGGING_FACE + kind["model_type"]
    return recipe.model_copy(
        update={"data": recipe.data.model_copy(update=nowhere), "model": recipe.model.model_copy(update=model)}
    )


def write_schema(subject: Subject, folder: Path, outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """schema.json, and its content."""
    made = subject.graph
    found = schema.make(subject.codec, made.inputs, outputs, made.prediction_kind, subject.classes or None)
    RunDirectory(folder).write_json("schema.json", found)
    return found


def write_reference(subject: Subject, folder: Path, predict: Callable[[Arrays], Array]) -> None:
    """reference.json: the shape of the training rows and of what the net says of them.

    Args:
        subject: What is exported.
        folder: Of the bundle.
        predict: The net, or a file that is proven to answer as it does.
    """
    train = subject.rows("train")
    if not len(train):
        return
    pictures = subject.codec is not None and subject.codec.inputs.kind == "image"
    arrays = subject.encode(train[spread(len(train), REFERENCE_PICTURES if pictures else REFERENCE_ROWS)])
    answers = {subject.graph.outputs[0]: predict(arrays)}
    inputs = subject.codec.inputs if subject.codec else None
    found = drift.make(inputs, arrays, answers, subject.classes, subject.graph.prediction_kind)
    RunDirectory(folder).write_json("reference.json", found)


def write_proof(
    subject: Subject, folder: Path, served: Any, include_rows: bool, own: Mapping[str, Any] | None = None
) -> None:
    """Records and the net's answers to them, for a proof on another machine.

    Args:
        subject: What is exported.
        folder: Of the bundle.
        served: The bundle's way from records to arrays.
        include_rows: Take the person's validation rows; else they are made up.
        own: How a batch runs through the files, by form, that are held beside their own answers elsewhere: what was
            proven of 8 bits on real rows says nothing of rows that are made up.
    """
    inputs = subject.codec.inputs if subject.codec else None
    if include_rows:
        frame = subject.rows("val")
        given = [_as_json(one) for one in subject.records(frame[spread(len(frame), PROOF_ROWS)])]
    else:
        given = examples.records(inputs, subject.graph.inputs, PROOF_ROWS)
        odd = [_as_json(one) for one in extremes.records(inputs)] if inputs else []
        given += [one for one in odd if _is_taken(one, served)]
    lines = [json.dumps(one, ensure_ascii=False) for one in given]
    kept = int(np.searchsorted(np.cumsum([len(line) for line in lines]), PROOF_BYTES)) or 1
    given, lines = given[:kept], lines[:kept]
    arrays = served(given)
    answers = computed(lambda batch: joined(list(subject.graph.run(batch).values())), arrays)
    (folder / PROOF).mkdir()
    for form, runner in (own or {}).items():
        np.save(folder / PROOF / f"{form}.npy", computed(runner, arrays).astype(np.float32), allow_pickle=False)
    (folder / PROOF / "records.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    np.save(folder / PROOF / "reference.npy", answers.astype(np.float32), allow_pickle=False)


def _is_taken(record: dict[str, Any], served: Any) -> bool:
    try:
        served([record])
    except KilnError:  # what a bundle refuses has no answer to compare
        return False
    return True


def write_golden(subject: Subject, folder: Path, parts: Mapping[str, Any], asked: dict[str, Any]) -> None:
    """golden.jsonl: made-up records with the answers that the bundle itself gives; none where it cannot be served."""
    made = manifests.parse(manifests.make(parts, {}), folder)
    if made.serve is None:
        return
    chosen = made.models[made.serve]
    served = Bundle(folder, made, asked, subject.codec, Session(folder / chosen.file, made, chosen, 1), "")
    given = examples.records(subject.codec.inputs if subject.codec else None, subject.graph.inputs)
    (folder / examples.GOLDEN).write_bytes(examples.golden(given, served.predict(given)))


def write_papers(
    subject: Subject, folder: Path, parts: Mapping[str, Any], asked: Mapping[str, Any], parity: Mapping[str, Any]
) -> None:
    """What is for people and other servers: the model card, a Dockerfile, a model repository for Triton."""
    made = manifests.parse(manifests.make(parts, {}), folder)
    model, target = subject.recipe.model, subject.codec.target.column if subject.codec else None
    known = subject.run.read_json("environment.json", {})
    data = {"rows": {split: len(subject.rows(split)) for split in SPLITS}, "digest": known.get("data_digest")}
    paper = card.make(
        manifest=parts,
        schema=asked,
        test=subject.run.read_json("test.json", {}),
        net=model.name or model.class_path or type(subject.graph.module.net).__name__,
        data={name: value for name, value in {**data, "target": target}.items() if value is not None},
        parity=parity,
    )
    (folder / "card.md").write_text(paper, encoding="utf-8")
    (folder / "Dockerfile").write_text(container.dockerfile(made.versions), encoding="utf-8")
    if plain := made.models.get("onnx"):
        triton.write(folder, made.name, plain, made.inputs, made.outputs, subject.classes)


def _as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its pictures in base64."""
    return {
        name: base64.b64encode(value.read_bytes() if isinstance(value, Path) else value).decode()
        if isinstance(value, Path | bytes)
        else value if value is None or isinstance(value, str | int | float | bool | list) else str(value)
        for name, value in record.items()
    }  # fmt: skip


def manifest(
    subject: Subject, written: Sequence[Written], proven: Mapping[str, bool], licences: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The manifest's content but for the files.

    Args:
        subject: What is exported.
        written: The model's files.
        proven: Which of them are.
        licences: Of weights, data and whatever else, as the person names them.
    """
    made = subject.graph
    ours = [spec.name for spec in made.inputs]
    return {
        "name": subject.run.path.resolve().name,
        "run_id": run_id(subject),
        "task": subject.recipe.task,
        "prediction_kind": made.prediction_kind,
        "inputs": [_tensor(subject, spec) for spec in made.inputs],
        "outputs": made.output_specs(),
        "models": {
            w.form: {
                "file": w.file,
                "proven": proven.get(w.form, False),
                "inputs": {n: w.names[n] for n in ours},
                "outputs": {n: w.names[n] for n in made.outputs},
                **({"machine": w.machine} if w.machine else {}),
            }
            for w in written
        },
        "serve": next((form for form in ("int8", "onnx") if any(w.form == form for w in written)), None),
        "versions": versions(),
        "licences": {**{name: _licence(name) for name in ("torchkiln", "torch")}, **(licences or {})},
    }


def _tensor(subject: Subject, spec: Any) -> dict[str, Any]:
    varies = any(isinstance(n, Axis) for n in spec.shape[1:])
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": [None if isinstance(n, Axis) else n for n in spec.shape],
        **({"pad": spec.pad} if varies and subject.codec else {}),
    }


def run_id(subject: Subject) -> str:
    """Sixteen letters that tell this run's best weights and recipe from all others."""
    digest = hashlib.sha256(subject.weights.read_bytes())
    digest.update((subject.run.path / RECIPE).read_bytes())
    return digest.hexdigest()[:16]


def _licence(package: str) -> str:
    found = importlib.metadata.metadata(package)
    key = next((k for k in ("License-Expression", "License") if k in found), None)
    return found[key].splitlines()[0] if key else "not stated"


def versions() -> dict[str, str]:
    """Of Python and of what made the files."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
