"""The server of lives, and where the modules of the proof are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The process that imports once, for all tests of this folder."""
    from proof.lives import Server

    made = Server({**os.environ, "TORCHKILN_CACHE": str(tmp_path_factory.mktemp("cache"))})
    yield made
    made.close()
