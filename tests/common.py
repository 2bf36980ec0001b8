"""What the tests iterate over, and a few helpers."""

from __future__ import annotations

import functools
import zlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastact
from fastact.kernels.definitions import DEFINITIONS
from fastact.kernels.definitions.language import evaluate

ELEMENTWISE = [name for name, d in DEFINITIONS.items() if d.family == "elementwise"]
ROWWISE = [name for name, d in DEFINITIONS.items() if d.family == "rowwise"]
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
#: Backends for NumPy arrays that are there.
BACKENDS = [name for name, info in fastact.backends().items() if info.available and name != "cupy"]


#: Twelve functions for what takes long a function; the rest is marked `exhaustive`.
TWELVE = ["relu", "leaky_relu", "prelu", "elu", "sigmoid", "tanh", "silu", "gelu", "softplus", "mish", "swish_beta", "softsign"]
#: Six of them for what takes twice as long: with a kink, with parameters, with and without roots.
SIX = ["prelu", "sigmoid", "gelu", "softplus", "mish", "swish_beta"]
#: A test of what is slow an input, plain Python or mpmath, takes `some` of the inputs; all of them if it is asked for what is `exhaustive`.
SAMPLED = pytest.mark.parametrize("stride", [pytest.param(3, id="some"), pytest.param(1, id="all", marks=pytest.mark.exhaustive)])
#: The roles that are functions of x, by name; the second derivative where there is one.
ROLES = [(name, role) for name in ELEMENTWISE for role in ("value", "derivative", "second_derivative") if role in DEFINITIONS[name].roles]


def params(name: str) -> tuple[float, ...]:
    """Parameters for a call: none, or all if one has no default."""
    return DEFINITIONS[name].examples[0] if None in DEFINITIONS[name].params.values() else ()


def directions(name: str) -> dict[str, Any]:
    """What can be called with ``(x, *params)``, by direction."""
    f = getattr(fastact, name)
    found = {"value": f, "derivative": f.derivative, "value_and_derivative": f.value_and_derivative}
    if DEFINITIONS[name].smooth:
        found["second_derivative"] = functools.partial(f.derivative, order=2)
    return found


def chained(name: str) -> dict[str, Any]:
    """What can be called with ``(grad, x, *params)``, by direction."""
    f = getattr(fastact, name)
    found = {"backward": f.backward}
    d = DEFINITIONS[name]
    given = dict(zip(d.params, params(name) or d.params.values(), strict=True))
    if "derivative_from_output" in d.roles and (not d.output_requires or evaluate(d.output_requires, given)):
        found["backward_from_output"] = f.backward_from_output
    return found


def some(x: Any, stride: int, *key: object) -> Any:
    """Every `stride`-th of the inputs; from which one on, depends on the key, so that other tests take others."""
    return x[zlib.crc32(repr(key).encode()) % stride :: stride].copy()


def off_kinks(name: str, x: Any, params: tuple[float, ...]) -> Any:
    """`x` without the kinks, where the formula's derivative is from one side and the promise is another (`test_kinks`)."""
    by_name = dict(zip(DEFINITIONS[name].params, params, strict=True))
    return x[~np.isin(x, [evaluate(at, by_name) for at in DEFINITIONS[name].kinks])]


def same_bits(a: Any, b: Any) -> bool:
    """Equal as integers, all NaNs being one value."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "iu":
        return bool((a == b).all())
    unsigned = f"u{a.dtype.itemsize}"
    with np.errstate(invalid="ignore"):  # signalling NaNs
        nan = np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64))
    return bool(((np.ascontiguousarray(a).view(unsigned) == np.ascontiguousarray(b).view(unsigned)) | nan).all())
