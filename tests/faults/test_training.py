"""Faults of signals, memory, numbers and processes while a run trains, each brought about; numbered as in the list.

1, 2 and 9 (kills at every event, inside a write, again and again) and 48 (a process of several dies) are in
tests/resume.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import torchkiln
from torchkiln.errors import RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import DECISIONS

SETTINGS = {"train.epochs": 3, "train.plan_seconds": 0,
            "train.batch_size": 8, "train.threads": 1, "train.precision": "32", "data.workers": 0,
            "train.checkpoint_every": 4}  # fmt: skip
BAD = 17
"""The sample that some tests spoil."""


class Net(nn.Sequential):
    """Calls `act` with the input of each training step, but for the plan's trials, which are made with copies."""

    def __init__(self, act: Callable[[torch.Tensor], object] = lambda x: None) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        self.act = act

    def __deepcopy__(self, memo: Any) -> Net:
        copied = Net()
        copied.load_state_dict(self.state_dict())
        return copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():
            self.act(x)
        out: torch.Tensor = super().forward(x)
        return out


def data() -> list[TensorDataset]:
    found = []
    for n, seed in ((40, 0), (21, 1), (20, 2)):
        x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
        found.append(TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long()))
    return found


def fit(path: Path, net: nn.Module, sets: Any = None, loss: Any = "cross_entropy", **more: Any) -> torchkiln.Run:
    settings = {} if "resume" in more else {"out": path, "overrides": {**SETTINGS, **more.pop("settings", {})}}
    return torchkiln.fit(model=net, loss=loss, data=sets or data(), **{**settings, **more})


def ending(path: Path) -> dict[str, bytes]:
    files = {name: (path / name).read_bytes() for name in ("metrics.csv", "steps.csv", "test.json")}
    for prefix in ("step", "best"):
        newest = checkpoints.newest(path / "checkpoints", prefix)
        assert newest is not None
        files[newest.name] = (newest / "weights.safetensors").read_bytes()
    return files


def decisions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / DECISIONS).read_text().splitlines()]


# 3 to 5: a stop that is asked for


@pytest.fixture
def table(tmp_path: Path) -> Path:
    x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0)).numpy()
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    frame.with_columns(y=pl.when(pl.col("a") + pl.col("b") > 0).then(pl.lit("yes")).otherwise(pl.lit("no"))).write_csv(
        tmp_path / "t.csv"
    )
    return tmp_path / "t.csv"


COMMAND = [sys.executable, "-m", "torchkiln", "fit"]
LONG = ["train.epochs=200", "train.batch_size=16", "train.threads=1", "train.precision=32", "data.workers=0",
        "train.early_stopping=null", "--target", "y"]  # fmt: skip


