"""What resuming keeps, costs and waits for, beside plain Lightning, StatefulDataLoader and the Hugging Face Trainer.

    python benchmarks/resume.py [ROW ...] [--check] [--json FILE] [--env DIR]

Rows: peers (three small trainings killed at every step), writing (kills during a save), cost (of checkpointing),
loss (what a kill takes, and how soon a resume trains), seeding, stopping (SIGTERM). The peers need packages of their
own: they are installed into DIR, an environment linked to this one's torch, and found there the next time.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import resume_lives
from figures import HERE, SOURCE, Figure, Row, command_line, environment, peers_python

PEERS = {"lightning": "Lightning, ModelCheckpoint", "stateful": "Lightning, StatefulDataLoader",
         "hugging_face": "Hugging Face Trainer", "ours": "torchkiln"}  # fmt: skip
PACKAGES = ("torchdata==0.11.0", "accelerate==1.15.0", "transformers>=5.0")
TRAINING_SECONDS = 80
INTERVAL, LONGEST_INTERVAL, WRITES_APART = 30, 600, 100
"""How often a run saves by default: this many seconds, and no more often than so many writes apart."""


def main() -> int:
    """Run the rows that were asked for."""
    closing = "Every event of every case, not only the steps: TORCHKILN_EVERY_EVENT=1 python -m pytest tests/resume"
    return command_line(__doc__ or "", ROWS, closing)


# Peers


def peers(folder: Path, env: Path) -> list[Figure]:
    """The share of kills after which the run ends as if it had never been interrupted."""
    import resume_peers

    python = peers_python(env, "resume", PACKAGES)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for system in PEERS:
        for name in resume_peers.CASES:
            command = [python if system != "ours" else sys.executable, HERE / "resume_peers.py", system, name]
            command.append(folder / f"{system}-{name}")
            done = subprocess.run(command, env=environment(), capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{system}, {name}: {done.stderr}")
            found.setdefault(system, {})[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"  {PEERS[system]}, {name}: {shares(found[system][name])}", file=sys.stderr)
    figures = []
    for name, case in resume_peers.CASES.items():
        mine = found["ours"][name]
        beside = "; ".join(f"{PEERS[s]} {shares(found[s][name])}" for s in PEERS if s != "ours")
        equal = all(kill["equal"] for kill in mine)
        figures.append(Figure("peers", case.what, shares(mine), "all", beside, equal))
    every = {s: [kill for case in cases.values() for kill in case] for s, cases in found.items()}
    total = {s: f"{sum(k['equal'] for k in kills) / len(kills):.0%}" for s, kills in every.items()}
    beside = ", ".join(f"{PEERS[s]} {total[s]}" for s in PEERS if s != "ours")
    whole = all(k["equal"] for k in every["ours"])
    return [*figures, Figure("peers", "all three, share of kills", total["ours"], "100%", beside, whole)]


def shares(kills: list[dict[str, Any]]) -> str:
    """`equal of kills (weights, table, rate; resumes that failed)`."""
    count = {w: sum(bool(k[w]) for k in kills) for w in ("equal", "weights", "table", "rate", "failed")}
    parts = f"weights {count['weights']}, table {count['table']}, rate {count['rate']}"
    failed = f", failed {count['failed']}" if count["failed"] else ""
    return f"{count['equal']} of {len(kills)} ({parts}{failed})"


# Kills during a write


def writing(folder: Path, env: Path) -> list[Figure]:
    """Savers of 9.6 MB without pause, killed after 5 to 250 ms."""

    def killed(kind: str, kills: int) -> dict[str, int]:
        command = [sys.executable, HERE / "resume_lives.py", kind, folder / kind, str(kills)]
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, int] = json.loads(done.stdout)
        return found

    mine, plain = killed("save", 500), killed("torch_save", 100)
    beside = f"torch.save over one file: {plain['unreadable']} of {plain['kills']} unreadable"
    what = f"{mine['kills']} kills of a process that saves ({mine['torn']} hit inside a write)"
    ours = f"{mine['unreadable']} unreadable, {mine['lost']} acknowledged saves lost"
    return [Figure("writing", what, ours, "0 and 0", beside, mine["unreadable"] == mine["lost"] == 0)]


# Fits by the command line, watched


@dataclass(frozen=True)
class Life:
    """What a watched `torchkiln` noted, in seconds of the monotonic clock."""

    started: float
    code: int
    lines: list[dict[str, Any]]
    errors: str

    def of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["what"] == what]

    @property
    def first_batch(self) -> float:
        return float(self.of("batch")[0]["begun"])

    @property
    def wall(self) -> float:
        """From the first batch to the last."""
        return float(self.of("batch")[-1]["begun"]) - self.first_batch


def life(times: Path, *words: Any, act: Callable[[subprocess.Popen[str]], None] | None = None, **env: Any) -> Life:
    """Run `torchkiln WORDS` in a process of its own.

    Args:
        times: A new file, for what it notes.
        act: Called with the process while it runs.
        env: Variables of its environment.
    """
    times.unlink(missing_ok=True)
    command = [sys.executable, HERE / "resume_lives.py", "torchkiln", times, *map(str, words)]
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment(**env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)  # fmt: skip
    if act:
        act(process)
    _, errors = process.communicate()
    return Life(started, process.returncode, noted(times), errors)


def noted(times: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of times, also while it grows."""
    text = times.read_text() if times.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def fresh(folder: Path, name: str, width: int, batch: int = resume_lives.BATCH, **train: Any) -> list[Any]:
    """The words that begin a run of the net of `width`, after `torchkiln`."""
    settings = {"epochs": 1, "batch_size": batch, "threads": 1, "precision": "'32'", "device": "cpu", **train}
    recipe = folder / f"{name}.yaml"
    lines = ["task: custom", "loss: cross_entropy", "train:", *(f"  {k}: {v}" for k, v in settings.items()),
             f"data: {{class_path: resume_lives.data, init_args: {{batch: {batch}}}, workers: 0}}",
             f"model: {{class_path: resume_lives.net, init_args: {{width: {width}}}}}"]  # fmt: skip
    recipe.write_text("\n".join(lines) + "\n")
    return ["fit", recipe, "--out", folder / name, "--overwrite"]


