from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.serving import fleet as module
from torchkiln.serving.fleet import Fleet


def test_who_moves_and_who_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path, 2)
    for worker in (0, 1):
        fleet.started(worker)
    assert fleet.trouble() == "worker 0 is not ready"
    fleet.beat(0, True, 0)
    fleet.beat(1, True, 0)
    assert fleet.trouble() is None and fleet.still(0) < 1
    monkeypatch.setattr(module, "STALE_SECONDS", -1.0)
    assert "has not moved" in str(fleet.trouble())


def test_restarts_are_kept_over_beats(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 2)
    fleet.started(0)
    fleet.restarted(0)
    fleet.beat(0, True, 3)
    fleet.restarted(1)
    assert fleet.restarts() == 2 and fleet.ready(0) and not fleet.ready(1)


def test_orders_are_numbered_and_carried_out(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 2)
    assert fleet.orders_size() == 0
    assert fleet.order({"do": "a"}) == 1 and fleet.order({"do": "b"}) == 2
    assert fleet.orders(1) == [{"do": "b"}]
    fleet.beat(0, True, 2)
    assert fleet.behind(1)
    fleet.beat(1, True, 1)
    assert not fleet.behind(1) and fleet.behind(2)


def test_counts_of_the_others(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 3)
    fleet.publish(0, {"a": 1})
    fleet.publish(1, {"a": 2})
    (tmp_path / "counts-2.json").write_text("{")  # is just being written
    assert fleet.others(0) == [{"a": 2}]
