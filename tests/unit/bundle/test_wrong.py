"""A value is named shortly, with the word that JSON has for it."""

from __future__ import annotations

from typing import Any

import pytest

from torchkiln.bundle.wrong import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "True, a boolean"),
        (3, "3, a number"),
        ("a", "'a', a string"),
        ("a" * 100, "'" + "a" * 60 + "'..., a string"),
        ([1], "a list"),
        ({}, "an object"),
        (b"x", "a bytes"),
        (10**400, "a number of 1329 bits"),
    ],
)
def test_shown(value: Any, text: str) -> None:
    assert shown(value) == text