def succeeded(done: Life) -> Life:
    if done.code:
        raise SystemExit(f"a run failed:\n{done.errors}")
    return done


# The cost


@functools.cache
def long_fits(folder: Path) -> tuple[list[Life], list[Life]]:
    """Two pairs of the same fit of 7 million parameters: with the default interval, and without checkpoints."""
    words = functools.partial(fresh, folder, "long", 1800)
    trial = succeeded(life(folder / "times", *words(epochs=2)))
    epochs = max(2, round(TRAINING_SECONDS / trial.wall * 2))
    saving, off = [], []
    for _ in range(2):
        saving.append(succeeded(life(folder / "times", *words(epochs=epochs))))
        off.append(succeeded(life(folder / "times", *words(epochs=epochs, checkpoint_every=10**9))))
    return saving, off


def cost(folder: Path, env: Path) -> list[Figure]:
    """What checkpointing takes from training, and what a step waits for."""
    saving, off = long_fits(folder)
    shares = [excess(one) / one.wall for one in saving]
    ratios = [100 * (a.wall / b.wall - 1) for a, b in zip(saving, off, strict=True)]
    saves = sum(len(of_interval(one)) for one in saving)
    walls = [f"{b.wall:.1f} and {a.wall:.1f} s ({r:+.1f}%)" for a, b, r in zip(saving, off, ratios, strict=True)]
    beside = f"the same fit without checkpoints, then with them: {', '.join(walls)}"
    what = f"share of wall time at the default interval, {saves} checkpoints of 84 MB in {len(saving)} fits"
    share = statistics.mean(shares)
    return [Figure("cost", what, f"{share:.2%}", "at most 1%", beside, share <= 0.01), *waits(folder)]


def of_interval(one: Life) -> list[dict[str, Any]]:
    """The saves that the clock asked for: neither that of the start nor that of the end."""
    return [s for s in one.of("save")[:-1] if s["step"]]


