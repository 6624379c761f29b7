"""The supervisor itself runs in tests/faults; here is what it decides by."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from torchkiln.errors import InputError
from torchkiln.serving.fleet import Fleet
from torchkiln.serving.settings import Settings
from torchkiln.serving.supervisor import _listen, _Supervisor


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    fleet = Fleet(tmp_path, 2)
    with socket.socket() as a, socket.socket() as b:
        yield _Supervisor(Settings(paths=[Path("x")]), [a, b], fleet, lambda *args: None)


def test_who_dies_again_and_again_waits_longer(supervisor: Any, capsys: pytest.CaptureFixture[str]) -> None:
    child, now = supervisor.children[0], time.monotonic()
    child.moved = True
    waits = []
    for _ in range(9):
        child.since = now
        assert supervisor._died(child, -9, now)
        waits.append(child.due - now)
    assert waits[0] == 0 and waits == sorted(waits) and waits[2] == pytest.approx(1.0) and waits[-1] <= 30
    child.since = now - 60  # it lived long
    supervisor._died(child, -9, now)
    assert child.due == now
    assert "ended with -9" in capsys.readouterr().err


def test_who_cannot_start_at_all_ends_the_server(supervisor: Any) -> None:
    assert not supervisor._died(supervisor.children[0], 2, time.monotonic())
    assert supervisor.code == 2


def test_one_address_for_all_workers() -> None:
    sockets = _listen("127.0.0.1", 0, 3)
    try:
        assert len({one.getsockname() for one in sockets}) == 1
        with pytest.raises(InputError, match="choose another --port"):
            _listen("127.0.0.1", sockets[0].getsockname()[1], 2)
    finally:
        for one in sockets:
            one.close()
    with pytest.raises(InputError, match="cannot be listened on"):
        _listen("no.such.host.invalid", 0, 1)
