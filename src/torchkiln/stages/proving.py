"""The files of an export held beside the run's own way from raw rows to predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import torch

from torchkiln import randomness
from torchkiln.bundle import manifest, records
from torchkiln.bundle.proof import Truth, finite
from torchkiln.codec.base import Arrays, Codec
from torchkiln.deploy import extremes, fresh, quantize
from torchkiln.deploy.files import Written
from torchkiln.deploy.graph import joined
from torchkiln.deploy.prove import (
    Runner,
    Sample,
    Trial,
    Ways,
    batch,
    by_length,
    computed,
    prove,
    sample,
    samples,
    spread,
)
from torchkiln.deploy.timing import cpu_in_turns
from torchkiln.errors import ExportError, RunError
from torchkiln.evaluation import scores
from torchkiln.stages.subject import Subject
from torchkiln.tasks._base import Array

EVIDENCE = "export.json"
"""In the run directory: what was measured on this machine, and the choice of INT8 that rests on it."""
INT8_FILE = "model.int8.onnx"
TIMED = (1, 32)


@dataclass(frozen=True)
class Proof:
    """What the proof came to.

    Args:
        written: The files, an INT8 one among them where it is kept.
        trials: By form.
        int8: What came of INT8, in a sentence; empty where it was not tried.
        parity: For parity.json: the same for two exports.
        evidence: For the run directory: what was measured, too.
    """

    written: list[Written]
    trials: Mapping[str, Trial]
    int8: str
    parity: dict[str, Any]
    evidence: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether every file is proven."""
        return all(self.proven.values())

    @property
    def proven(self) -> dict[str, bool]:
        """By form."""
        return {form: trial.verdict == "proven" for form, trial in self.trials.items()}

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """A line a file: form, file, bytes, verdict, the figures it rests on, milliseconds of CPU a call."""
        return [
            {
                "form": one.form,
                "file": one.file,
                "bytes": (folder / one.file).stat().st_size,
                "verdict": self.trials[one.form].verdict,
                "why": self.trials[one.form].as_json()["why"],
                "over_std": finite(self.trials[one.form].held_out.over_std),
                "agreement": self.trials[one.form].held_out.agreement,
                "cpu_ms": self.evidence["cpu_ms"][one.form],
            }
            for one in self.written
        ]


@dataclass(frozen=True)
class Case:
    """What is to be proven, and on what.

    Args:
        subject: The reference, its rows, and the run where the evidence of an earlier export lies.
        folder: Where the files lie, codec.json beside them.
        parts: Of the manifest.
        schema: Of a request.
        say: Told what is being done.
    """

    subject: Subject
    folder: Path
    parts: Mapping[str, Any]
    schema: Mapping[str, Any]
    say: Callable[[str], None]


def prove_files(case: Case, written: Sequence[Written], *, int8: bool) -> Proof:
    """Hold all files to their gates on the validation rows, an INT8 file besides where it pays.

    Args:
        written: Made from the run's net.
        int8: Whether to try it.

    Raises:
        ExportError: There are no validation rows.
    """
    subject = case.subject
    both = ways(case)
    frame = subject.rows("val")
    if not len(frame):
        raise ExportError("the proof cannot be made: the validation split has no rows")
    truth = _truth(subject, frame)
    odd = _extremes(subject, both)
    files, tried = list(written), None
    plain = next((w for w in written if w.form == "onnx"), None)
    if int8 and plain is not None and truth is not None and len(subject.rows("train")):
        case.say("int8")
        tried = _quantized(case, plain, truth, both)
        if tried.kept:
            files.append(Written("int8", INT8_FILE, plain.names))
    case.say("proof")
    runners = {one.form: runner(one, case) for one in files}
    trials, answers = prove(
        samples(frame, both, subject.records),
        odd,
        {form: (form, run) for form, run in runners.items()},
        classes=case.subject.graph.prediction_kind == "classes",
        truth=truth,
    )
    if "int8" in trials and trials["int8"].verdict != "proven":
        assert tried is not None
        tried = dataclasses.replace(tried, kept=None, refused=trials["int8"].as_json()["why"])
        files, trials = files[:-1], {k: t for k, t in trials.items() if k != "int8"}
        (case.folder / INT8_FILE).unlink()
    parity = _parity(case, trials, answers, truth, tried)
    evidence = {"cpu_ms": _timed(case, runners, both, frame), "int8": _remembered(case, plain, tried)}
    return Proof(files, trials, tried.why if tried else "", parity, {**parity, **evidence})


def ways(case: Case) -> Ways:
    """Training's codec and net, and the codec as whoever reads the bundle gets it."""
    back = None
    if case.subject.codec is not None:
        back = Codec.from_state(json.loads((case.folder / "codec.json").read_text(encoding="utf-8")), case.folder)
    made = manifest.parse(manifest.make(case.parts, {}), case.folder)
    reader = records.Reader(back, made, case.schema)
    return Ways(trained=case.subject.encode, predict=case.subject.predict, served=reader.encode)