def excess(one: Life) -> float:
    """Seconds by which steps were longer for the saves of the interval and the writing beside them."""
    begun = [float(b["begun"]) for b in one.of("batch")]
    busy = [(s["begun"], s["ended"]) for s in of_interval(one)]
    first, last = of_interval(one)[0]["begun"], one.of("save")[-1]["begun"]
    busy += [(w["begun"], w["ended"]) for w in one.of("write") if first < w["begun"] < last]
    touched, free = [], []
    for i, (a, b) in enumerate(pairwise(begun)):
        if i == 0 or i % resume_lives.BATCHES == resume_lives.BATCHES - 1:
            continue  # the run's first save, and what an epoch ends with
        (touched if any(x < b and y > a for x, y in busy) else free).append(b - a)
    return sum(touched) - len(touched) * statistics.mean(free)


def waits(folder: Path) -> list[Figure]:
    """The time of a step that saves 30 MB, against the time until they are on disk."""
    words = fresh(folder, "waits", 1050, batch=16, epochs=3, checkpoint_every=7)
    done = succeeded(life(folder / "times", *words, ALONE=1))
    saves = [s for s in done.of("save")[:-1] if s["step"]]
    ends = {w["name"]: w["ended"] for w in done.of("write")}
    wait = statistics.median(s["ended"] - s["begun"] for s in saves)
    line = statistics.median(ends[f"step-{s['step']:08d}"] - s["begun"] for s in saves)
    what = f"what a step waits for a checkpoint of 30 MB, median of {len(saves)}"
    beside = f"until it is on disk: {1000 * line:.0f} ms, {line / wait:.0f} times as long"
    return [Figure("cost", what, f"{1000 * wait:.0f} ms", "a tenth of a write in line", beside, 10 * wait <= line)]


# What a kill takes


def loss(folder: Path, env: Path) -> list[Figure]:
    """The longest stretch of training that a kill at the worst moment loses; how soon a resume trains."""
    return [at_most(folder), ready(folder), place()]


def at_most(folder: Path) -> Figure:
    """From the checkpoints' own times: a kill just before one is whole loses all since the one before was taken."""
    lost, allowed = [], []
    for one in long_fits(folder)[0]:
        ends = {w["name"]: (w["begun"], w["ended"]) for w in one.of("write")}
        saves = [(s["begun"], *ends[f"step-{s['step']:08d}"]) for s in one.of("save")]
        lost += [ended - begun for (begun, _, _), (_, _, ended) in pairwise(saves)]
        write = max(ended - begun for begun, _, ended in saves)
        interval = min(max(INTERVAL, WRITES_APART * write), LONGEST_INTERVAL)
        steps = [b["begun"] - a["begun"] for a, b in pairwise(one.of("batch"))]
        allowed.append(interval + write + max(steps))
    what = "most that a kill can lose, by the times of the checkpoints"
    floor = f"interval + write + step: {max(allowed):.1f} s"
    return Figure("loss", what, f"{max(lost):.1f} s", floor, "", max(lost) <= max(allowed))


def ready(folder: Path) -> Figure:
    """1 GB of state: 85 million parameters and AdamW's two moments; the quickest of three starts and resumes."""
    run, starts = folder / "large", []
    for i in range(3):
        ends = {"KILL_AT": 5} if i == 2 else {"LEAVE_AT": 0}
        one = life(folder / "times", *fresh(folder, "large", 6450, batch=4, checkpoint_every=2), **ends)
        planned = json.loads((run / "plan.json").read_text())["seconds"]
        starts.append(one.first_batch - one.started - planned)
    assert one.code == -signal.SIGKILL, one.errors
    size = sum(f.stat().st_size for f in sorted((run / "checkpoints").glob("step-*"))[-1].iterdir())
    resumed = [life(folder / "times", "fit", "--resume", run, LEAVE_AT=0) for _ in range(3)]
    assert all(one.of("batch") for one in resumed), resumed[0].errors
    start, again = min(starts), min(one.first_batch - one.started for one in resumed)
    shutil.rmtree(run)
    what = f"first step of a resume with {size / 1e9:.2f} GB of state, beyond that of a fresh start"
    beside = f"{again:.1f} s against {start:.1f} s, what its plan measures not counted; the quickest of 3 each"
    return Figure("loss", what, f"{again - start:.1f} s", "at most 5 s", beside, again - start <= 5)


