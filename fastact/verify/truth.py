"""The truth: the formula of each definition in mpmath, evaluated and differentiated with more digits than any cancellation takes.

Finite x only; what happens at infinities and NaN is documented, not computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

from ..kernels.definitions import DEFINITIONS
from ..reference import jets

#: Enough for sqrt(x^2 + 1) - x at the largest float64, and for 1 - tanh(x)^2 where it underflows.
PRECISION = 2300
mp = mpmath.mp.clone()
mp.prec = PRECISION
#: Beyond this tanh is 1 to any float that counts.
FAR = mp.mpf(10) ** 5


def _erfc(v: Any) -> Any:
    return mp.erfc(min(max(v, mp.mpf(-300)), mp.mpf(300)))


MPMATH = SimpleNamespace(
    exp=mp.exp,
    expm1=mp.expm1,
    log=lambda v: mp.log(v) if v > 0 else (-mp.inf if v == 0 else mp.nan),
    log1p=lambda v: mp.log1p(v) if v > -1 else (-mp.inf if v == -1 else mp.nan),
    sqrt=lambda v: mp.sqrt(v) if v >= 0 else mp.nan,
    tanh=lambda v: mp.tanh(min(max(v, -FAR), FAR)),
    sin=mp.sin,
    cos=mp.cos,
    atan=mp.atan,
    erf=lambda v: 1 - _erfc(v) if abs(v) > 1 else mp.erf(v),
    erfc=_erfc,
    Phi=lambda v: _erfc(-v / mp.sqrt(2)) / 2,
    where=lambda condition, a, b: a if condition else b,
    abs=abs,
    pi=mp.pi(),
)

#: What formulas may use, beside x, the parameters, numbers, ``+ - * / **``, comparisons, conditional expressions, abs, min and max.
VOCABULARY: dict[str, Any] = {
    name: getattr(jets, name)
    for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "atan", "sigmoid", "softplus", "erf", "erfc", "phi", "Phi")
}
VOCABULARY |= {"pi": mp.pi(), "e": mp.e(), "abs": abs, "min": min, "max": max}


def evaluate(formula: str, order: int, argument: str | None, **values: Any) -> Any:
    """The formula's derivatives up to `order` with respect to `argument`, at mpf numbers: a tuple."""
    jetted = {
        n: jets.variable(v, order, MPMATH) if n == argument else jets.Jet((v, *[mp.mpf(0)] * order), MPMATH) for n, v in values.items()
    }
    found = eval(formula, {"__builtins__": {}}, {**VOCABULARY, **jetted})
    return found.c if isinstance(found, jets.Jet) else (mp.mpf(found), *[mp.mpf(0)] * order)


ORDERS = {"value": 0, "derivative": 1, "second_derivative": 2}


@lru_cache(maxsize=8)
def _table(name: str, argument: str, order: int, x: tuple[float, ...], params: tuple[float, ...]) -> list[Any]:
    definition = DEFINITIONS[name]
    fixed = {p: mp.mpf(float(v)) for p, v in zip(definition.params, params, strict=True)}
    return [evaluate(definition.formula, order, argument, x=mp.mpf(v), **fixed) for v in x]


#: Parameters to try, by name; the first are used where one has no default.
PARAMETERS = {name: list(d.examples) for name, d in DEFINITIONS.items() if d.examples}


def points(roots: Iterable[float] = ()) -> npt.NDArray[np.float64]:
    """float64 inputs: the middle, the tails, results about to underflow, all magnitudes, and next to `roots`."""
    rng = np.random.default_rng(0)
    spans = [(-45, 45, 80), (-3, 3, 80), (-1500, 1500, 40), (-750, -700, 40), (-250, -235, 20), (-380, -340, 20), (-39, -36.5, 40)]
    signs = rng.choice([-1.0, 1.0], 120)
    return np.concatenate(
        [
            *(rng.uniform(low, high, n) for low, high, n in spans),
            signs[:60] * 10.0 ** rng.uniform(-323, 308, 60),
            signs[60:] * 10.0 ** rng.uniform(-18, 2, 60),
            *(root + signs[:40] * 10.0 ** rng.uniform(-16, 0, 40) for root in roots),
            [0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308],
        ]
    )


def nearest(value: Any) -> tuple[float, float]:
    """(the float64 nearest to an mpf, the rest in units of its last place)."""
    if not mp.isfinite(value):
        return float(value), 0.0
    k = max(mp.frexp(value)[1] - 53, -1074)
    whole = int(mp.nint(mp.ldexp(value, -k)))
    if whole.bit_length() + k > 1024:
        return math.copysign(math.inf, whole), 0.0
    high = math.copysign(math.ldexp(whole, k), value)  # a zero keeps the sign of what underflowed
    return high, float((value - high) / mp.mpf(math.ulp(high)))


def exact(name: str, role: str, x: Iterable[float], *params: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The exact results at finite `x`, in the form that ``fastact.ulp`` takes them. Here 0 has no sign, only what underflows has one.

    `role` is "value", "derivative", "second_derivative" or "gradient_<parameter>".
    """
    key = tuple(float(v) for v in x), tuple(float(p) for p in params)
    if role in ORDERS:
        order = 2 if DEFINITIONS[name].smooth else 1  # all at once: the next role is in the table already
        found = [row[ORDERS[role]] for row in _table(name, "x", order, *key)]
    else:
        found = [row[1] for row in _table(name, role.removeprefix("gradient_"), 1, *key)]
    pairs = [nearest(v) for v in found]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
