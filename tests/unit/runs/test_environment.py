"""What a run ran on."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchkiln.runs import environment


def test_versions_and_packages_are_those_installed() -> None:
    found = environment.describe(Path.cwd())
    assert found["versions"]["python"] == platform.python_version()
    assert found["packages"]["numpy"] == environment.version("numpy")
    assert environment.version("no-such-package") is None


def test_only_variables_that_change_bits_are_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    found = environment.describe(Path.cwd())
    assert found["flags"]["NVIDIA_TF32_OVERRIDE"] == "1" and "hunter2" not in repr(found)
    assert found["cpu"]["model"] and found["cpu"]["threads"] >= 1


THEN = {
    "versions": {"python": "3.11.7", "torch": "2.14.1"}, "packages": {"torch": "2.14.1", "numpy": "2.4.6"},
    "cpu": {"model": "Old", "threads": 2}, "flags": {"MKL_CBWR": "AVX2"}, "device": {"type": "cuda", "name": "GPU A"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({}, []),
        ({"versions": {"python": "3.11.7", "torch": "2.15.0"}, "packages": {"torch": "2.15.0", "numpy": "2.4.6"}},
         ["torch was 2.14.1 and is 2.15.0"]),
        ({"packages": {"torch": "2.14.1", "numpy": "2.5.0"}}, ["numpy was 2.4.6 and is 2.5.0"]),
        ({"cpu": {"model": "New", "threads": 2}}, ["the CPU was Old and is New"]),
        ({"cpu": {"model": "Old", "threads": 8}}, []),
        ({"device": {"type": "cuda", "name": "GPU B"}}, ["the device was GPU A and is GPU B"]),
        ({"flags": {"NVIDIA_TF32_OVERRIDE": "1"}},
         ["MKL_CBWR was AVX2 and is unset", "NVIDIA_TF32_OVERRIDE was unset and is 1"]),
    ],
)  # fmt: skip
def test_what_may_change_bits_is_told(now: dict[str, Any], said: list[str]) -> None:
    assert environment.differences(THEN, {**THEN, **now}, threads_matter=False) == said


def test_threads_are_told_where_the_machine_gives_them() -> None:
    now = {**THEN, "cpu": {"model": "Old", "threads": 8}}
    assert environment.differences(THEN, now, threads_matter=True) == ["the number of threads was 2 and is 8"]
    assert environment.differences({}, now, threads_matter=True) == []


def test_git_says_commit_and_changes(tmp_path: Path) -> None:
    assert environment.git(tmp_path) is None
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    found = environment.git(tmp_path)
    assert found is not None and len(found["commit"]) == 40 and found["changed"] is False


@pytest.mark.parametrize(
    ("given", "loaded", "wanted"),
    [({}, False, "1000"), ({}, True, None), ({"OMP_WAIT_POLICY": "ACTIVE"}, False, None),
     ({"GOMP_SPINCOUNT": "7"}, False, "7")],
)  # fmt: skip
def test_waiting_threads_are_spared_before_torch_is_loaded_and_where_nobody_says_otherwise(
    given: dict[str, str], loaded: bool, wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "0")  # so that what is set below is put back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "torch", None)  # type: ignore[arg-type]
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    environment.spare_waiting()
    assert os.environ.get("GOMP_SPINCOUNT") == wanted