def trains(run: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 300
    while not (run / "metrics.csv").is_file() or (run / "metrics.csv").read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline, "training did not begin"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_fault_03_04_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, code: int, table: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([*COMMAND, table, *LONG, "--out", run], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    trains(run, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    said = re.search(r"stopped at step (\d+), and saved; go on with: torchkiln fit --resume", errors.replace("\n", " "))
    assert said, errors
    newest = checkpoints.newest(run / "checkpoints", "step")
    assert newest is not None and newest.name == f"step-{int(said[1]):08d}"


@pytest.mark.slow
def test_fault_04_a_second_ctrl_c_stops_at_once_and_the_last_checkpoint_is_whole(tmp_path: Path) -> None:
    def hang(x: torch.Tensor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunFailed, match=r"stopped at once.*--resume"):
        fit(tmp_path / "run", Net(hang))
    assert checkpoints.newest(tmp_path / "run" / "checkpoints", "step") is not None


@pytest.mark.slow
def test_fault_05_a_terminal_that_is_closed_is_a_stop_that_is_asked_for(table: Path, tmp_path: Path) -> None:
    run, (control, terminal) = tmp_path / "run", pty.openpty()
    process = subprocess.Popen([*COMMAND, table, *LONG, "--out", run], stdin=terminal, stdout=terminal,
                               stderr=terminal, start_new_session=True, preexec_fn=_controlled)  # fmt: skip
    os.close(terminal)
    drained = threading.Thread(target=_drain, args=(control,), daemon=True)
    drained.start()
    trains(run, process)
    os.kill(process.pid, signal.SIGSTOP)  # so that the terminal is gone before it can end by itself
    _closing.set()
    drained.join(60)
    os.close(control)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(timeout=120) == 129
    newest = checkpoints.newest(run / "checkpoints", "step")
    assert newest is not None and newest.name != "step-00000000"


_closing = threading.Event()


def _controlled() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _drain(control: int) -> None:
    import select

    while not _closing.is_set():
        if select.select([control], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                os.read(control, 1 << 16)


# 23: a slow disk


@pytest.mark.slow
def test_fault_23_training_goes_on_while_a_slow_disk_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write ends only once three more steps were taken: written in line, the run would never end."""
    steps, stuck = [0], threading.Semaphore(0)
    real = checkpoints._seal

    def slow(*args: Any) -> None:
        stuck.acquire(timeout=60)
        real(*args)

    def step(x: torch.Tensor) -> None:
        steps[0] += 1
        if steps[0] % 3 == 0:
            stuck.release()

    monkeypatch.setattr(checkpoints, "_seal", slow)
    threading.Timer(8, lambda: [stuck.release() for _ in range(20)]).start()  # those that wait for the end
    fit(tmp_path / "run", Net(step), settings={"train.checkpoint_every": 7})
    assert steps[0] == 15


# 33 to 36: numbers that are none


def spoiled() -> list[TensorDataset]:
    sets = data()
    sets[0].tensors[0][BAD] = float("nan")
    return sets


def test_fault_33_a_batch_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=rf"the loss is not finite at step \d+, in epoch 0, .*samples .*{BAD}"):
        fit(tmp_path / "run", Net(), spoiled(), settings={"train.checkpoint_every": 1})
    newest = checkpoints.newest(tmp_path / "run" / "checkpoints", "step")
    assert newest is not None
    from torchkiln.training.state_files import load_tensors

    assert all(t.isfinite().all() for t in load_tensors(newest / "weights.safetensors").values())


@pytest.mark.slow
def test_fault_33_a_batch_that_is_not_finite_is_left_out_and_again_in_a_replay(tmp_path: Path) -> None:
    skipping = {"train.not_finite": "skip"}
    whole = fit(tmp_path / "whole", Net(), spoiled(), settings=skipping)
    assert [d["kind"] for d in decisions(whole.path)] == ["skip_batch"] * 3
    assert float(whole.directory.rows("metrics")[-1]["train_loss"]) > 0

    seen = [0]

    def stop_late(x: torch.Tensor) -> None:
        seen[0] += 1
        if seen[0] == 16:
            raise ZeroDivisionError("stopped by the test")

    with pytest.raises(RunFailed, match="stopped by the test"):
        fit(tmp_path / "cut", Net(stop_late), spoiled(), settings=skipping)
    healed = spoiled()  # the decision stands though the sample is good by now
    healed[0].tensors[0][BAD] = 0.0
    fit(tmp_path / "cut", Net(), spoiled(), resume=tmp_path / "cut")
    assert ending(tmp_path / "cut") == ending(whole.path)


def test_fault_33_a_gradient_that_is_not_finite_is_found_at_its_own_batch(tmp_path: Path) -> None:
    """The loss of the batch is finite; only the weights it leaves behind are not."""
    steps = [0]

    class OnceSteep(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x)
            steps[0] += self.training
            spoiled_here = self.training and bool((x == data()[0].tensors[0][BAD]).all(1).any())
            return Steep.apply(out) if spoiled_here else out

    run = fit(tmp_path / "run", OnceSteep(), settings={"train.not_finite": "skip", "train.epochs": 1})
    (decision,) = decisions(run.path)
    assert decision["text"].startswith("the gradient of batch") and str(BAD) in decision["text"]


class Steep(torch.autograd.Function):
    """Passes on what it is given, and a gradient that is infinite."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * float("inf")


def test_fault_34_a_loss_scale_that_collapses_ends_the_run_with_words(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the loss scale of fp16 has fallen to"):
        fit(tmp_path / "run", Net(), loss=lambda output, target: Steep.apply(output).float().square().mean(),
            settings={"train.precision": "16", "train.epochs": 40, "train.checkpoint_every": 1000})  # fmt: skip


def test_fault_35_gradients_that_explode_are_bounded_by_the_clip(tmp_path: Path) -> None:
    wild = {"optimizer.name": "sgd", "optimizer.lr": 1e4, "scheduler.name": "constant"}
    with pytest.raises(RunFailed, match=r"is not finite.*train\.clip\.norm"):
        fit(tmp_path / "wild", nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)), settings=wild,
            loss=lambda output, target: (output ** 4).mean())  # fmt: skip
    clipped = fit(tmp_path / "clipped", nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)),
                  settings={**wild, "optimizer.lr": 0.1, "train.clip": {"norm": 0.1}},
                  loss=lambda output, target: (output ** 4).mean())  # fmt: skip
    assert float(clipped.directory.rows("metrics")[-1]["train_loss"]) < 1e3


def test_fault_36_early_stopping_on_a_metric_that_is_no_number_is_a_clear_stop(tmp_path: Path) -> None:
    sets = data()
    sets[1] = TensorDataset(sets[1].tensors[0], torch.zeros(21, dtype=torch.long))  # one class has no auroc
    with pytest.raises(RunFailed, match=r"val_auroc is not a number in epoch 0, and early stopping"):
        fit(tmp_path / "run", Net(), sets, settings={"train.monitor": "auroc", "train.early_stopping": {"patience": 1}})


# 40, 41 and 43: memory


def hungry(most: int) -> Callable[[torch.Tensor], None]:
    def act(x: torch.Tensor) -> None:
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return act


def test_fault_40_out_of_memory_halves_the_part_at_the_same_step(tmp_path: Path) -> None:
    class Small(Net):
        def __init__(self, act: Callable[[torch.Tensor], object]) -> None:
            super().__init__(act)
            self[3] = nn.Identity()  # random numbers are drawn a part, so a net without shows the mathematics

    roomy = fit(tmp_path / "roomy", Small(lambda x: None))
    tight = fit(tmp_path / "tight", Small(hungry(3)))
    assert [d["value"] for d in decisions(tight.path)] == [2, 4]
    for a, b in zip(roomy.directory.rows("steps"), tight.directory.rows("steps"), strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-4)
    recovered = [e["text"] for e in tight.directory.events() if e["kind"] == "recovery"]
    assert "in 4 parts" in recovered[-1] and "Tried to allocate 2.00 GiB" in recovered[-1]


def test_fault_40_validation_that_does_not_fit_leaves_training_alone(tmp_path: Path) -> None:
    class Wide(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training and len(x) > 6:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(x)

    run = fit(tmp_path / "run", Wide())
    assert [(d["kind"], d["value"]) for d in decisions(run.path)] == [("eval_parts", 2), ("eval_parts", 4)]
    calm = fit(tmp_path / "calm", Net())
    assert (run.path / "steps.csv").read_bytes() == (calm.path / "steps.csv").read_bytes()
    assert run.scores["metrics"]["accuracy"]["value"] == calm.scores["metrics"]["accuracy"]["value"]


@pytest.mark.slow
def test_fault_41_host_memory_that_is_short_is_told_with_the_need(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import resource, torch, torchkiln
        from torch import nn
        from torch.utils.data import TensorDataset
        class Greedy(nn.Linear):
            armed = False
            def __deepcopy__(self, memo):
                return nn.Linear(4, 2)
            def forward(self, x):
                if self.training:
                    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
                    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), -1))
                    torch.empty(1 << 32, dtype=torch.uint8)
                return super().forward(x)
        x = torch.randn(40, 4)
        sets = [TensorDataset(x, (x[:, 0] > 0).long())] * 3
        try:
            torchkiln.fit(model=Greedy(4, 2), loss="cross_entropy", data=sets, out={str(tmp_path / "run")!r},
                          overrides={SETTINGS!r})
        except torchkiln.KilnError as error:
            print("SAID", error)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert "SAID out of memory in training at step 0" in done.stdout, done.stdout + done.stderr
    assert f"tried to allocate {1 << 32} bytes" in done.stdout


