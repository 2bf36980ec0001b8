"""Elementwise losses, fused with their activation: functions of a logit x and a label t, with the derivative with respect to x.

What meets a logistic is written in ``e = exp(-abs(x))`` and in what the label leaves of each side, so that for labels from 0 to 1
nothing cancels in a value: ``u`` is the share of the side on which the logit is, which is wrong there, ``v`` that of the other.
"""

from __future__ import annotations

from typing import Any

from .language import activation, fma, max, min, pick, primitive
from .logarithms import log_pair
from .logistic import log1p_pair
from .primitives import (
    TINY_32,
    TINY_64,
    add,
    divide,
    exact_add,
    exact_multiply,
    exp_down,
    exp_times_low,
    log1p_unit,
    multiply_add,
    scale_down,
)
from .sigmoids import GONE_32, GONE_64, exp_pair

# Stand for infinity where 0 multiplies it: beyond any exponent, yet products with it are finite.
FAR_AWAY = 1e20
# From here on exp(-abs(x)) is 0 in every product.
NOTHING_32, NOTHING_64 = 150.0, 1100.0
SMALLEST_32, SMALLEST_64 = 1.1754943508222875e-38, 2.2250738585072014e-308  # normal numbers


@activation(
    family="loss",
    formula="(1 - t) * softplus(x) + pos_weight * t * softplus(-x)",
    display="(1 - t) log(1 + exp(x)) + pos_weight t log(1 + exp(-x))",
    derivative_formula="(1 - t) sigmoid(x) - pos_weight t sigmoid(-x)",
    value_range="[0, inf)",
    params={"pos_weight": 1.0},
    examples=((1.0,), (3.0,), (0.25,)),
    aliases=("binary_cross_entropy_with_logits", "bce_with_logits", "sigmoid_binary_cross_entropy"),
    cost="erf",
    source="the negative logarithm of a Bernoulli likelihood",
)
def sigmoid_cross_entropy(x: Any, t: Any, pos_weight: Any) -> Any:
    """Binary cross entropy of sigmoid(x) and a label from 0 to 1, the positive ones counted `pos_weight` times.

    For a label of 0 or 1 it is softplus(x) or softplus(-x), to the last digit; 0 where an infinite logit is right.
    """
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    ratio = log1p_unit(p, s)
    positive = pos_weight * t
    negative = 1.0 - t
    u = positive if left else negative
    rest = (((positive + negative) * fma(p, ratio, ratio)) * s) * pick(x, TINY_32, TINY_64)
    return rest if u == 0.0 else fma(u, abs(x), rest)


@sigmoid_cross_entropy.derivative
def _(x: Any, t: Any, pos_weight: Any) -> Any:
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    d, d_low = add(1.0, 0.0, e, e_low)
    positive = pos_weight * t
    negative = 1.0 - t
    u = -positive if left else negative
    v = negative if left else -positive
    n, n_low = multiply_add(v, 0.0, e, e_low, u, 0.0)
    tail = scale_down(divide(fma(p, v, v), 0.0, d, d_low), s)
    return tail if u == 0.0 else divide(n, n_low, d, d_low)


@primitive
def side(t: Any) -> Any:
    """A label of hinges: 0 means -1."""
    return -1.0 if t == 0.0 else t


@activation(
    family="loss",
    formula="max(1 - t * x, 0)",
    derivative_formula="-t where t x < 1, else 0",
    value_range="[0, inf)",
    aliases=("hinge_loss",),
    cost="move",
    source="Cortes and Vapnik (1995)",
)
def hinge(x: Any, t: Any) -> Any:
    """Hinge loss of a label of -1 or 1. A label of 0 means -1."""
    return max(fma(-side(t), x, 1.0), 0.0)


@hinge.derivative
def _(x: Any, t: Any) -> Any:
    z = fma(-side(t), x, 1.0)
    return -side(t) if z > 0.0 else (0.0 if z <= 0.0 else z)


@activation(
    family="loss",
    formula="max(1 - t * x, 0)**2",
    derivative_formula="-2 t max(1 - t x, 0)",
    value_range="[0, inf)",
    aliases=("squared_hinge_loss",),
    cost="move",
    source="Lee and Mangasarian (2001)",
)
def squared_hinge(x: Any, t: Any) -> Any:
    """Square of the hinge loss of a label of -1 or 1. A label of 0 means -1."""
    z = max(fma(-side(t), x, 1.0), 0.0)
    return z * z


@squared_hinge.derivative
def _(x: Any, t: Any) -> Any:
    z = max(fma(-side(t), x, 1.0), 0.0)
    return 0.0 if z == 0.0 else -2.0 * side(t) * z


@activation(
    family="loss",
    formula="(x - t)**2",
    derivative_formula="2 (x - t)",
    value_range="[0, inf)",
    aliases=("mse_loss", "mean_squared_error"),  # optax's l2_loss is half of it
    cost="move",
    source="Gauss (1809)",
)
def mse(x: Any, t: Any) -> Any:
    """Squared error."""
    d = x - t
    return d * d


@mse.derivative
def _(x: Any, t: Any) -> Any:
    d = x - t
    return d + d


