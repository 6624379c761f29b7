"""Random numbers without state: each is a function of a seed and of what it is for.

Nothing here remembers what was drawn before, so a run may stop anywhere and go on, on any number of
workers or processes, with the same numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def key(seed: int, *purpose: int | str) -> int:
    """A 63-bit key for (seed, purpose); 63 so that it fits a signed integer everywhere.

    Args:
        seed: The run's seed.
        purpose: Words and whole numbers, such as `"order", epoch`.
    """
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A fresh NumPy generator for (seed, purpose)."""
    return np.random.Generator(np.random.Philox(key(seed, *purpose)))


def permutation(seed: int, purpose: str, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The order of `n` things in an epoch, int64 of shape [n]."""
    return generator(seed, purpose, epoch).permutation(n).astype(np.int64)


def uniforms(
    seed: int, purpose: str, epoch: int, indices: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """`count` uniform numbers for each sample; row i depends on (seed, purpose, epoch, indices[i]) alone.

    Args:
        indices: The samples, int64 of shape [n].
        count: How many numbers a sample needs.

    Returns:
        float64 of shape [n, count], in [0, 1).

    References:
        The mixing function is SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
        generators", 2014.
    """
    base = np.uint64(key(seed, purpose, epoch))
    with np.errstate(over="ignore"):
        row = _mix(indices.astype(np.uint64) * _GOLDEN + base)
        columns = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
        bits = _mix(row[:, None] + columns[None, :])
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return np.asarray(x ^ (x >> np.uint64(31)))
