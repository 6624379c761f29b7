from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln.errors import RunError
from torchkiln.serving.log import Line, Log, Sample


def test_lines_are_json(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"))
    log.add(Line(1.0, "id\n", "POST", "/v1", 200, 12, "m", "1"))
    log.add(Line(2.0, "b", "GET", "/", 404, 1, error="nothing"))
    assert (tmp_path / "log").read_bytes() == b""
    log.flush()
    first, second = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert first["id"] == "id\n" and first["model"] == "m" and "error" not in first
    assert second["status"] == 404 and second["error"] == "nothing"


def test_many_lines_are_written_without_being_asked(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"))
    for _ in range(1000):
        log.add(Line(1.0, "x" * 100, "POST", "/", 200, 1))
    assert (tmp_path / "log").stat().st_size > 50_000


def test_a_full_disk_loses_lines_and_counts_them() -> None:
    log = Log("/dev/full")
    log.add({"a": 1})
    log.add({"a": 2})
    log.flush()
    assert log.lost == 2


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="choose another file"):
        Log(str(tmp_path / "no" / "log"))
    assert not Log(None)


def test_hashed_fields_stay_equal_and_cannot_be_read(tmp_path: Path) -> None:
    sample = Sample(Log(str(tmp_path / "log")), 1.0, frozenset({"name"}))
    assert sample.wanted()
    sample.add(
        "id", "m", "1", [{"name": "Ann", "age": 3}, {"name": "Ann"}, {"name": "Bob", "raw": b"bytes"}], [{}, {}, {}]
    )
    sample.log.flush()
    text = (tmp_path / "log").read_text()
    a, b, c = json.loads(text)["records"]
    assert a["name"] == b["name"] != c["name"] and a["age"] == 3
    assert "Ann" not in text and c["raw"].startswith("blake2b:")
    other = Sample(Log(None), 1.0, frozenset({"name"}))
    assert not other.wanted() and other._shown({"name": "Ann"}) != a  # another key


def test_a_share_is_a_share(tmp_path: Path) -> None:
    assert not Sample(Log(str(tmp_path / "log")), 0.0).wanted()
    sample = Sample(Log(str(tmp_path / "log")), 0.5)
    assert 0 < sum(sample.wanted() for _ in range(200)) < 200