def place() -> Figure:
    """The first batch from batch 10 and from batch 1,000,000 of an epoch of 1,100,000."""
    sys.path.insert(0, str(SOURCE))
    from torchkiln.data.order import TrainOrder

    def seconds(batch: int) -> float:
        order = TrainOrder(2_200_000, 2, seed=0)
        order.start_at(3, batch)
        begun = time.perf_counter()
        next(iter(order))
        return time.perf_counter() - begun

    pairs = [(seconds(10), seconds(1_000_000)) for _ in range(5)]
    near, far = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    what = "first batch of a resume at batch 1,000,000 of an epoch, against at batch 10"
    beside = f"{far:.2f} s and {near:.2f} s, of which nearly all is the epoch's permutation"
    return Figure("loss", what, f"{far / near:.2f} times", "at most 1.5 times", beside, far <= 1.5 * near)


# Seeds


def seeding(folder: Path, env: Path) -> list[Figure]:
    """Processor time that setting the generators takes, best of 50 rounds."""
    sys.path.insert(0, str(SOURCE))
    import torch

    from torchkiln.data.own import SampleSeed
    from torchkiln.training.seeding import seed_all

    def microseconds(call: Callable[[int], Any], count: int) -> float:
        def once() -> float:
            begun = time.thread_time()  # of the processor: it is not for the neighbours to decide
            for i in range(count):
                call(i)
            return (time.thread_time() - begun) / count * 1e6

        return min(once() for _ in range(50))

    one = SampleSeed(0, "train")
    sample = microseconds(lambda i: one(0, i), 200)
    step = microseconds(lambda i: seed_all(0, "step", 0, i), 200)
    plain = microseconds(torch.manual_seed, 20)
    return [
        Figure("seeding", "generators for a sample", f"{sample:.1f} us", "at most 5 us",
               f"torch.manual_seed: {plain:.0f} us", sample <= 5),
        Figure("seeding", "generators for a step", f"{step:.1f} us", "at most 50 us", "", step <= 50),
    ]  # fmt: skip


# SIGTERM


LEAVING = 0.1
"""Seconds for the copy and for Lightning's own teardown, behind the last step."""


def stopping(folder: Path, env: Path) -> list[Figure]:
    """SIGTERM at five random moments: at most the step under way, what follows it, and one write."""
    draw, late, codes, words, exits = random.Random(0), [], set(), True, []
    for i in range(5):
        times, sent = folder / "times", [0.0]

        def stop(process: subprocess.Popen[str], times: Path = times, sent: list[float] = sent) -> None:
            while process.poll() is None and sum(x["what"] == "batch" for x in noted(times)) < 20:
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 3))
            sent[0] = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait()
            exits.append(time.monotonic())

        done = life(times, *fresh(folder, f"stop-{i}", 1800, epochs=1000), act=stop)
        if not done.of("end"):
            raise SystemExit(f"a run ended before it was told to:\n{done.errors}")
        begun = [float(b["begun"]) for b in done.of("batch")]
        step = max(b - a for a, b in pairwise(begun[1:]))
        write = max(w["ended"] - w["begun"] for w in done.of("write"))
        exits[-1] -= done.of("end")[0]["ended"]
        late.append((done.of("end")[0]["ended"] - sent[0], step + write + LEAVING))
        codes.add(done.code)
        words &= f"torchkiln fit --resume {folder / f'stop-{i}'}" in done.errors
    most, bound = max(late, key=lambda pair: pair[0] / pair[1])
    what = "SIGTERM to the end of the run, the latest of 5"
    floor = f"the longest step and the longest write of that run, and {LEAVING} s for Lightning to leave: {bound:.2f} s"
    beside = f"the interpreter's exit after it: {statistics.median(exits):.2f} s"
    ours = f"{', '.join(map(str, codes))}, {'said' if words else 'not said'}"
    said = Figure(
        "stopping", "exit code, and the words that resume it", ours, "143, said", "", codes == {143} and words
    )
    return [Figure("stopping", what, f"{most:.2f} s", floor, beside, most <= bound), said]


ROWS: dict[str, Row] = {
    "peers": peers, "writing": writing, "cost": cost, "loss": loss, "seeding": seeding, "stopping": stopping,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
