"""Kill a training ten times, let it go on each time, and compare it with one that was never touched.

python examples/prove_resume.py demo

The kills are SIGKILL, which gives a process no chance to save, at moments drawn at random.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import digits

# What is measured by the clock where it is not said; and a checkpoint every 5 steps, so that short lives get on.
SETTINGS = ("train.epochs=4", "train.plan_seconds=0",
            "train.threads=1", "train.precision=32", "train.checkpoint_every=5", "data.workers=0",
            "data.store=memory", "train.channels_last=false")  # fmt: skip
COMPARED = {
    "last weights": "checkpoints/step-*/weights.safetensors",
    "best weights": "checkpoints/best-*/weights.safetensors",
    "table of metrics": "metrics.csv",
    "test scores": "test.json",
}


def main(folder: Path, kills: int, seed: int) -> int:
    """Run the proof; 1 if anything differs."""
    data, whole, cut = folder / "digits", folder / "never-killed", folder / "killed"
    if not data.is_dir():
        digits.main(data)

    print(f"1. A training of a net for handwritten digits, which nobody interrupts: {whole}")
    begun = time.monotonic()
    finish("fit", data, *SETTINGS, "--out", whole, "--overwrite")
    steps = reached(whole)
    print(f"   {steps} steps, {time.monotonic() - begun:.0f} s\n")

    print(f"2. The same training again, killed {kills} times: {cut}")
    shutil.rmtree(cut, ignore_errors=True)
    draw = random.Random(seed)
    words: list[str | Path] = ["fit", whole / "recipe.yaml", "--out", cut]
    for life, step in enumerate(sorted(draw.sample(range(1, steps - 5), kills)), 1):
        said = kill(words, cut, step, after=draw.uniform(0, 0.05))
        print(f"   life {life:2}: {said}; killed after step {reached(cut)}", flush=True)
        words = ["fit", "--resume", cut]
    print(f"   life {kills + 1:2}: {went_on(finish(*words))}; it ran to the end\n")

    print(f"3. What the two have left, as SHA-256\n   {'':18}{'never interrupted':20}killed {kills} times")
    if not compare(whole, cut):
        print("\nThey differ: this is a fault of torchkiln's.")
        return 1
    print(f"\nEqual, bit for bit: {kills} kills have left no trace.")
    return 0


def compare(whole: Path, cut: Path) -> bool:
    """Print the digests of both runs side by side; whether all are equal."""
    rows = [(what, digest(whole, files), digest(cut, files)) for what, files in COMPARED.items()]
    for what, one, other in rows:
        print(f"   {what:18}{one[:16]:20}{other[:16]:20}{'equal' if one == other else 'DIFFERENT'}")
    return all(one == other for _, one, other in rows)


def start(words: tuple[str | Path, ...] | list[str | Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torchkiln", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(*words: str | Path) -> str:
    """Run `torchkiln WORDS` to its end; gives what it said."""
    process = start(words)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    return said


def kill(words: list[str | Path], run: Path, step: int, after: float) -> str:
    """Run `torchkiln WORDS`, kill it `after` seconds behind `step`, or behind the first new one; gives how it began."""
    step = max(step, reached(run) + 1)  # a resume first cuts the tables back to its checkpoint
    process = start(words)
    while process.poll() is None and reached(run) < step:
        time.sleep(0.002)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"it ended before it could be killed:\n{said}")
    return went_on(said)


def went_on(said: str) -> str:
    """What a resume says of where it begins."""
    return next((line.strip() for line in said.splitlines() if "going on from step" in line), "begins at step 0")


def reached(run: Path) -> int:
    """The last step of which the run has written the loss."""
    file = run / "steps.csv"
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.is_file() else []
    return int(rows[-1]["step"]) if rows else 0


def digest(run: Path, files: str) -> str:
    """Of the newest file of that name."""
    return hashlib.sha256(sorted(run.glob(files))[-1].read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.exit(main(args.folder, args.kills, args.seed))
