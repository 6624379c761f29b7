"""`torchkiln.serve`: a server from plain arguments."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchkiln.errors import InputError
from torchkiln.registry import did_you_mean
from torchkiln.serving.limits import Limits
from torchkiln.serving.settings import Settings


def settings(*paths: str | Path, **options: Any) -> Settings:
    """Settings of a server.

    Args:
        paths: Bundles, runs with a bundle, or folders of name/version/ bundles.
        options: Fields of `Settings` and of `Limits` by name.

    Raises:
        InputError: An option is unknown, or a number is not above 0.
    """
    own, bounds = ({f.name for f in dataclasses.fields(part)} for part in (Settings, Limits))
    for name in options:
        if name not in own | bounds or name in ("paths", "limits"):
            raise InputError(f"serve has no option {name!r}{did_you_mean(name, sorted(own | bounds))}")
    limits = {name: value for name, value in options.items() if name in bounds}
    for name, value in limits.items():
        if value < 0 or (value == 0 and name != "delay_us"):
            raise InputError(f"{name} is {value:g}; a number above 0 is expected")
    rest = {name: value for name, value in options.items() if name in own}
    return Settings(paths=[Path(path) for path in paths], limits=Limits(**limits), **rest)


def serve(*paths: str | Path, said: Callable[[str], None] = print, **options: Any) -> int:
    """Answer over HTTP until a signal says to stop.

    Args:
        paths: Bundles, runs with a bundle, or folders of name/version/ bundles.
        said: called with the address once it answers.
        options: Fields of `torchkiln.serving.settings.Settings` and of `Limits` by name.

    Returns:
        The exit code.

    Raises:
        InputError: Something is wrong with the options or the bundles; nothing was served.
    """
    from torchkiln.serving import supervisor

    return supervisor.serve(settings(*paths, **options), said)


def limits(words: list[str]) -> dict[str, float]:
    """Limits given as NAME=NUMBER.

    Raises:
        InputError: A word is something else.
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        kind = {f.name: f.type for f in dataclasses.fields(Limits)}.get(name)
        if kind is None or not math.isfinite(number) or (kind == "int" and number % 1):
            known = [f.name for f in dataclasses.fields(Limits)]
            raise InputError(f"--limit {word}: NAME=NUMBER is expected, with one of {', '.join(known)}"
                             f"{did_you_mean(name, known)}")  # fmt: skip
        found[name] = int(number) if kind == "int" else number
    return found
