"""A person's data as one table: a row a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

SPLITS = ("train", "val", "test")
Kind = Literal["images", "table", "text"]


@dataclass(frozen=True)
class Finding:
    """Something about the data that the person should know.

    Args:
        code: Stable word, such as `duplicate_across_splits`.
        level: `stop` spoils the result and ends the run, `warn` may mislead, `note` is good to know.
        text: One sentence with the figure and what to do.
        samples: Keys of a few rows or files it is about.
    """

    code: str
    level: Literal["stop", "warn", "note"]
    text: str
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """What was read.

    Args:
        kind: What the rows are.
        frame: Columns `key` (string, unique, stable: a path below the root, or file and row number) and
            `split` (train, val, test; null where the data does not say), then the person's own columns.
            Pictures are a column `image` of paths (string) or of bytes (binary).
        root: Folder that relative paths start from.
        digest: SHA-256 over what was read: names, sizes and bytes.
        findings: What was noticed while reading, such as files left out.
        files: Each file that was read: its name below the root, bytes, and SHA-256 (of both ends where the data
            is large).
    """

    kind: Kind
    frame: pl.DataFrame
    root: Path
    digest: str
    findings: list[Finding] = field(default_factory=list)
    files: list[tuple[str, int, str]] = field(default_factory=list)

    def rows(self, split: str) -> pl.DataFrame:
        """The frame's rows of one split, in the order of the source."""
        return self.frame.filter(pl.col("split") == split)
