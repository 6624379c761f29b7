"""One version of a model that answers: its bundle, its queue, and what is counted of it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchkiln import bundle as bundles
from torchkiln.bundle import Bundle, drift
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.codec.table import TableCodec
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.errors import BundleError, RecordError
from torchkiln.serving.batcher import Batcher, Outputs, Waiting, joined
from torchkiln.serving.limits import Limits
from torchkiln.serving.metrics import Labels, Metrics
from torchkiln.serving.refusal import Refusal

logger = logging.getLogger("torchkiln.serving")
INLINE_SECONDS = 3e-4
"""A largest batch that takes less is computed on the event loop itself: a thread would cost as much."""
LONG_BODY = 1 << 16
"""Bytes of a request whose records are read in a thread, so that others need not wait for it."""
CLOSE = {"onnx": 1e-4, "int8": 5e-2}
"""How far an answer may lie from the golden one, of its size, by the form of the model.

Other processors add up in another order; where that moves a number over a border between two of 256 levels, it is a
level off.
"""
DRIFT_ROWS = 512
"""Rows that are compared with the training data at once."""
DRIFT_EVERY_PICTURE = 8
"""Of so many pictures one is compared."""
_TRIALS = 5


class Served:
    """A loaded version.

    Args:
        name, version: As in the routes.
        bundle: Checked and loaded.
        limits: Of requests.
        metrics: Of this worker.
    """

    def __init__(self, name: str, version: str, bundle: Bundle, limits: Limits, metrics: Metrics) -> None:
        self.name, self.version, self.bundle, self.limits, self.metrics = name, version, bundle, limits, metrics
        self.golden = _golden(bundle)
        self.close = CLOSE[_form(bundle)]
        self.pictures = bundle.codec is not None and bundle.codec.inputs.kind == "image"
        self.column: str | None = getattr(bundle.codec.inputs, "column", None) if bundle.codec else None
        self.vocabulary = vocabulary(bundle.codec.inputs if bundle.codec else None)
        seconds = self._warm()
        self.batcher = Batcher(self._compute, largest=limits.batch, most=limits.queue_rows,
                               inline=seconds < INLINE_SECONDS, delay=limits.delay_us / 1e6)  # fmt: skip
        labels: Labels = (("model", name), ("version", version))
        self.labels = labels
        self.queue, self.codec, self.model, self.total, self.batch = (
            metrics.histogram(f"torchkiln_{what}", labels)
            for what in ("queue_seconds", "codec_seconds", "model_seconds", "total_seconds", "batch_rows")
        )
        self.batcher.seen.on_batch = self._count
        self.executions = 0
        manifest, inputs = bundle.manifest, bundle.codec.inputs if bundle.codec else None
        self._drift = drift.read(bundle.path, inputs, bundle.schema["classes"], manifest.prediction_kind)
        self._drifting: list[tuple[Arrays, Outputs]] = []
        self._drifting_rows = self._passed = 0
        self._by_status: dict[int, int] = {}

    def count(self, status: int, seconds: float) -> None:
        """One request was answered."""
        self.total.observe(seconds)
        self._by_status[status] = self._by_status.get(status, 0) + 1

    def publish(self) -> None:
        """Bring what was counted here into the worker's metrics."""
        for status, number in self._by_status.items():
            key = ("torchkiln_requests_total", (*self.labels, ("status", str(status))))
            self.metrics.counters[key] = float(number)
        self.metrics.counters["torchkiln_dropped_total", self.labels] = float(self.batcher.seen.dropped)
        self.metrics.put("torchkiln_queue_rows", self.batcher.rows, self.labels)

    @property
    def answered(self) -> dict[int, int]:
        """Requests by status."""
        return dict(self._by_status)

    def watch(self, arrays: Arrays, outputs: Outputs) -> None:
        """Keep what was asked and answered for the comparison with the training data; many at a time are counted."""
        if self._drift is None:
            return
        rows = len(next(iter(outputs.values())))
        if self.pictures:  # their arrays are large and looking at all pixels costs: some stand for all
            self._passed += rows
            if self._passed < DRIFT_EVERY_PICTURE:
                return
            self._passed = 0
        self._drifting.append((arrays, outputs))
        self._drifting_rows += rows
        if self._drifting_rows >= (DRIFT_ROWS // DRIFT_EVERY_PICTURE if self.pictures else DRIFT_ROWS):
            self._count_drift()

    def drift(self) -> dict[str, Any]:
        """How far requests lie from the training data, as `torchkiln.bundle.drift` reports it; empty without any."""
        if self._drift is None:
            return {}
        self._count_drift()
        return self._drift.report() if self._drift is not None else {}

    def _count_drift(self) -> None:
        kept, self._drifting, self._drifting_rows = self._drifting, [], 0
        if kept and self._drift is not None:
            try:
                answers = {n: np.concatenate([outputs[n] for _, outputs in kept]) for n in kept[0][1]}
                self._drift.add(joined([arrays for arrays, _ in kept]), answers)
            except Exception:  # a person's own tensors may differ in form; requests must not suffer from it
                logger.exception("drift of %s version %s is watched no more", self.name, self.version)
                self._drift = None

    async def encode(self, records: Sequence[Mapping[str, Any]], size: int) -> Arrays:
        """Arrays of raw records; long ones in a thread.

        Args:
            records: At least one.
            size: Bytes of the body.

        Raises:
            Refusal: 422, names record and field.
        """
        begun = time.perf_counter()
        try:
            if self.pictures or size > LONG_BODY:
                return await asyncio.to_thread(self.bundle.encode, records)
            return self.bundle.encode(records)
        except RecordError as error:
            raise Refusal(422, str(error)) from None
        finally:
            self.codec.observe(time.perf_counter() - begun)

    async def outputs(self, waiting: Waiting) -> Outputs:
        """What the model gives for arrays that were submitted.

        Raises:
            Refusal: 504, 503 or 499 of the queue; 500 where the model raises or gives what is no finite number.
        """
        try:
            found = await waiting.future
        except Refusal:
            raise
        except Exception as error:  # of the runtime, for these rows alone
            raise Refusal(500, f"the model failed on this request ({type(error).__name__})") from error
        self.queue.observe(waiting.waited)
        for value in found.values():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                row = int(np.argmin(np.isfinite(value.reshape(len(value), -1)).all(axis=1)))
                raise Refusal(500, f"the model gave no finite number for row {row}", title="non_finite_output")
        return found

    async def check(self, deadline: float) -> str | None:
        """Why the model is not ready, or None: a golden record goes the way of all requests."""
        try:
            self.batcher.admit()
            try:
                arrays = self._example()
            except BaseException:
                self.batcher.withdraw()
                raise
            found = await self.outputs(self.batcher.submit(arrays, deadline))
        except Refusal as refusal:
            if refusal.status == 503:
                return None  # busy is not broken
            return f"{self.name} version {self.version}: {refusal.detail}"
        if self.golden and not alike(self.bundle.decode(found)[0], self.golden[0][1], self.close):
            return f"{self.name} version {self.version} does not answer its golden record as it was exported"
        return None

    async def drained(self) -> None:
        """Wait until nothing is on its way, then let go of the model."""
        while not self.batcher.idle:
            await asyncio.sleep(0.02)
        self.batcher.close()

    def _example(self) -> Arrays:
        if self.golden:
            return self.bundle.encode([self.golden[0][0]])
        return {t.name: np.zeros([n or 1 for n in t.shape], t.dtype) for t in self.bundle.manifest.inputs}

    def _warm(self) -> float:
        """Run the model until its memory is laid out; seconds of the largest batch."""
        one = self._example()
        many = _repeated(one, self.limits.batch)
        self._compute(one)
        found = []
        for _ in range(_TRIALS):
            begun = time.perf_counter()
            self._compute(many)
            found.append(time.perf_counter() - begun)
            if found[-1] > 100 * INLINE_SECONDS:
                break  # heavy beyond doubt
        return statistics.median(found)

    def _compute(self, arrays: Arrays) -> dict[str, Array]:
        rows = len(next(iter(arrays.values())))
        if rows <= self.limits.batch and not any(isinstance(value, Ragged) for value in arrays.values()):
            return self.bundle.run(arrays)  # type: ignore[arg-type]
        return self.bundle.compute(arrays, self.limits.batch)

    def _count(self, rows: int, seconds: float) -> None:
        self.executions += 1
        self.batch.observe(rows)
        self.model.observe(seconds)


def load(name: str, version: str, path: Path, options: Mapping[str, Any], limits: Limits, metrics: Metrics) -> Served:
    """A version, loaded and warmed.

    Args:
        name, version: As in the routes.
        path: Of the bundle.
        options: For `torchkiln.bundle.load`.
        limits, metrics: Of the server.

    Raises:
        BundleError: It is refused, or does not answer its own golden records.
    """
    if path.is_dir():
        size = sum(file.lstat().st_size for file in path.rglob("*")) / 1e6
        if size > limits.bundle_mb:
            raise BundleError(f"{path} has {size:,.0f} MB and this server takes {limits.bundle_mb:,.0f}; raise "
                              "--limit bundle_mb")  # fmt: skip
    loaded = bundles.load(path, **options)
    try:
        served = Served(name, version, loaded, limits, metrics)
        for record, answer in served.golden:
            if not alike(_answer(loaded, record), answer, served.close):
                raise BundleError(f"{path} does not answer its golden records as it was exported")
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} cannot answer its own example ({error}); export the run again") from error
    return served


