"""The truth, in mpmath: every activation as the textbook has it, at a precision that no cancellation exhausts.

Functions of finite mpf numbers ``(x, *params)``; what happens at infinities and NaN is documented, not computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

#: Far more than any cancellation here takes: between tails the terms differ, and the sums next to roots lose 60 bits at most.
PRECISION = 400
mp = mpmath.mp.clone()
mp.prec = PRECISION


@dataclass(frozen=True)
class Truth:
    """An activation's value, derivative and parameter gradients."""

    value: Callable[..., Any]
    derivative: Callable[..., Any]
    gradients: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def role(self, name: str) -> Any:
        """``"value"``, ``"derivative"`` or ``"gradient_<parameter>"``."""
        return self.gradients[name[9:]] if name.startswith("gradient_") else getattr(self, name)


def sigmoid(x: Any) -> Any:
    """The logistic function."""
    return 1 / (1 + mp.exp(-x))


def log1p_exp(x: Any) -> Any:
    """log(1 + exp(x)), the softplus of beta = 1."""
    return mp.log1p(mp.exp(x))


def normal_cdf(x: Any) -> Any:
    """The normal distribution function; beyond 1e5 it is 0 or 1 to any precision that counts."""
    return mp.erfc(-min(max(x, -100000), 100000) / mp.sqrt(2)) / 2


def normal_pdf(x: Any) -> Any:
    """The normal density."""
    return mp.exp(-(min(abs(x), mp.mpf(100000)) ** 2) / 2) / mp.sqrt(2 * mp.pi)


def mish_derivative(x: Any) -> Any:
    """By the product rule."""
    s = log1p_exp(x)
    return mp.tanh(s) + x * sigmoid(x) * mp.sech(s) ** 2


def _leaky(x: Any, alpha: Any) -> Any:
    return x if x > 0 else alpha * x


def _slope(x: Any, alpha: Any) -> Any:
    return mp.mpf(1) if x > 0 else alpha


TRUTH: dict[str, Truth] = {
    "relu": Truth(lambda x: max(x, mp.mpf(0)), lambda x: mp.mpf(x > 0)),
    "leaky_relu": Truth(_leaky, _slope),
    "sigmoid": Truth(sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": Truth(mp.tanh, lambda x: mp.sech(x) ** 2),
    "sigmoid_tanh": Truth(lambda x: sigmoid(x) + mp.tanh(x), lambda x: sigmoid(x) * sigmoid(-x) + mp.sech(x) ** 2),
    "silu": Truth(lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
    "gelu": Truth(lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_pdf(x)),
    "softplus": Truth(lambda x, beta: log1p_exp(beta * x) / beta, lambda x, beta: sigmoid(beta * x)),
    "elu": Truth(
        lambda x, alpha: x if x > 0 else alpha * mp.expm1(x),
        lambda x, alpha: mp.mpf(1) if x > 0 else alpha * mp.exp(x),
    ),
    "mish": Truth(lambda x: x * mp.tanh(log1p_exp(x)), mish_derivative),
    "prelu": Truth(_leaky, _slope, {"alpha": lambda x, alpha: mp.mpf(0) if x > 0 else x}),
}

#: Parameters to try, by name.
PARAMETERS: dict[str, list[tuple[float, ...]]] = {
    "leaky_relu": [(0.01,), (-0.5,), (2.0,)],
    "softplus": [(1.0,), (0.5,), (3.0,), (-1.0,)],
    "elu": [(1.0,), (0.5,), (2.0,)],
    "prelu": [(0.25,), (-0.5,)],
}


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
    k = max(mp.frexp(value)[1] - 53, -1074)
    whole = int(mp.nint(mp.ldexp(value, -k)))
    if whole.bit_length() + k > 1024:
        return math.copysign(math.inf, whole), 0.0
    high = math.copysign(math.ldexp(whole, k), value)  # a zero keeps the sign of what underflowed
    return high, float((value - high) / mp.mpf(math.ulp(high)))


def exact(name: str, role: str, x: Iterable[float], *params: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The exact results at finite `x`, in the form that ``fastact.ulp`` takes them. Here 0 has no sign, only what underflows has one."""
    function, fixed = TRUTH[name].role(role), [mp.mpf(float(p)) for p in params]
    pairs = [nearest(function(mp.mpf(float(v)), *fixed)) for v in x]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