def _truth(subject: Subject, frame: pl.DataFrame) -> Truth | None:
    """The targets and the first metric; None where nothing is measured."""
    if subject.target is None:
        return None
    first = subject.metrics[0]
    return Truth(subject.target(frame), first.score, first.name, first.higher_is_better)


def _extremes(subject: Subject, ways: Ways) -> Sample | None:
    """Records at the edges, which only a codec knows."""
    given = extremes.records(subject.codec.inputs) if subject.codec else None
    if not given or subject.codec is None:
        return None
    frame = pl.DataFrame(given, infer_schema_length=None)
    return sample(frame, subject.records(frame), ways)


def runner(one: Written, case: Case) -> Runner:
    """A batch through a file, in this process: that it loads in a fresh one has been seen."""
    opened = fresh.opened(one.form, case.folder / one.file)

    def run(feeds: Mapping[str, Array]) -> Array:
        return joined(opened({one.names[spec.name]: feeds[spec.name] for spec in case.subject.graph.inputs}))

    return run


def quickest(proof: Proof, case: Case) -> Callable[[Arrays], Array]:
    """What answers as the net does, in FP32, at the least cost: the ONNX file where it is proven, else the net."""
    plain = next((one for one in proof.written if one.form == "onnx" and proof.proven["onnx"]), None)
    if plain is None:
        return case.subject.predict
    run = runner(plain, case)
    return lambda arrays: computed(run, arrays)


def _quantized(case: Case, plain: Written, truth: Truth, ways: Ways) -> quantize.Int8:
    """INT8 by 256 training rows, judged on validation rows."""
    subject, seed = case.subject, case.subject.recipe.seed
    train, val = case.subject.rows("train"), case.subject.rows("val")
    drawn = np.sort(randomness.permutation(seed, "int8 calibration", 0, len(train))[: quantize.CALIBRATION_ROWS])
    rows = spread(len(val), quantize.MOST_JUDGED)
    judged = sample(val[rows], subject.records(val[rows]), ways, rows)
    names = {spec.name: plain.names[spec.name] for spec in case.subject.graph.inputs}
    material = quantize.Material(
        source=case.folder / plain.file,
        names=names,
        calibration=subject.encode(train[drawn]),
        judged=judged,
        classes=case.subject.graph.prediction_kind == "classes",
        truth=truth.at(judged.rows),
    )
    return quantize.quantize(material, case.folder / INT8_FILE, _earlier(case, plain))


def _earlier(case: Case, plain: Written) -> quantize.Int8 | None:
    """What the export before this one chose; None where it was of another file, or cannot be read."""
    try:
        found = case.subject.run.read_json(EVIDENCE, {})["int8"]
        return quantize.Int8.from_json(found) if found["of"] == _of(case, plain) else None
    except (KeyError, TypeError, ValueError, AttributeError, RunError):  # it is made anew
        return None


def _remembered(case: Case, plain: Written | None, tried: quantize.Int8 | None) -> dict[str, Any] | None:
    """The choice of INT8, for the next export of the same file."""
    return None if tried is None or plain is None else {"of": _of(case, plain), **tried.as_json(), "cpu": tried.cpu}


def _of(case: Case, plain: Written) -> dict[str, str]:
    """What a choice of INT8 holds for: this very file, on this machine, by this runtime."""
    digest = hashlib.sha256((case.folder / plain.file).read_bytes()).hexdigest()
    return {"sha256": digest, "machine": platform.node(), "onnxruntime": onnxruntime.__version__}


def _parity(
    case: Case,
    trials: Mapping[str, Trial],
    answers: Mapping[str, Array],
    truth: Truth | None,
    int8: quantize.Int8 | None,
) -> dict[str, Any]:
    """Everything that the proof rests on but what a clock said: two exports give the same."""
    rows = answers["rows"]
    sides = {name: answers[name] for name in ("reference", *trials)}
    metrics = {}
    if truth is not None:
        measured = scores.score(case.subject.metrics, truth.at(rows).target, sides, case.subject.recipe.seed)
        metrics = {
            name: {metric: interval.as_json() for metric, interval in found.items()}
            for name, found in measured.values.items()
        }
    return {
        "split": "val",
        "rows": len(rows),
        "metrics": metrics,
        "files": {form: {"gate": dataclasses.asdict(trial.gate), **trial.as_json()} for form, trial in trials.items()},
        **({"int8": int8.as_json()} if int8 else {}),
    }


def _timed(case: Case, runners: Mapping[str, Runner], ways: Ways, frame: pl.DataFrame) -> dict[str, Any]:
    """Milliseconds of CPU a call on one thread, by form and rows a batch; the eager net's beside them."""
    rows = frame[spread(len(frame), max(TIMED))]
    arrays = ways.trained(rows)
    order = by_length(arrays)
    eager = {"eager": lambda feeds: joined(list(case.subject.graph.run(feeds).values()))}
    found: dict[str, Any] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for size in TIMED:
            times = cpu_in_turns({**eager, **runners}, batch(arrays, np.resize(order, size)))
            for name, milliseconds in times.items():
                found.setdefault(name, {})[str(size)] = milliseconds
    finally:
        torch.set_num_threads(threads)
    return found
