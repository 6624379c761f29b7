"""Who may ask: tokens from a file, compared in constant time, each with what it may do and how often."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from pathlib import Path

from torchkiln.errors import InputError
from torchkiln.serving.refusal import Refusal

RIGHTS = ("predict", "admin")
_SHORTEST = 16


@dataclass
class Token:
    """One line of the file.

    Args:
        digest: SHA-256 of the token: the token itself is not kept.
        rights: Of `RIGHTS`.
        rate: Requests a second on average, a second's worth at once; 0 is without bound.
    """

    digest: bytes
    rights: frozenset[str]
    rate: float = 0.0
    _left: float = field(default=0.0, repr=False)
    _at: float = field(default=0.0, repr=False)

    def spend(self, now: float) -> bool:
        """Whether one more request is within the rate.

        Args:
            now: By `time.monotonic`.
        """
        if not self.rate:
            return True
        most = max(self.rate, 1.0)
        self._left = most if not self._at else min(most, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Tokens:
    """All that are known.

    Args:
        known: In the order of the file.
    """

    def __init__(self, known: list[Token]) -> None:
        self.known = known

    @classmethod
    def read(cls, file: Path) -> Tokens:
        """Lines of `TOKEN RIGHT[,RIGHT] [RATE]`; right `predict` where none is named; `#` begins a comment.

        Raises:
            InputError: The file cannot be read, is open to others, or a line is wrong.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            mode = file.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read as a file of tokens ({error})") from error
        if mode & 0o077:
            raise InputError(f"{file} can be read by other people of this machine; mend it with: chmod 600 {file}")
        found = []
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if words:
                found.append(_token(words, f"{file}, line {number}"))
        if not found:
            raise InputError(f"{file} holds no token; write one a line, such as: openssl rand -hex 32")
        return cls(found)

    def check(self, header: bytes | None, right: str) -> None:
        """Whether the bearer of this `authorization` header may do it.

        Raises:
            Refusal: 401 without a token that is known, 403 without the right, 429 over its rate.
        """
        scheme, _, given = (header or b"").partition(b" ")
        digest = hashlib.sha256(given.strip()).digest()
        found = None
        for token in self.known:  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, token.digest):
                found = token
        if found is None or scheme.lower() != b"bearer":
            raise Refusal(401, "a token is asked for: authorization: Bearer TOKEN",
                          headers={b"www-authenticate": b"Bearer"})  # fmt: skip
        if right not in found.rights:
            raise Refusal(403, f"this token has not the right to {right}")
        if not found.spend(time.monotonic()):
            raise Refusal(429, f"this token may ask {found.rate:g} times a second", headers={b"retry-after": b"1"})


def _token(words: list[str], where: str) -> Token:
    value, rights, rate, *more = [*words, *["predict", "0"][len(words) - 1 :]]
    if len(value) < _SHORTEST:
        raise InputError(f"{where}: a token has at least {_SHORTEST} characters")
    unknown = sorted(set(rights.split(",")) - set(RIGHTS))
    if unknown or more:
        wrong = unknown[0] if unknown else more[0]
        raise InputError(f"{where}: {wrong!r} is none of the rights {', '.join(RIGHTS)}; TOKEN RIGHT[,RIGHT] [RATE]")
    try:
        number = float(rate)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InputError(f"{where}: {rate!r} is no rate in requests a second")
    return Token(hashlib.sha256(value.encode()).digest(), frozenset(rights.split(",")), number)
