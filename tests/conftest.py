"""What holds for every test: no network, a cache of its own, and waiting threads that do not spin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for bundles.py

# Set before torch and the Hugging Face libraries are imported, which read them once.
os.environ.setdefault("TORCHKILN_OFFLINE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded pictures of the tests go where pytest cleans up, not into the person's cache."""
    os.environ["TORCHKILN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
