"""The recoverable state on disk: written beside the training, and found again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.errors import RunError, RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.directory import RunDirectory
from torchkiln.training import run_state, state_files
from torchkiln.training.run_state import OURS, RunStateIO


def checkpoint(value: float, best_step: int = -1) -> dict[str, Any]:
    ours = {"sizes": {"metrics.csv": 0}, "recorder": {"best": {"step": best_step} if best_step >= 0 else {},
                                                        "columns": [], "rows": 0}}  # fmt: skip
    return {"state_dict": {"w": torch.full((3,), value)}, "optimizer_states": [{"lr": 0.1}], OURS: ours}


def save(io: RunStateIO, step: int, value: float = 0.0, **more: Any) -> None:
    io.save_checkpoint(checkpoint(value, **more), io.run.path / "checkpoints" / f"step-{step:08d}")
    io.wait()


@pytest.fixture
def io(tmp_path: Path) -> RunStateIO:
    return RunStateIO(RunDirectory.create(tmp_path / "run"))


def test_what_was_saved_is_loaded(io: RunStateIO) -> None:
    save(io, 4, 2.5)
    found = io.load_checkpoint(io.run.path / "checkpoints" / "step-00000004")
    assert found["state_dict"]["w"].tolist() == [2.5] * 3 and found["optimizer_states"] == [{"lr": 0.1}]


def test_training_waits_for_the_copy_alone(io: RunStateIO, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real = threading.Event(), checkpoints.write

    def slow(*args: Any, **more: Any) -> Any:
        gate.wait(60)
        return real(*args, **more)

    monkeypatch.setattr(checkpoints, "write", slow)
    given = checkpoint(1.0)
    io.save_checkpoint(given, io.run.path / "checkpoints" / "step-00000001")
    given["state_dict"]["w"].fill_(9.0)  # the next step
    assert checkpoints.newest(io.run.path / "checkpoints", "step") is None
    gate.set()
    io.wait()
    found = io.load_checkpoint(io.run.path / "checkpoints" / "step-00000001")
    assert found["state_dict"]["w"].tolist() == [1.0] * 3


def test_the_best_weights_are_there_before_the_state_that_names_them(io: RunStateIO) -> None:
    order: list[str] = []
    real = checkpoints.write

    def noting(folder: Path, name: str, fill: Callable[[Path], None], **more: Any) -> Path:
        order.append(name)
        return real(folder, name, fill, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write", noting)
        io.best = (3, state_files.Copies({"w": torch.ones(1)}))
        save(io, 4)
    assert order == ["best-00000003", "step-00000004"] and io.best is None


def test_the_newest_two_stay_and_those_that_are_kept_for_good(tmp_path: Path) -> None:
    io = RunStateIO(RunDirectory.create(tmp_path / "run"), keep_every=4)
    for step in range(0, 11):
        save(io, step)
    assert checkpoints.steps(io.run.path / "checkpoints", "step") == [4, 8, 9, 10]


def test_a_write_that_fails_ends_the_run_at_the_next_look(io: RunStateIO, monkeypatch: pytest.MonkeyPatch) -> None:
    save(io, 1)

    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "PAUSES", ())
    monkeypatch.setattr(checkpoints, "_seal", full)
    io.save_checkpoint(checkpoint(0.0), io.run.path / "checkpoints" / "step-00000002")
    with pytest.raises(RunFailed, match=r"the disk is full.*step-00000001 is whole.*--resume"):
        io.wait()
    io.finish()


def test_a_persons_own_checkpoint_is_written_as_lightning_does(io: RunStateIO, tmp_path: Path) -> None:
    io.save_checkpoint({"state_dict": {}, "epoch": 3}, tmp_path / "own.ckpt")
    assert torch.load(tmp_path / "own.ckpt", weights_only=True)["epoch"] == 3


def test_going_back_cuts_tables_and_sweeps_what_is_later(io: RunStateIO) -> None:
    run, folder = io.run, io.run.path / "checkpoints"
    run.append_row("metrics", {"epoch": 0, "val": 0.5})
    given = checkpoint(1.0, best_step=2)
    given[OURS] |= {"sizes": run.sizes(), "recorder": {"best": {"step": 2}, "columns": ["epoch", "val"], "rows": 1}}
    before = (run.path / "metrics.csv").read_bytes()
    io.best = (2, state_files.Copies({"w": torch.ones(1)}))
    io.save_checkpoint(given, folder / "step-00000002")
    io.wait()
    io.best = (5, state_files.Copies({"w": torch.ones(1)}))
    save(io, 5)
    run.write_rows("metrics", ["epoch", "val", "late"], run.rows("metrics"))
    run.append_row("metrics", {"epoch": 1, "val": 0.6, "late": 1})
    (folder / "step-00000005" / "weights.safetensors").write_bytes(b"damaged")
    back = run_state.go_back(run)
    assert back is not None and back[0].name == "step-00000002"
    assert (run.path / "metrics.csv").read_bytes() == before
    assert checkpoints.steps(folder, "best") == [2] and checkpoints.steps(folder, "step") == [2]


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew_without_being_asked(io: RunStateIO) -> None:
    save(io, 2)
    (io.run.path / "checkpoints" / "step-00000002" / "weights.safetensors").unlink()
    with pytest.raises(
        RunError, match=r"weights\.safetensors is missing.* no other is whole; .* begin anew: torchkiln"
    ):
        run_state.go_back(io.run)


def test_damage_is_said_in_the_run_and_lost_best_weights_end_the_promise(io: RunStateIO) -> None:
    folder = io.run.path / "checkpoints"
    io.best = (1, state_files.Copies({"w": torch.ones(1)}))
    given = checkpoint(1.0, best_step=1)
    given[OURS]["recorder"]["best"]["epoch"] = 0
    io.save_checkpoint(given, folder / "step-00000002")
    io.wait()
    (folder / "best-00000001" / "weights.safetensors").write_bytes(b"damaged")
    back = run_state.go_back(io.run)
    assert back is not None and back[1][OURS]["recorder"]["best"] == {}
    assert checkpoints.steps(folder, "best") == []
    said = [(e["kind"], e["level"]) for e in io.run.events()]
    assert said == [("resume", "warn")] * 2
    assert "best-00000001/weights.safetensors" in io.run.events()[0]["text"]
    (reason,) = io.run.read_json("environment.json")["not_bitwise"]
    assert reason == "the best weights, of epoch 0, were damaged; the best are sought from step 2 on"


def test_without_a_checkpoint_the_run_begins_anew(io: RunStateIO) -> None:
    io.run.append_row("metrics", {"epoch": 0})
    io.run.event("finding", "kept")
    assert run_state.go_back(io.run) is None
    assert not io.run.rows("metrics") and len(io.run.events()) == 1


def test_optimizer_states_are_laid_out_as_their_parameters() -> None:
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    net(torch.randn(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    moment = optimizer.state[net.weight]["exp_avg"].clone()
    optimizer.state[net.weight]["exp_avg"] = moment.contiguous()
    trainer: Any = type("Trainer", (), {"optimizers": [optimizer]})
    run_state.lay_out_again(trainer)
    laid = optimizer.state[net.weight]["exp_avg"]
    assert laid.is_contiguous(memory_format=torch.channels_last) and torch.equal(laid, moment)


def test_flags_that_change_bits_are_those_of_the_run() -> None:
    before = run_state.flags()
    run_state.set_flags({"matmul_precision": "medium", "cudnn_benchmark": True})
    assert torch.get_float32_matmul_precision() == "medium" and torch.backends.cudnn.benchmark
    run_state.set_flags(before)
    assert run_state.flags() == before
