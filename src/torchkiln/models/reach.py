"""Whether published weights can be fetched now, found out before a library retries for half a minute."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse

OFFLINE = "TORCHKILN_OFFLINE"
"""Environment variable: where it is set to 1, nothing is looked for on the network."""

_ANSWER_WITHIN = 2.0  # seconds that a host has to answer


def answers(url: str) -> bool:
    """Whether a host takes connections now."""
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        return False
    try:
        socket.create_connection((urlparse(url).hostname or "", 443), timeout=_ANSWER_WITHIN).close()
    except OSError:
        return False
    return True