@pytest.mark.slow
def test_fault_43_memory_does_not_grow_with_the_steps(tmp_path: Path) -> None:
    """Resident memory behind each of the later epochs; a leak of 1 MB in a thousand steps would show."""
    sizes: list[int] = []
    seen = [0]

    def measure(x: torch.Tensor) -> None:
        seen[0] += 1
        if seen[0] % 1000 == 0:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())

    x = torch.randn(8000, 4)
    sets = [TensorDataset(x, (x[:, 0] > 0).long()), *data()[1:]]
    fit(tmp_path / "run", Net(measure), sets, settings={"train.epochs": 8, "train.checkpoint_every": 500})
    later = sizes[3:]
    slope = (later[-1] - later[0]) / (len(later) - 1)
    assert slope < 1 << 20, f"{slope / 2**20:.2f} MB a thousand steps: {[s >> 20 for s in sizes]}"


# 45: a hub that is not there


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHKILN_OFFLINE", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port of `discard`, where nobody listens


@pytest.mark.slow
def test_fault_45_without_a_hub_training_goes_on_from_fresh_weights(tmp_path: Path, table: Path, no_hub: None) -> None:
    lines = ["text,y"] + [
        f"{'good' if i % 2 else 'bad'} film number {i},{'pos' if i % 2 else 'neg'}" for i in range(80)
    ]
    (tmp_path / "texts.csv").write_text("\n".join(lines) + "\n")
    run = torchkiln.fit(tmp_path / "texts.csv", {"train.epochs": 1, "train.threads": 1, "train.precision": "32",
                                                 "data.workers": 0}, target="y", out=tmp_path / "run")  # fmt: skip
    assert run.scores["metrics"]


