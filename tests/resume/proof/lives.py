"""A server that imports once and forks: each life of a run is a child that trains, is killed, or ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

AT_ONCE = 2
HANGS_AFTER = 240


@dataclass(frozen=True)
class Life:
    """One process of a run.

    Args:
        case: Its name.
        run: The run directory; the life goes on with what is there.
        sequence, at: The event at which it is killed; None lets it end.
        settings: Of the recipe, beyond the case's.
        loses: A part of the state that the life loses when it reads it.
        only_fit: Leave out test and report, which follow from the weights.
    """

    case: str
    run: str
    sequence: str | None = None
    at: int | None = None
    settings: dict[str, Any] | None = None
    loses: str | None = None
    only_fit: bool = False


@dataclass(frozen=True)
class End:
    """How a life ended: `killed`, `ended`, or what was wrong; and the names of its events where it ended."""

    how: str
    events: dict[str, list[str]]
    said: str = ""


class Server:
    """The process that imported once."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proof.lives"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def live(self, chains: list[list[Life]]) -> list[list[End]]:
        """Live the lives of each chain one after another, two chains at a time."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([[asdict(life) for life in chain] for chain in chains]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the server of lives died: {self.process.wait()}"
        return [[End(**end) for end in chain] for chain in json.loads(answer)]

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


# In the server


def main() -> None:
    _import_all()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a life prints is no answer
    for line in sys.stdin:
        chains = [[Life(**life) for life in chain] for chain in json.loads(line)]
        answers.write(json.dumps([[asdict(end) for end in chain] for chain in _live(chains)]) + "\n")
        answers.flush()


def _import_all() -> None:
    """All that a life would import, and no thread: what is forked is one thread only."""
    import torch

    torch.set_num_threads(1)
    import torch._dynamo
    import torch.distributed
    import torchmetrics  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    from proof import cases  # noqa: F401
    from torchkiln.recipe import wanted
    from torchkiln.stages import from_parts, from_recipe  # noqa: F401

    wanted.json_schema()
    gc.collect()
    gc.freeze()  # a collection would touch, and so copy, every page that a child shares


def _live(chains: list[list[Life]]) -> list[list[End]]:
    ends: list[list[End]] = [[] for _ in chains]
    waiting = list(range(len(chains)))[::-1]
    running: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number = waiting.pop()
            running[_begin(chains[number][len(ends[number])])] = number
        child, status = os.wait()
        number = running.pop(child, None)
        if number is None:
            continue
        life = chains[number][len(ends[number])]
        end = _end_of(life, status)
        ends[number].append(end)
        expected = "ended" if life.at is None else "killed"
        if end.how == expected and len(ends[number]) < len(chains[number]):
            waiting.append(number)
    return ends


def _begin(life: Life) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        signal.alarm(HANGS_AFTER)
        log = os.open(f"{life.run}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _lead(life)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _lead(life: Life) -> None:
    from proof import cases, events, faults

    run, case = Path(life.run), cases.CASES[life.case]
    seen = events.Events(life.sequence, life.at)
    events.watch_files(seen, run)
    events.watch_loop(seen, case.callbacks(run))
    if life.loses:
        faults.lose(life.loses)
    if life.only_fit:
        _leave_out_what_follows()
    resume = (run / "recipe.yaml").is_file()
    cases.fit(case, run, resume, life.settings or {})
    Path(f"{life.run}.events").write_text(json.dumps(seen.names))


def _leave_out_what_follows() -> None:
    """Test and report are functions of the weights: they are left to the lives whose stages are killed."""
    from torchkiln.stages import from_parts, from_recipe

    for module, tests in ((from_parts, ("_test_task", "_test_module")), (from_recipe, ("_test",))):
        for name in (*tests, "conclude"):
            assert hasattr(module, name), f"{module.__name__} has no {name}"
            setattr(module, name, lambda run, *_, **__: run.path)


def _end_of(life: Life, status: int) -> End:
    log, events = Path(f"{life.run}.log"), Path(f"{life.run}.events")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        how = {signal.SIGKILL: "killed", signal.SIGALRM: f"hung for {HANGS_AFTER} s"}.get(number, f"signal {number}")
        return End(how, {}, "" if how == "killed" else log.read_text()[-3000:])
    if os.WEXITSTATUS(status):
        return End(f"failed with {os.WEXITSTATUS(status)}", {}, log.read_text()[-3000:])
    return End("ended", json.loads(events.read_text()))


if __name__ == "__main__":
    main()
