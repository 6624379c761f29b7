"""A bundle: a trained model as plain files, read, checked and asked without torch."""

from __future__ import annotations

from torchkiln.bundle.read import Bundle, load

__all__ = ["Bundle", "load"]
