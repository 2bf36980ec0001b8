"""Counter-based random numbers: the number of an element follows from the seed and the element's index alone.

So a backward pass draws again what the forward pass drew, nothing is stored, and every kind of array gets the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

# SplitMix64 (Steele, Lea and Flood 2014): a Weyl sequence and two rounds of mixing.
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniform(seed: int, shape: tuple[int, ...], numpy: Any) -> Any:
    """Numbers in [0, 1), multiples of 2^-24, in C order of their index.

    Parameters
    ----------
    seed
        From 0 to 2^64 - 1.
    shape
        Of the result.
    numpy
        The module of the arrays: NumPy or CuPy.
    """
    return drawn(mixed(seed), shape, numpy)


def drawn(start: int, shape: tuple[int, ...], numpy: Any) -> Any:
    """As `uniform`, from a seed that is `mixed` already."""
    u = numpy.uint64
    z = numpy.arange(1, math.prod(shape) + 1, dtype=u)
    z *= u(_STEP)
    z += u(start)
    z ^= z >> u(30)
    z *= u(_FIRST)
    z ^= z >> u(27)
    z *= u(_SECOND)
    z ^= z >> u(31)
    return ((z >> u(40)).astype(numpy.float64) * 2.0**-24).reshape(shape)


def mixed(seed: int) -> int:
    """The seed's own place in the sequence, so that neighbouring seeds have nothing in common."""
    mask = 2**64 - 1
    z = (seed + _STEP) & mask
    z = (z ^ (z >> 30)) * _FIRST & mask
    z = (z ^ (z >> 27)) * _SECOND & mask
    return z ^ (z >> 31)


def threshold(seed: int, keep: float, first: int = 0) -> tuple[int, int, float]:
    """How compiled loops decide on what is kept: the seed's place, the number that an element's 24 random bits must be below, 1 / keep.

    `first` is the index of the first element. The same decision as ``uniform(seed, shape) < keep``: these numbers are the bits times 2^-24.
    """
    return (mixed(seed) + first * _STEP) % 2**64, math.ceil(keep * 2.0**24), 1.0 / keep if keep else 0.0


def checked_seed(label: str, seed: Any, what: str = "training=True") -> int:
    """`seed` as a number from 0 to 2^64 - 1.

    Raises
    ------
    ValueError
        If there is none, or it is out of range.
    TypeError
        If it is not an integer.
    """
    if seed is None:
        raise ValueError(f"{label}: {what} needs a seed, an integer; with the same seed backward draws the same numbers again")
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"{label}: seed must be an integer, not {seed!r}")
    number = int(seed.__index__())
    if not 0 <= number < 2**64:
        raise ValueError(f"{label}: seed must be from 0 to 2**64 - 1, not {number}")
    return number
