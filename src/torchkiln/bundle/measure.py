"""How fast a bundle answers on this machine, at which batch and threads, and the best setting of them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torchkiln.bundle import examples
from torchkiln.bundle.manifest import BENCH
from torchkiln.bundle.read import Bundle, load
from torchkiln.bundle.session import Session, cores
from torchkiln.codec.base import Array, ArraySpec, Axis, Ragged
from torchkiln.errors import BundleError
from torchkiln.runs import environment
from torchkiln.runs.directory import write_atomic

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = 20.0
_ROUNDS = (5, 200)
_TOO_LONG = 2.0  # seconds of one call, from which larger batches are left out


def bench(
    path: str | Path, *, model: str | None = None, seconds: float = SECONDS, allow_unproven: bool = False
) -> dict[str, Any]:
    """Measure latency and rows a second, and keep them beside the bundle as bench.json.

    The settings are measured in turns, so that a busy moment of the machine meets all of them.

    Args:
        path: The bundle; a zip is measured, but nothing can be kept in it.
        model: `onnx` or `int8`; None takes the one that the export chose.
        seconds: About how long to measure.
        allow_unproven: As for `load`.

    Returns:
        `model`; `machine`; `rows`, each with `threads`, `batch`, the median `latency_ms`, `cpu_ms` of all threads,
        and `rows_per_second`; `codec_us`, microseconds to read a record; `processes`, rows a second of one process
        with all threads and of one process a core; `best`: `threads`, `batch`, `processes` for the most rows a
        second, and `latency` for one row; `kept`, the file, or None.
    """
    bundle = load(path, model=model, allow_unproven=allow_unproven)
    records = _records(bundle)
    arrays = {size: _batch(bundle, records, size) for size in BATCHES}
    threads = sorted({1, *(2**i for i in range(10) if 2**i < cores()), cores()})
    sessions = {n: Session(bundle.path / bundle.session.model.file, bundle.manifest, bundle.session.model, n)
                for n in threads}  # fmt: skip
    rows = _measured(sessions, arrays, seconds * 0.7)
    found: dict[str, Any] = {
        "format": 1,
        "model": next(form for form, one in bundle.manifest.models.items() if one is bundle.session.model),
        "bundle": bundle.digest,
        "machine": {"cpu": environment.cpu_model(), "cores": cores()},
        "codec_us": _codec_us(bundle, records),
        "rows": rows,
    }
    found |= _best(bundle, found["model"], rows, seconds * 0.3)
    keep = Path(path) / BENCH if Path(path).is_dir() else None
    if keep is not None:
        try:
            write_atomic(keep, json.dumps(found, indent=1).encode() + b"\n")
        except OSError:  # a bundle that may only be read is measured all the same
            keep = None
    return {**found, "kept": None if keep is None else str(keep)}


def _records(bundle: Bundle) -> list[dict[str, Any]]:
    """The golden records, or made-up ones."""
    file = bundle.path / examples.GOLDEN
    if file.is_file():
        try:
            return [json.loads(line)["record"] for line in file.read_text(encoding="utf-8").splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{file} cannot be read ({error})") from error
    if bundle.codec is not None:
        return examples.records(bundle.codec.inputs)
    specs = [
        ArraySpec(t.name, t.dtype, tuple(Axis(f"{t.name}{i}", 8) if n is None else n for i, n in enumerate(t.shape)))
        for t in bundle.manifest.inputs
    ]
    return examples.records(None, specs)


def _batch(bundle: Bundle, records: list[dict[str, Any]], size: int) -> dict[str, Array]:
    """One batch; where a net knows no padding, of one record many times."""
    several = [records[i % len(records)] for i in range(size)]
    padded = all(t.pad is not None for t in bundle.manifest.inputs if None in t.shape[1:])
    made = bundle.encode(several if padded else [records[0]] * size)
    everything = np.arange(size)
    return {name: a.padded(everything) if isinstance(a, Ragged) else a for name, a in made.items()}


def _measured(
    sessions: Mapping[int, Session], arrays: Mapping[int, dict[str, Array]], seconds: float
) -> list[dict[str, Any]]:
    cells = {}
    for threads, session in sessions.items():
        for size, batch in arrays.items():
            start = time.perf_counter()
            session.run(batch)  # the first call prepares memory
            cells[threads, size] = (session, batch)
            if time.perf_counter() - start > _TOO_LONG:
                break
    times: dict[tuple[int, int], list[tuple[float, float]]] = {cell: [] for cell in cells}
    end = time.perf_counter() + seconds
    for turn in range(_ROUNDS[1]):
        if turn >= _ROUNDS[0] and time.perf_counter() > end:
            break
        for cell, (session, batch) in cells.items():
            if turn and time.perf_counter() > end and len(times[cell]) >= 2:
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            session.run(batch)
            times[cell].append((time.perf_counter() - wall, time.process_time() - cpu))
    rows = []
    for (threads, size), seen in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*seen, strict=True))
        rows.append({"threads": threads, "batch": size, "latency_ms": wall * 1e3, "cpu_ms": cpu * 1e3,
                     "rows_per_second": size / wall, "calls": len(seen)})  # fmt: skip
    return rows


def _codec_us(bundle: Bundle, records: list[dict[str, Any]]) -> float:
    times = []
    for turn in range(50):
        start = time.process_time()
        bundle.encode([records[turn % len(records)]])
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e6


def _best(bundle: Bundle, form: str, rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """One process with all threads beside one process a core, both loaded at once and for as long."""
    alone = [row for row in rows if row["batch"] == 1]
    least = min(row["latency_ms"] for row in alone)
    # Threads that save no more than chance would are better left to others.
    quick = min((row for row in alone if row["latency_ms"] <= 1.05 * least), key=lambda row: row["threads"])
    wide, narrow = (
        max((row for row in rows if row["threads"] == n), key=lambda row: row["rows_per_second"]) for n in (cores(), 1)
    )
    latency = {"threads": quick["threads"], "batch": 1}
    one = {"threads": narrow["threads"], "batch": narrow["batch"], "processes": 1}
    if cores() == 1:
        return {"processes": None, "best": {**one, "latency": latency}}
    ways = {"one": (1, wide), "several": (cores(), narrow)}
    seen = {
        name: _together(bundle.path, form, count, row["threads"], row["batch"], seconds / 2)
        for name, (count, row) in ways.items()
    }
    count, row = ways[max(seen, key=lambda name: seen[name])]
    best = {"threads": row["threads"], "batch": row["batch"], "processes": count, "latency": latency}
    return {"processes": seen, "best": best}


def _together(folder: Path, form: str, count: int, threads: int, batch: int, seconds: float) -> float:
    """Rows a second of so many processes at once, each of which begins once all have loaded the model."""
    command = [sys.executable, "-m", "torchkiln.bundle.measure", str(folder), form, str(threads), str(batch),
               str(seconds)]  # fmt: skip
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        for one in running:
            assert one.stdout
            one.stdout.readline()
        for one in running:
            assert one.stdin
            one.stdin.write("go\n")
            one.stdin.flush()
        return sum(float(one.communicate()[0]) for one in running)
    finally:
        for one in running:
            one.kill()
            one.wait()


def _worker(folder: str, form: str, threads: int, batch: int, seconds: float) -> None:
    bundle = load(folder, model=form, allow_unproven=True, threads=threads)
    arrays = _batch(bundle, _records(bundle), batch)
    bundle.run(arrays)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        bundle.run(arrays)
        calls += 1
    sys.stdout.write(f"{calls * batch / (time.perf_counter() - start)}\n")


def lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What `bench` found, as lines for a terminal."""
    machine, best = found["machine"], found["best"]
    about = (
        f"{found['model']} on {machine['cpu']}, {machine['cores']} cores; {found['codec_us']:.0f} us to read a record"
    )
    out = [("dim", about), ("bold", f"{'threads':>7}  {'batch':>5}  {'latency':>10}  {'CPU':>10}  {'rows/s':>10}")]
    for row in found["rows"]:
        times = f"{row['latency_ms']:>7.2f} ms  {row['cpu_ms']:>7.2f} ms"
        out.append(("", f"{row['threads']:>7}  {row['batch']:>5}  {times}  {row['rows_per_second']:>10,.0f}"))
    if found["processes"]:
        one, several = found["processes"]["one"], found["processes"]["several"]
        out.append(("", f"one process, all threads: {one:,.0f} rows/s; a process a core: {several:,.0f} rows/s"))
    most = f"processes {best['processes']}, threads {best['threads']}, batch {best['batch']}"
    out.append(("bold", f"most rows/s: {most}; lowest latency: threads {best['latency']['threads']}"))
    return [*out, ("dim", f"kept in {found['kept']}" if found["kept"] else "not kept: the bundle cannot be written")]


if __name__ == "__main__":
    _worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
