"""Texts to counted n-grams of words and of characters, whole batches at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.codec.base import Array

Ids = npt.NDArray[np.int64]
Lookup = Callable[[list[str]], Ids]
"""Distinct n-grams to their ids; -1 for one that is to be left out."""

WORD_ORDERS = (1, 2)
"""Words alone and pairs of neighbours."""
CHARACTER_ORDERS = (2, 3, 4, 5)
"""Lengths of pieces of words, with a space for the word's border."""
LONGEST_WORD = 64
"""Characters of a word that are cut into pieces; what is longer is no word of a language."""

# Marks that Python's \w leaves out, though they stand inside the words of many scripts.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0900-\u0963\u0966-\u109f\u1780-\u17d3\u200c\u200d"
)
_TOKEN = re.compile(rf"[\w{_MARKS}]+|[^\w\s]")


@dataclass(frozen=True)
class Counts:
    """How often each n-gram stands in each text, by text and then by id.

    Args:
        rows: Text of each entry, int64 of shape [entries].
        ids: Its n-gram, int64 of shape [entries].
        counts: How often, int64 of shape [entries].
    """

    rows: Ids
    ids: Ids
    counts: Ids


@dataclass(frozen=True)
class Words:
    """The words of some texts, end to end.

    Args:
        codes: Each word's place in `names`, int64 of shape [words].
        rows: Each word's text, not falling, int64 of shape [words].
        names: The distinct words.
    """

    codes: Ids
    rows: Ids
    names: list[str]


def split(text: str) -> list[str]:
    """Words, lower case, and each other sign that is no space by itself."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def words_of(texts: Sequence[str], most: int) -> Words:
    """The first `most` words of each text."""
    distinct: dict[str, int] = {}
    codes: list[int] = []
    lengths = []
    for text in texts:
        found = split(text)[:most]
        codes += [distinct.setdefault(word, len(distinct)) for word in found]
        lengths.append(len(found))
    rows = np.repeat(np.arange(len(lengths)), np.array(lengths, np.int64))
    return Words(np.array(codes, np.int64), rows, list(distinct))


def count_words(words: Words, lookup: Lookup) -> Counts:
    """N-grams of words, each named by its words with a space between."""
    rows, ids = [words.rows], [lookup(words.names)[words.codes]]
    names, grams, starts = words.names, words.codes, np.arange(len(words.codes))
    for order in WORD_ORDERS[1:]:
        names, grams, starts = _longer(words, names, grams, starts, order)
        rows.append(words.rows[starts])
        ids.append(lookup(names)[grams])
    return _counted(np.concatenate(rows), np.concatenate(ids))


def count_characters(words: Words, lookup: Lookup) -> Counts:
    """N-grams of the characters of each word, borders included; signs by themselves give none."""
    pieces = [_pieces(name) for name in words.names]
    distinct: dict[str, int] = {}
    places = np.array([distinct.setdefault(p, len(distinct)) for ps in pieces for p in ps], np.int64)
    lengths = np.array([len(ps) for ps in pieces], np.int64)
    ids = lookup(list(distinct))[places]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    each = lengths[words.codes]
    behind = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    return _counted(np.repeat(words.rows, each), ids[np.repeat(starts[words.codes], each) + behind])


def document_counts(counts: Counts, size: int) -> Ids:
    """In how many texts each of `size` n-grams stands."""
    return np.bincount(counts.ids, minlength=size)


def weighted(counts: Counts, rarity: npt.NDArray[np.float64], texts: int) -> npt.NDArray[np.float32]:
    """TF-IDF of each entry, the entries of a text scaled to length one.

    Args:
        rarity: One factor an id.
        texts: How many texts there are.
    """
    raw = (1 + np.log(counts.counts)) * rarity[counts.ids]
    # bincount adds in the order of the entries, so a text's sum is the same among whatever others.
    length = np.sqrt(np.bincount(counts.rows, raw * raw, minlength=texts))
    return (raw / length[counts.rows]).astype(np.float32)


def _longer(words: Words, names: list[str], grams: Ids, starts: Ids, order: int) -> tuple[list[str], Ids, Ids]:
    """N-grams of `order` words from those of one less: distinct names, and each one's name and first word."""
    fits = starts + order <= len(words.codes)
    grams, starts = grams[fits], starts[fits]
    last = starts + order - 1
    within = words.rows[starts] == words.rows[last]
    grams, starts, last = grams[within], starts[within], last[within]
    keys, places = np.unique(grams * max(1, len(words.names)) + words.codes[last], return_inverse=True)
    first, second = np.divmod(keys, max(1, len(words.names)))
    joined = [f"{names[a]} {words.names[b]}" for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    return joined, places.reshape(-1), starts


def _pieces(word: str) -> list[str]:
    if len(word) == 1 and not word.isalnum():
        return []
    bordered = f" {word[:LONGEST_WORD]} "
    return [bordered[i : i + n] for n in CHARACTER_ORDERS for i in range(len(bordered) - n + 1)]


def _counted(rows: Ids, ids: Array) -> Counts:
    known = ids >= 0
    rows, ids = rows[known], ids[known]
    span = int(ids.max(initial=0)) + 1
    keys, counts = np.unique(rows * span + ids, return_counts=True)
    row, gram = np.divmod(keys, span)
    return Counts(row, gram, counts.astype(np.int64))


def growing(ids: dict[str, int]) -> Lookup:
    """A lookup that gives each new n-gram the next id."""
    return lambda names: np.array([ids.setdefault(name, len(ids)) for name in names], np.int64)


def fixed(ids: dict[str, Any]) -> Lookup:
    """A lookup that leaves unknown n-grams out."""
    return lambda names: np.array([ids.get(name, -1) for name in names], np.int64)