@activation(
    family="loss",
    formula="(x - t)**2 / 2 if abs(x - t) <= delta else delta * (abs(x - t) - delta / 2)",
    display="(x - t)^2 / 2 where abs(x - t) <= delta, else delta (abs(x - t) - delta / 2)",
    derivative_formula="min(max(x - t, -delta), delta)",
    value_range="[0, inf)",
    params={"delta": 1.0},
    examples=((1.0,), (0.25,), (3.0,)),
    aliases=("huber_loss",),
    cost="move",
    source="Huber (1964)",
)
def huber(x: Any, t: Any, delta: Any) -> Any:
    """Squared error, halved, that goes on as a line where it exceeds `delta`, which is positive."""
    d = x - t
    return 0.5 * d * d if abs(d) <= delta else delta * fma(delta, -0.5, abs(d))


@huber.derivative
def _(x: Any, t: Any, delta: Any) -> Any:
    return min(max(x - t, -delta), delta)


@primitive
def focal_balance(t: Any, alpha: Any) -> Any:
    """The weight of a label's two sides; 1 where alpha is negative."""
    return fma(alpha, t, (1.0 - alpha) * (1.0 - t)) if alpha >= 0.0 else 1.0


@primitive
def focal_power(x: Any, u: Any, v: Any, gamma: Any, e: Any, e_low: Any) -> Any:
    """gamma log(q) as a pair, q = (u + v e) / (1 + e); where u is 0, and v therefore 1, with what exp(-abs(x)) adds to it."""
    y = -min(abs(x), FAR_AWAY)
    ve, ve_low = exact_multiply(v, 0.0, e, e_low)
    w, w_low = exact_add(u, 0.0, ve, ve_low)
    g, g_low = log_pair(max(w, pick(x, SMALLEST_32, SMALLEST_64)), w_low, 0.0)
    r, r_low = log1p_pair(e, e_low)
    h, h_low = exact_add(y if u == 0.0 else g, 0.0 if u == 0.0 else g_low, -r, -r_low)
    k, k_low = exact_multiply(gamma, 0.0, h, h_low)
    return exact_add(k, k_low, y if u == 0.0 else 0.0, 0.0)


@activation(
    family="loss",
    formula="(alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else 1) * ((1 - t) * softplus(x) + t * softplus(-x))"
    " * exp(gamma * log((1 - t) * sigmoid(x) + t * sigmoid(-x)))",
    display="a q^gamma c, c the cross entropy, q = t sigmoid(-x) + (1 - t) sigmoid(x), a = alpha t + (1 - alpha)(1 - t)",
    derivative_formula="a q^gamma (sigmoid(x) - t + gamma (1 - 2 t) sigmoid(x) sigmoid(-x) c / q)",
    value_range="[0, inf)",
    params={"alpha": 0.25, "gamma": 2.0},
    examples=((0.25, 2.0), (-1.0, 2.0), (0.5, 0.0), (0.25, 0.5), (0.75, 5.0)),
    aliases=("sigmoid_focal_loss", "focal_loss"),
    cost="erf",
    source="Lin, Goyal, Girshick, He and Dollar (2017)",
)
def focal(x: Any, t: Any, alpha: Any, gamma: Any) -> Any:
    """Focal loss of sigmoid(x) and a label from 0 to 1: cross entropy that counts little where the prediction is good.

    A negative `alpha` leaves the balance of the labels away; `gamma` = 0 leaves cross entropy. `gamma` is not negative.
    """
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    ratio = log1p_unit(p, s)
    u = t if left else 1.0 - t
    v = 1.0 - t if left else t
    entropy = fma(u, abs(x), ratio * e)
    high, low = focal_power(x, u, v, gamma, e, e_low)
    # Where u is 0 the entropy is ratio * e, and that e is part of the power; elsewhere it may be too large to go in there.
    power = exp_times_low(focal_balance(t, alpha) * (ratio if u == 0.0 else 1.0), high, low)
    return power if u == 0.0 else power * entropy


@focal.derivative
def _(x: Any, t: Any, alpha: Any, gamma: Any) -> Any:
    # a q^gamma ((u - v e) + gamma c (u - v) e / (u + v e)) / (1 + e), its sign turned left of 0; c is the entropy
    left = x < 0.0
    p, s = exp_down(max(-abs(x), pick(x, GONE_32, GONE_64)))
    e, e_low = exp_pair(p, s)
    ratio = log1p_unit(p, s)
    u = t if left else 1.0 - t
    v = 1.0 - t if left else t
    entropy = fma(u, min(abs(x), pick(x, NOTHING_32, NOTHING_64)), ratio * e)
    high, low = focal_power(x, u, v, gamma, e, e_low)
    share = e / fma(v, e, u)
    inner = fma(gamma * entropy * (u - v), share, fma(-v, e, u))
    # Where u is 0 all terms have a factor e, which is part of the power.
    n = fma(-gamma, ratio, -1.0) if u == 0.0 else inner
    slope = focal_balance(t, alpha) * n / (1.0 + e)
    return exp_times_low(-slope if left else slope, high, low)
