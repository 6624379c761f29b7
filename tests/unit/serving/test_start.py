from __future__ import annotations

from pathlib import Path

import pytest

import torchkiln
from torchkiln.errors import InputError
from torchkiln.serving.start import limits, serve, settings


def test_options_find_their_place() -> None:
    made = settings("a", Path("b"), port=0, rows=10, deadline_seconds=2.5)
    assert made.paths == [Path("a"), Path("b")] and made.port == 0
    assert (made.limits.rows, made.limits.deadline_seconds) == (10, 2.5)


def test_a_slip_of_the_pen_is_told() -> None:
    with pytest.raises(InputError, match="'port'"):
        settings("a", prot=1)
    with pytest.raises(InputError, match="above 0"):
        settings("a", rows=0)


def test_limits_of_the_command_line() -> None:
    assert limits(["rows=10", "deadline_seconds=0.5"]) == {"rows": 10, "deadline_seconds": 0.5}
    for wrong in ("rows", "rows=x", "rows=1.5", "row=3", "rows=nan"):
        with pytest.raises(InputError, match="NAME=NUMBER"):
            limits([wrong])


def test_it_is_a_function_of_the_package(tmp_path: Path) -> None:
    assert torchkiln.serve is serve
    with pytest.raises(InputError, match="does not exist"):
        serve(tmp_path / "none", port=0, workers=1, access_log=None)
