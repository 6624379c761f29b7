"""Compiled code is refused where it would die, in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.bundle import machine
from torchkiln.errors import BundleError


def test_this_machine_is_this_machine() -> None:
    machine.check("model.aoti", machine.describe("2.9.0"), "2.9.0")
    machine.check("model.pt2", {}, None)


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("system", "Plan9 mips", "was compiled for Plan9 mips and this is"),
        ("instructions", "avx2 amx_unheard_of", "lacks its instructions amx_unheard_of"),
        ("torch", "1.0", r"was made by torch 1\.0 and here is torch 2\.9"),
    ],
)
def test_another_machine_is_refused(part: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "instructions", lambda: {"avx2"})
    with pytest.raises(BundleError, match=sentence):
        machine.check("model.aoti", {**machine.describe("2.9.0"), part: value}, "2.9.0")


def test_no_torch_is_another_torch() -> None:
    with pytest.raises(BundleError, match="here is no torch"):
        machine.check("model.pt2", {"torch": "2.9.0"}, None)


def test_instructions_are_read_where_the_system_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.instructions() == set()
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx avx2 ht\n\nflags : other\n")
    assert machine.instructions() == {"avx", "avx2"}
