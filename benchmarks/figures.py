"""What all benchmarks share: rows by name on the command line, programs run in turns, one table, peers' packages."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
LINKED = ("torch", "torchvision", "lightning", "transformers", "numpy")
"""Packages that peers share with us, so that all run on the same ones."""


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Args:
        row: The row it belongs to.
        what: What was measured.
        ours: In words.
        floor: What passes, in words; empty where nothing is asked.
        beside: The same of others, or what it is compared with.
        passed: Whether the floor is met.
    """

    row: str
    what: str
    ours: str
    floor: str
    beside: str
    passed: bool = True


Row = Callable[[Path, Path], list[Figure]]
"""(a folder for all rows, the folder of the peers' environments) -> what was measured."""


def command_line(words: str, rows: Mapping[str, Row], closing: str = "") -> int:
    """Run the rows that were asked for; 1 if `--check` finds one below its floor.

    Args:
        words: The program's docstring.
        rows: By name.
        closing: A line below the table.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(rows))
    parser.add_argument("--check", action="store_true", help="exit 1 and name the rows below their floor")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "torchkiln-peers", metavar="DIR")
    args = parser.parse_args()
    unknown = [r for r in args.rows if r not in rows]
    if unknown:
        parser.error(f"unknown row {unknown[0]}; known are {', '.join(rows)}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.rows or rows:
            begun = time.perf_counter()
            figures += rows[name](Path(folder), args.env)
            print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    print_table(figures, closing)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "figures": [asdict(f) for f in figures]}, indent=1))
    below = list(dict.fromkeys(f.row for f in figures if not f.passed))
    if args.check and below:
        print("below their floor:", ", ".join(below), file=sys.stderr)
        return 1
    return 0


def print_table(figures: Sequence[Figure], closing: str = "") -> None:
    """The table in Markdown, as it stands in the docs."""
    print(f"\n{machine()}\n")
    print("| row | measured | ours | floor | beside it | |")
    print("|---|---|---|---|---|---|")
    for f in figures:
        verdict = ("met" if f.passed else "BELOW") if f.floor else ""
        print(f"| {f.row} | {f.what} | {f.ours} | {f.floor} | {f.beside} | {verdict} |")
    if closing:
        print(f"\n{closing}")


def machine() -> str:
    """Date, versions and machine of the figures."""
    from importlib.metadata import version

    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "lightning"))
    hardware = f"{os.cpu_count()} cores {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    return f"{time.strftime('%Y-%m-%d')}, {hardware}, Python {platform.python_version()}, {packages}"


# Programs run in turns


def environment(threads: int | None = 1, **more: Any) -> dict[str, str]:
    """Variables for a program that is measured: this checkout, nothing downloaded.

    Args:
        threads: Of OpenMP; None: as the program decides.
    """
    path = os.pathsep.join([str(SOURCE), str(HERE)])
    fixed = {"PYTHONPATH": path, "TORCHKILN_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    if threads is not None:
        fixed["OMP_NUM_THREADS"] = str(threads)
    return {**os.environ, **fixed, **{k: str(v) for k, v in more.items()}}


def run(command: Sequence[Any], **env: Any) -> dict[str, Any]:
    """Run a program to its end.

    Args:
        command: Its words.
        env: As for `environment`.

    Returns:
        What it printed as JSON in its last line, and `wall` and `cpu`: seconds, those of its children included; and
        `memory`: MiB at its peak.

    Raises:
        SystemExit: It failed; its last words are in it.
    """
    words = [str(w) for w in command]
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, env=environment(**env), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        printed, complaint = out.read().strip().splitlines(), err.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{complaint[-3000:]}")
    found = json.loads(printed[-1]) if printed and printed[-1].startswith("{") else {}
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 2**10, **found}


def in_turns(programs: Mapping[str, Callable[[], dict[str, Any]]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """What each program gave, run A B A B, so that whatever the machine does meets all alike.

    Args:
        programs: By name; each gives numbers by name, such as `run` does.
        rounds: How often.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            found[name].append(program())
            numbers = ", ".join(f"{k} {v:.4g}" for k, v in found[name][-1].items() if isinstance(v, int | float))
            print(f"  {name}: {numbers}", file=sys.stderr)
    return found


def median(runs: Sequence[Mapping[str, Any]], name: str) -> float:
    """Of a number over the runs of a program."""
    return statistics.median(float(r[name]) for r in runs)


# Peers


def peers_python(env: Path, name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment for peers, which is made if it is not there.

    A link to this environment's packages serves for torch and Lightning, so that all run on the same ones.

    Args:
        env: The folder of the peers' environments.
        name: Of this one.
        packages: What it needs beside ours, as pip takes them.
    """
    folder = env / name
    python, made = folder / "bin" / "python", folder / "made"
    if not made.exists() or made.read_text().split() != list(packages):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        ours = Path(next(p for p in sys.path if p.endswith("site-packages")))
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (folder / "lib" / version / "site-packages" / "linked.pth").write_text(f"{ours}\n")
        pinned = [p for p in (HERE.parent / "constraints.txt").read_text().splitlines()
                  if p.startswith(tuple(f"{name}==" for name in LINKED))]  # fmt: skip
        (folder / "constraints.txt").write_text("\n".join(pinned))
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", folder / "constraints.txt", *packages], check=True)
        made.write_text("\n".join(packages))
    return python
