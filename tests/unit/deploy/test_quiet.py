"""What exporters print goes to a file."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest

from torchkiln.deploy import quiet


def test_everything_that_is_said_lands_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("torch").handlers[:]
    with pytest.raises(ValueError, match="the end"), quiet.into(tmp_path / "log"):  # noqa: PT012
        sys.stdout.write("printed")
        sys.stderr.write("complained")
        logging.getLogger("torch.onnx").warning("logged")
        warnings.warn("warned", FutureWarning, stacklevel=1)
        raise ValueError("the end")
    said = (tmp_path / "log").read_text()
    for word in ("printed", "complained", "logged", "warned", "the end"):
        assert word in said
    assert capfd.readouterr() == ("", "") and logging.getLogger("torch").handlers == before


def test_nothing_said_leaves_no_log(tmp_path: Path) -> None:
    with quiet.into(tmp_path / "log"):
        pass
    assert not (tmp_path / "log").exists()
