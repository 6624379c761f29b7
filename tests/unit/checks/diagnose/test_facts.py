from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from torchkiln.checks.diagnose import facts


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Linear(9, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)  # type: ignore[no-any-return]


def error_of(net: nn.Module, x: torch.Tensor) -> BaseException:
    with pytest.raises(RuntimeError) as caught:
        net(x)
    return caught.value


def test_the_frames_say_what_was_at_hand() -> None:
    (one,) = facts.of_error(error_of(Net(), torch.ones(3, 4)))
    assert one["kind"] == "RuntimeError" and one["link"] is None
    frame = next(f for f in one["frames"] if f["function"] == "forward" and f["file"] == __file__)
    assert frame["code"].startswith("return self.body(x)")
    assert frame["values"]["x"]["shape"] == [3, 4] and frame["values"]["x"]["device"] == "cpu"
    assert frame["values"]["self.body.1"]["inner"] and "in_features=9" in frame["values"]["self.body.1"]["said"]
    json.dumps(one)


def test_what_follows_from_what() -> None:
    def chained() -> None:
        try:
            try:
                raise KeyError("a")
            except KeyError as error:
                raise ValueError("b") from error
        except ValueError:
            raise TypeError("c")  # noqa: B904

    with pytest.raises(TypeError) as caught:
        chained()
    chain = facts.of_error(caught.value)
    assert [(one["kind"], one["link"]) for one in chain] == [
        ("KeyError", None), ("ValueError", "cause"), ("TypeError", "during")
    ]  # fmt: skip


def test_values_in_words() -> None:
    assert facts.described(np.ones((2, 3), dtype=np.float32)) == {"is": "array", "shape": [2, 3], "dtype": "float32"}
    assert facts.described([torch.ones(1)] * 3) == {"is": "list", "length": 3, "graph": False}
    assert facts.described(7) is None


def test_a_property_is_not_run() -> None:
    class Asked:
        @property
        def x(self) -> torch.Tensor:
            raise AssertionError("nothing of the person's may run")

        def use(self) -> None:
            raise RuntimeError(str(len(self.__dict__)) + "self.x")

    with pytest.raises(RuntimeError) as caught:
        Asked().use()
    assert facts.of_error(caught.value)[0]["frames"]


@pytest.mark.parametrize(
    ("file", "own"),
    [("train.py", True), ("/a/torchkiln/train.py", True), ("/v/lib/python3.12/site-packages/torch/x.py", False),
     ("C:\\Python310\\Lib\\multiprocessing\\spawn.py", False), (facts.__file__, False), ("<string>", True)],
)  # fmt: skip
def test_own_code_is_told_by_its_path(file: str, own: bool) -> None:
    assert facts.is_own(file) is own


def test_facts_are_left_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts._leave(str(tmp_path))
    assert not list(tmp_path.iterdir()), "a program that ends well leaves nothing"
    monkeypatch.setattr(sys, "last_value", ValueError("x"), raising=False)
    facts._leave(str(tmp_path))
    left = json.loads((tmp_path / f"{os.getpid()}.json").read_text())
    assert left["chain"][0]["text"] == "x"


def test_nothing_is_kept_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(facts.FACTS, raising=False)
    registered: list[object] = []
    monkeypatch.setattr(facts.atexit, "register", registered.append)
    facts.watch()
    assert registered == []