def release() -> None:
    """Give memory of models that were unloaded back to the system: the C library keeps it otherwise."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return


def alike(found: Any, golden: Any, close: float = CLOSE["onnx"]) -> bool:
    """Whether an answer is the golden one, up to a share `close` of each number's size; below 1, of 1.

    In 8 bits a class may be another where its probability is that close.
    """
    if isinstance(golden, Mapping):
        if not isinstance(found, Mapping) or not set(golden) <= set(found):
            return False
        told = {"prediction"} if "probabilities" in golden and close > CLOSE["onnx"] else set()
        return all(alike(found[name], golden[name], close) for name in set(golden) - told)
    if isinstance(golden, list):
        return isinstance(found, list) and len(found) == len(golden) and all(
            alike(one, other, close) for one, other in zip(found, golden, strict=True)
        )  # fmt: skip
    if isinstance(golden, int | float) and not isinstance(golden, bool):
        return isinstance(found, int | float) and abs(found - golden) <= close * max(1.0, abs(golden))
    return bool(found == golden)


def vocabulary(codec: Any) -> dict[str, Array]:
    """How many ids an integer input has, by its name: ONNX Runtime wraps -1 to the last in silence.

    Args:
        codec: Of the inputs; None for a net that takes tensors.
    """
    if isinstance(codec, TableCodec):
        return {"categorical": np.array(codec.cardinalities, np.int64)}
    if not isinstance(codec, NgramCodec | TokenCodec):
        return {}
    found = {"ids": codec.size, "words": getattr(codec, "word_size", None)}
    return {name: np.array(size, np.int64) for name, size in found.items() if size is not None}


def _golden(bundle: Bundle) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Raw records and their answers, of golden.jsonl; those of another model than the export chose are its own."""
    file = bundle.path / "golden.jsonl"
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
    if _form(bundle) == bundle.manifest.serve:
        return [(line["record"], line["answer"]) for line in lines]
    return [(line["record"], _answer(bundle, line["record"])) for line in lines]


def _form(bundle: Bundle) -> str:
    return next(form for form, model in bundle.manifest.models.items() if model is bundle.session.model)


def _answer(bundle: Bundle, record: dict[str, Any]) -> dict[str, Any]:
    """What one record alone is answered."""
    return bundle.decode(bundle.compute(bundle.encode([record])))[0]


def _repeated(arrays: Arrays, times: int) -> Arrays:
    """The first row, over and over."""
    indices = np.zeros(times, np.int64)
    return {n: a.padded(indices) if isinstance(a, Ragged) else a[indices] for n, a in arrays.items()}
