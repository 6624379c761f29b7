"""A run to a bundle: its net in files that others can run, each proven, with all that is needed to serve it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.bundle import mar
from torchkiln.bundle.write import Draft, pack
from torchkiln.deploy import files, quiet
from torchkiln.deploy.prove import computed
from torchkiln.errors import ExportError, RunError
from torchkiln.recipe import load as recipes
from torchkiln.registry import did_you_mean
from torchkiln.report import page
from torchkiln.runs.directory import FULL_DISK, RECIPE, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import bundling, from_parts, proving
from torchkiln.stages import subject as subjects
from torchkiln.stages.subject import Subject

BUNDLE, LOG = "bundle", "export.log"
FORMATS = (*files.FORMATS, "int8", "mar")
"""`mar` is an archive for TorchServe, beside the bundle."""
DEFAULT = ("onnx", "pt2", "int8")


@dataclass(frozen=True)
class Wish:
    """What is to be exported, and how.

    Args:
        formats: Of `FORMATS`; int8 is kept where it pays.
        out: The bundle's folder; None: `bundle` in the run directory.
        overwrite: Replace a bundle that is there, once the new one is whole.
        as_zip: Make it one file besides.
        sign: A PEM file with an Ed25519 key, to sign the manifest with.
        include_rows: Pack validation rows for a proof elsewhere, in place of made-up ones.
        licences: What `weights`, `data` and the like stand under, for the manifest and the model card.
    """

    formats: Sequence[str] = DEFAULT
    out: str | Path | None = None
    overwrite: bool = False
    as_zip: bool = False
    sign: str | Path | None = None
    include_rows: bool = False
    licences: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for form in self.formats:
            if form not in FORMATS:
                raise ExportError(f"--format: there is no format {form!r}{did_you_mean(form, FORMATS)}")
        if {"int8", "mar"} & set(self.formats) and "onnx" not in self.formats:
            raise ExportError("--format: int8 and mar are made from onnx; write --format onnx,int8")
        if not self.formats:
            raise ExportError(f"--format: name one at least of {', '.join(FORMATS)}")
        if self.sign is not None and not Path(self.sign).is_file():
            raise ExportError(f"--sign: there is no file {self.sign}")


def of_run(run: RunDirectory, parts: from_parts.Parts | None, wish: Wish, progress: Progress) -> dict[str, Any]:
    """Write a run's bundle.

    Args:
        run: The run.
        parts: A person's own, where the run was begun with them.
        wish: What is to be exported.
        progress: Who shows what happens.
    """
    progress.stage("export", "reading the best weights")
    if recipes.load(run.path / RECIPE, check_paths=False).task != "custom":
        return export(subjects.of_run(run), wish, progress)
    if parts is None or parts.data is None:
        raise RunError(f"{run.path} was begun with objects from Python; export it by torchkiln.export(run, model=..., "
                       "data=...)")  # fmt: skip
    return export(subjects.of_parts(run, parts), wish, progress)


def export(subject: Subject, wish: Wish, progress: Progress) -> dict[str, Any]:
    """Write the bundle of what was trained.

    Returns:
        `bundle`, its folder; `ok`, whether every file is proven; `table`, a row a file; `said`, what came of INT8;
        `test`, the score on the test split, the exported file's beside that of the run.

    Raises:
        InputError: The net cannot be exported, or there is a bundle already.
    """
    run = subject.run
    folder = Path(wish.out or run.path / BUNDLE)
    packed = folder.with_name(f"{folder.name}.zip")
    if wish.as_zip and packed.exists() and not wish.overwrite:
        raise ExportError(f"{packed} exists; replace it with --overwrite, or choose another with --out")

    def say(what: str) -> None:
        progress.stage("export", what)

    with _room(folder), Draft(folder, overwrite=wish.overwrite) as draft:
        with quiet.into(run.path / LOG):
            written = files.write(subject.graph, [f for f in wish.formats if f in files.FORMATS], draft.path, say)
        bundling.write_source(subject, draft.path)
        parts = bundling.manifest(subject, written, {}, wish.licences)
        asked = bundling.write_schema(subject, draft.path, parts["outputs"])
        case = proving.Case(subject, draft.path, parts, asked, say)
        proof = proving.prove_files(case, written, int8="int8" in wish.formats)
        final = _test(subject, proof, case)
        parity = {**proof.parity, "test": final}
        RunDirectory(draft.path).write_json("parity.json", parity)
        own = {w.form: proving.runner(w, case) for w in proof.written if w.form == "int8"}
        bundling.write_proof(subject, draft.path, proving.ways(case).served, wish.include_rows, own)
        bundling.write_reference(subject, draft.path, proving.quickest(proof, case))
        rows = proof.rows(draft.path)
        parts = bundling.manifest(subject, proof.written, proof.proven, wish.licences)
        bundling.write_golden(subject, draft.path, parts, asked)
        bundling.write_papers(subject, draft.path, parts, asked, parity)
        draft.finish(parts, sign_key=Path(wish.sign) if wish.sign else None)
        if wish.as_zip:
            pack(folder, packed)
        if "mar" in wish.formats:
            mar.pack(folder, folder.with_name(f"{folder.name}.mar"), parts["name"])
    said = {"table": rows, "said": proof.int8, "test": final}
    run.write_json(proving.EVIDENCE, {**proof.evidence, **said})
    page.write(run.path)
    return {"bundle": str(folder), "ok": proof.holds, **said}


def _test(subject: Subject, proof: proving.Proof, case: proving.Case) -> dict[str, Any] | None:
    """The one score of the exported file on the test split, beside the run's own; None without test rows."""
    frame = subject.rows("test")
    known = subject.run.read_json("test.json", {})
    if subject.target is None or not len(frame) or known.get("split") != "test":
        return None
    one = max(proof.written, key=lambda w: (w.form == "int8", w.form == "onnx"))  # what would be served
    answers = computed(proving.runner(one, case), proving.ways(case).served(subject.records(frame)))
    metric = next((m for m in subject.metrics if m.name == known.get("primary")), subject.metrics[0])
    value = float(metric.score(subject.target(frame), answers))
    return {"form": one.form, "metric": metric.name, "rows": len(frame), "file": value,
            "run": known["metrics"][metric.name]["value"]}  # fmt: skip


@contextlib.contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A full disk in a sentence; what was there under the bundle's name still is."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise ExportError(f"the disk is full: {folder} was not written; make room and export again") from error
