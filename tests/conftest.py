"""What holds for every test: no network, and waiting threads that do not spin."""

from __future__ import annotations

import os

# Set before torch and the Hugging Face libraries are imported, which read them once.
os.environ.setdefault("TORCHKILN_OFFLINE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
