"""Errors in units in the last place, and correct rounding, for the four float types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: A float64 array, or (the nearest float64, what it leaves of the exact value in its own units in the last place).
Exact = Array | tuple[Array, Array]


class Format(NamedTuple):
    """A binary float format: bits of the significand, exponents of its smallest and largest normal numbers."""

    precision: int
    lowest: int
    largest: int


FORMATS = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}

#: The promise for float32, in ULP, by accuracy; "fast" is that of primitives, a definition has a bound of its own. Next to a root of the
#: function it is AT_ROOT, in units of 2^-precision.
BOUNDS = {"fast": 3.0, "precise": 0.51}
AT_ROOT = 1.0


def float32_bit_patterns(step: int = 1, offset: int = 0, stop: int = 2**32) -> npt.NDArray[np.float32]:
    """Every `step`-th float32, by bit pattern, from `offset` up to `stop`."""
    return np.arange(offset, stop, step, dtype=np.int64).astype(np.uint32).view(np.float32)


def unit_exponent(exact: Array, dtype: Any) -> Array:
    """The exponent k of 2^k, the unit in the last place of `dtype` at `exact`; that of subnormals below its range, of its maximum above."""
    precision, lowest, largest = FORMATS[np.dtype(dtype).name]
    exponent = (np.asarray(exact, dtype=np.float64).view(np.int64) >> 52).astype(np.int32) & 0x7FF
    return np.asarray(np.clip(exponent - 1023, lowest, largest) - (precision - 1))


def units(exact: Array, dtype: Any) -> npt.NDArray[np.float64]:
    """2^`unit_exponent`: the unit in the last place of `dtype` at `exact`."""
    precision, lowest, largest = FORMATS[np.dtype(dtype).name]
    power = (np.asarray(exact, dtype=np.float64).view(np.int64) & 0x7FF0000000000000).view(np.float64)  # the leading bit alone
    return np.asarray(np.clip(power, 2.0**lowest, 2.0**largest) * 2.0 ** (1 - precision))


def ulp_error(result: Array, exact: Exact, dtype: Any = None) -> npt.NDArray[np.float64]:
    """How far `result` is from `exact`, in units in the last place of `dtype` at the exact value.

    Parameters
    ----------
    result
        What was computed.
    exact
        float64 suffices to judge the narrower types; float64 itself needs the pair.
    dtype
        The type that is judged; that of `result` by default.

    Returns
    -------
    ndarray
        Never NaN: 0 where both are NaN, inf where one is or where a finite value should have been infinite.
        An infinite result counts as the first power of two out of range, so it is right from there on. Signs of zeros are not seen.
    """
    dtype = np.dtype(result.dtype if dtype is None else dtype)
    exact, rest = exact if isinstance(exact, tuple) else (exact, None)
    exact = np.asarray(exact, dtype=np.float64)
    unit = units(exact, dtype)
    precision = FORMATS[dtype.name].precision
    with np.errstate(all="ignore"):
        wide = result.astype(np.float64)
        error = wide - exact
        error /= unit
        if rest is not None:
            error -= rest * (units(exact, np.float64) / unit)
        np.abs(error, out=error)
        (odd,) = np.nonzero((~np.isfinite(error)).ravel())  # a few: an infinity or a NaN on one side or both
        if odd.size:
            a, b = wide.ravel()[odd], exact.ravel()[odd]
            over = np.maximum(2.0**precision - np.abs(b) / unit.ravel()[odd], 0.0)
            over = np.where(np.isinf(a) & (np.sign(a) == np.sign(b)), over, np.inf)
            error.reshape(-1)[odd] = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isnan(b), np.inf, over))
    return error


def round_once(exact: Exact, dtype: Any) -> Array:
    """`exact` rounded to `dtype` directly: to nearest, ties to even, with subnormals and overflow, never by way of a third type."""
    dtype = np.dtype(dtype)
    if isinstance(exact, tuple):
        exact = exact[0] if dtype == np.float64 else _to_odd(*exact)
    exact = np.asarray(exact, dtype=np.float64)
    k = unit_exponent(exact, dtype)
    with np.errstate(all="ignore"):
        rounded = np.ldexp(np.rint(np.ldexp(exact, -k)), k)
        too_large = np.abs(rounded) >= 2.0 ** FORMATS[dtype.name].largest * 2.0
        return np.where(too_large, np.copysign(np.inf, rounded), rounded).astype(dtype)


def _to_odd(nearest: Array, rest: Array) -> Array:
    """The neighbour of nearest + rest whose last bit is set, where there is a rest: rounding that once more is still right."""
    even = (nearest.view(np.int64) & 1) == 0
    return np.where((rest != 0) & even, np.nextafter(nearest, np.where(rest > 0, np.inf, -np.inf)), nearest)


def next_to_root(x: Array, exact: Array, roots: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Where a bound is absolute: within 1 of one of the `roots` and below 0.1 in magnitude."""
    near = np.zeros(np.shape(x), dtype=bool)
    with np.errstate(all="ignore"):
        for root in roots:
            near |= np.abs(np.asarray(x, dtype=np.float64) - root) < 1.0
        return np.asarray(near & (np.abs(exact) < 0.1))


@dataclass(frozen=True)
class Worst:
    """The largest error that was met, and where."""

    error: float = 0.0
    x: float = math.nan
    result: float = math.nan
    exact: float = math.nan
    unit: str = "ULP"

    def __str__(self) -> str:
        return f"{self.error:.4f} {self.unit} at x = {self.x!r} ({self.x.hex()}): {self.result!r}, exactly {self.exact!r}"


def worst(x: Array, result: Array, exact: Exact, roots: tuple[float, ...] = ()) -> tuple[Worst, Worst]:
    """The worst error in ULP, and the worst next to one of `roots`, in units of 2^-precision (float32: 2^-24, float64: 2^-53)."""
    high = exact[0] if isinstance(exact, tuple) else exact
    precision = FORMATS[result.dtype.name].precision
    near = np.flatnonzero(next_to_root(x, high, roots))
    found = []
    error = ulp_error(result, exact)
    close = np.ldexp(error[near], unit_exponent(high[near], result.dtype) + precision)
    error[near] = 0.0
    for errors, where, unit in (error, None, "ULP"), (close, near, f"* 2^-{precision} next to a root"):
        if not errors.size:
            found.append(Worst(unit=unit))
            continue
        i = int(errors.argmax())
        e, i = float(errors[i]), i if where is None else int(where[i])
        found.append(Worst(e, float(x[i]), float(result[i]), float(high[i]), unit))
    return found[0], found[1]


def wrong_zeros(result: Array, exact: Exact) -> Array:
    """Indices of zeros whose sign is not that of the exact result."""
    zero = np.flatnonzero(result == 0)
    high = exact[0] if isinstance(exact, tuple) else exact
    return np.asarray(zero[np.signbit(result[zero]) != np.signbit(high[zero])])
