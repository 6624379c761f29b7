"""A model by its name: its versions, and which of them answers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.errors import InputError
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.served import Served

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""Of models, versions and aliases."""


@dataclass(frozen=True)
class Routing:
    """Which version answers a request that names none.

    Args:
        aliases: Words for versions; `default` answers where neither version nor alias is asked for.
        canary: Percent of such requests that go to another version, the same ones for the same request id.
        shadow: A version that computes what the default one answers, to be compared and never returned.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    canary: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @classmethod
    def of(cls, content: Any, where: str) -> Routing:
        """From JSON.

        Raises:
            InputError: It is something else.
        """
        if not isinstance(content, dict) or set(content) - {"aliases", "canary", "shadow"}:
            raise InputError(f"{where}: an object of `aliases`, `canary` and `shadow` is expected")
        aliases, canary, shadow = content.get("aliases") or {}, content.get("canary") or {}, content.get("shadow")
        if not isinstance(aliases, dict) or not all(
            NAME.fullmatch(n) and isinstance(v, str) for n, v in aliases.items()
        ):
            raise InputError(f'{where}: `aliases` maps words to versions, such as {{"default": "2"}}')
        shares = list(canary.values()) if isinstance(canary, dict) else [-1]
        if not all(type(s) in (int, float) and 0 <= s <= 100 for s in shares) or sum(shares) > 100:
            raise InputError(f'{where}: `canary` maps versions to percent, such as {{"2": 10}}, 100 together at most')
        if shadow is not None and not isinstance(shadow, str):
            raise InputError(f"{where}: `shadow` is a version")
        return cls(aliases, canary, shadow)

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"aliases": dict(self.aliases), "canary": dict(self.canary), "shadow": self.shadow}


@dataclass
class Model:
    """One name.

    Args:
        name: Of the routes.
        folder: Where its versions lie, if it is one of a folder of models.
        paths: Bundles by version.
        loaded: Versions that answer.
        reasons: Why a version does not.
        tried: What its files looked like when it was loaded, or could not be.
        routing: Who answers requests that name no version.
        default: The version that it names; see `settle`.
    """

    name: str
    folder: Path | None = None
    paths: dict[str, Path] = field(default_factory=dict)
    loaded: dict[str, Served] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    default: Served | None = None

    def settle(self) -> None:
        """Say who answers where nothing else is said: the alias, or the newest that is loaded."""
        named = self.routing.aliases.get("default", "")
        if named not in self.loaded:
            named = max(self.loaded, key=order, default="")
        self.default = self.loaded.get(named)

    def find(self, version: str | None, request_id: str) -> Served:
        """The version that answers this request.

        Raises:
            Refusal: 404 without such a version, 503 while none is loaded.
        """
        if version is not None:
            found = self.loaded.get(self.routing.aliases.get(version, version))
            if found is None:
                raise Refusal(404, f"{self.name} has no version {version[:80]!r} that is loaded")
            return found
        found = self.default
        if found is None:
            raise Refusal(503, f"no version of {self.name} is loaded", headers={b"retry-after": b"5"})
        if self.routing.canary:
            place = zlib.crc32(request_id.encode()) % 10_000 / 100
            for other, percent in self.routing.canary.items():
                if place < percent and other in self.loaded:
                    return self.loaded[other]
                place -= percent
        return found

    def shadow(self, served: Served) -> Served | None:
        """Who computes a request along with `served`."""
        named = self.routing.shadow
        other = self.loaded.get(named) if named is not None else None
        return other if other is not served and served is self.default else None


def order(version: str) -> tuple[bool, int, str]:
    """Numbers by size, behind names that are none."""
    digits = version.lstrip("v")
    return (digits.isdecimal(), int(digits) if digits.isdecimal() else 0, version)
