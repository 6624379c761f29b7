"""The network is asked once, briefly, and not at all where that is not wanted."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from torchkiln.models import reach


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The hosts that were asked; each of them answers."""
    hosts: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> Any:
        assert timeout < 5
        hosts.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.delenv(reach.OFFLINE, raising=False)
    return hosts


def test_a_host_that_answers(asked: list[tuple[str, int]]) -> None:
    assert reach.answers("https://example.org/weights/net.pth")
    assert asked == [("example.org", 443)]


def test_offline_nobody_is_asked(asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(reach.OFFLINE, "1")
    assert not reach.answers("https://example.org")
    assert asked == []
    monkeypatch.setenv(reach.OFFLINE, "0")
    assert reach.answers("https://example.org")


def test_a_host_that_does_not_answer(asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: tuple[str, int], timeout: float) -> Any:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not reach.answers("https://example.org")