# 49: another number of processes


@pytest.mark.slow
def test_fault_49_with_elastic_shards_a_run_goes_on_with_other_processes_to_the_same_bits(
    table: Path, tmp_path: Path
) -> None:
    settings = ["train.epochs=3", "train.threads=1", "train.precision=32", "data.workers=0", "train.exact=elastic",
                "train.checkpoint_every=5", "train.early_stopping=null", "model=mlp", "--target", "y"]  # fmt: skip

    def run(name: str, devices: int, *more: str) -> subprocess.CompletedProcess[str]:
        words = [str(table), *settings, f"train.devices={devices}", f"train.batch_size={64 // devices}"]
        return subprocess.run([*COMMAND, *words, *more, "--out", name], cwd=tmp_path, capture_output=True, text=True,
                              timeout=300)  # fmt: skip

    assert run("alone", 1).returncode == 0
    both = run("both", 2)
    assert both.returncode == 0, both.stderr
    assert ending(tmp_path / "alone") == ending(tmp_path / "both")

    cut = subprocess.Popen([*COMMAND, str(table), *settings, "train.devices=2", "train.batch_size=32", "--out", "cut"],
                           cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while (
        checkpoints.newest(tmp_path / "cut" / "checkpoints", "step") is None
        or not (tmp_path / "cut" / "metrics.csv").is_file()
    ):
        assert cut.poll() is None, cut.communicate()
        time.sleep(0.02)
    cut.send_signal(signal.SIGTERM)
    _, errors = cut.communicate(timeout=120)
    assert cut.returncode == 143, errors
    on = subprocess.run([*COMMAND, "--resume", "cut", "train.devices=1"], cwd=tmp_path, capture_output=True, text=True,
                        timeout=300)  # fmt: skip
    assert on.returncode == 0, errors + on.stderr
    assert ending(tmp_path / "cut") == ending(tmp_path / "alone")
