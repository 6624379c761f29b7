"""Each rule of guard finds its bug in short programs, and none speaks of a clean one.

The programs stand in guard_programs: buggy.txt (`# --- R504: name`, with the rule that is to speak by the end) and
clean.txt, where no FAIL may come. The examples of the rules' pages are programs too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.guard_frame import programs, watched
from torchkiln.checks import catalogue
