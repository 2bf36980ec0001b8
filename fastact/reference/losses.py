"""Losses in float64: the elementwise ones by name in `LOSSES`, and those of rows as functions of a `fastact.rows.Rows`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .numerics import FAR, Array, difference, times_exp


class LossOracle(NamedTuple):
    """An elementwise loss: its value and its derivative with respect to x, functions of ``(x, t, *params)`` on float64 arrays."""

    value: Callable[..., Array]
    derivative: Callable[..., Array]


def _quiet(formula: Callable[..., Any]) -> Callable[..., Array]:
    def quiet(*args: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(formula(*np.broadcast_arrays(*(np.asarray(a, np.float64) for a in args))), np.float64)

    return quiet


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _share(t: Array, loss: Array) -> Array:
    """`loss` for the share `t` of it: nothing of what may be infinite where there is no share."""
    return np.where(t == 0, np.where(np.isnan(loss), loss, 0.0), t * loss)


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(np.isnan(z), z, np.where(z < 0, e, 1.0) / (1 + e))


def _cross_entropy(x: Array, t: Array, pos_weight: Array) -> Array:
    return _share(1 - t, _softplus(x)) + _share(pos_weight * t, _softplus(-x))


def _cross_entropy_derivative(x: Array, t: Array, pos_weight: Array) -> Array:
    return (1 - t) * _sigmoid(x) - pos_weight * t * _sigmoid(-x)


def _side(t: Array) -> Array:
    return np.where(t == 0, -1.0, t)


def _hinge_derivative(x: Array, t: Array) -> Array:
    z = 1 - _side(t) * x
    return np.where(np.isnan(z), z, np.where(z > 0, -_side(t), 0.0))


def _squared_hinge_derivative(x: Array, t: Array) -> Array:
    z = np.maximum(1 - _side(t) * x, 0)
    return np.where(z == 0, 0.0, -2 * _side(t) * z)


def _huber(x: Array, t: Array, delta: Array) -> Array:
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def _focal_terms(x: Array, t: Array, alpha: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """The balance, the cross entropy, and log(q)."""
    balance = np.where(alpha >= 0, alpha * t + (1 - alpha) * (1 - t), 1.0)
    entropy = _cross_entropy(x, t, np.ones_like(x))
    right = np.where(t == 0, _softplus(-x), _softplus(x))  # -log(q) of a hard label
    q = (1 - t) * _sigmoid(x) + t * _sigmoid(-x)
    log_q = np.where((t == 0) | (t == 1), -right, np.log(q))
    return balance, entropy, log_q


def _power(gamma: Array, log_q: Array) -> Array:
    return np.where(gamma == 0, 1.0, np.exp(gamma * log_q))


def _focal(x: Array, t: Array, alpha: Array, gamma: Array) -> Array:
    balance, entropy, log_q = _focal_terms(x, t, alpha, gamma)
    hard = np.where(np.where(t == 0, x < 0, x > 0) & ((t == 0) | (t == 1)), np.abs(x), 0.0)
    # What is right and certain is exp(-abs(x)) twice, which underflows late.
    far = np.minimum(hard, FAR)
    ratio = np.log1p(np.exp(-far)) / np.exp(-far)
    ratio = np.where(far > 40, 1.0, ratio)
    power = np.where(gamma == 0, 0.0, gamma * (-far - np.log1p(np.exp(-far))))
    certain = times_exp(balance * ratio, np.where(hard > 0, power - far, 0.0))
    plain = np.where(entropy == 0, 0.0, balance * _power(gamma, log_q) * entropy)
    return np.where(hard > 0, certain, np.where(np.isnan(x + t), np.nan, plain))


def _focal_derivative(x: Array, t: Array, alpha: Array, gamma: Array) -> Array:
    balance, entropy, log_q = _focal_terms(np.clip(x, -FAR, FAR), t, alpha, gamma)
    x = np.clip(x, -FAR, FAR)
    s, r = _sigmoid(x), _sigmoid(-x)
    slope = (1 - t) * s - t * r
    # q' / q, with what they share of exp(-abs(x)) divided out
    e = np.exp(-np.abs(x))
    u, v = np.where(x < 0, t, 1 - t), np.where(x < 0, 1 - t, t)
    quotient = (1 - 2 * t) * np.where(u == 0, 1 / v, e / (u + v * e)) / (1 + e)
    inner = slope + gamma * entropy * quotient
    # Where the logit is right and certain, exp(-abs(x)) is a factor of all, which underflows late.
    ratio = np.where(e < 1e-17, 1.0, np.log1p(e) / np.where(e == 0, 1.0, e))
    certain = -np.where(x < 0, -1.0, 1.0) * balance * (1 + gamma * ratio) / (1 + e)
    tail = times_exp(certain, np.where(u == 0, np.where(gamma == 0, 0.0, gamma * log_q) - np.abs(x), 0.0))
    return np.where(u == 0, tail, balance * _power(gamma, log_q) * inner)


#: By name.
LOSSES: dict[str, LossOracle] = {
    name: LossOracle(_quiet(value), _quiet(derivative))
    for name, value, derivative in (
        ("sigmoid_cross_entropy", _cross_entropy, _cross_entropy_derivative),
        ("hinge", lambda x, t: np.maximum(1 - _side(t) * x, 0), _hinge_derivative),
        ("squared_hinge", lambda x, t: np.maximum(1 - _side(t) * x, 0) ** 2, _squared_hinge_derivative),
        ("mse", lambda x, t: (x - t) ** 2, lambda x, t: 2 * (x - t)),
        ("huber", _huber, lambda x, t, delta: np.clip(x - t, -delta, delta)),
        ("focal", _focal, _focal_derivative),
    )
}


# ---------------------------------------------------------------- of rows


def _lines(a: Any, kind: str) -> Array:
    """Storage ``[outer, n, inner]`` as float64 ``[rows, n]``."""
    if a.dtype.itemsize == 2 and kind in ("float16", "bfloat16"):
        if kind == "bfloat16":
            import ml_dtypes

            a = a.view(ml_dtypes.bfloat16)
        else:
            a = a.view(np.float16)
    return np.ascontiguousarray(np.moveaxis(a.astype(np.float64), 1, 2)).reshape(-1, a.shape[1])


def _unlined(lines: Array, like: Any) -> Array:
    outer, n, inner = like.shape
    return np.ascontiguousarray(np.moveaxis(lines.reshape(outer, inner, n), 2, 1))


def _scales(call: Any, count: int) -> Array:
    """What each row's gradient is multiplied by."""
    scale = np.full(count, float(call.row_scale))
    return scale if call.row_grad is None else scale * call.row_grad


def cross_entropy(call: Any) -> dict[str, Array]:
    """The program "cross_entropy": softmax and the cross entropy to labels, integers or probabilities.

    A row's loss is ``sum(m * (lse - x)) + z_loss * lse ** 2`` with m the masses that labels, smoothing and weights give the classes.

    Parameters
    ----------
    call : fastact.rows.Rows
        Of it `x`, `kind`, `labels` or `soft`, `weight`, `smoothing`, `z_loss`, `ignore`, `row_scale` and `row_grad`.

    Returns
    -------
    dict
        "loss", one a row, and "out", the gradient with respect to x, like x: multiplied by `row_scale` and a row's `row_grad`.
    """
    x = _lines(call.x, call.kind)
    count, n = x.shape
    weight = np.ones(n) if call.weight is None else np.asarray(call.weight, np.float64)
    kept = np.ones(count, bool)
    with np.errstate(all="ignore"):
        if call.soft is not None:
            mass = weight * ((1 - call.smoothing) * _lines(call.soft, call.kind) + call.smoothing / n)
        else:
            labels = np.asarray(call.labels).reshape(-1)
            if call.ignore is not None:
                kept = labels != call.ignore
            hot = np.arange(n) == np.where(kept, labels, 0)[:, None]
            mass = np.where(hot, (1 - call.smoothing) * weight, 0.0) + (call.smoothing / n * weight if call.smoothing else 0.0)
        largest = np.argmax(np.where(np.isnan(x), -np.inf, x), axis=1)[:, None]
        high = np.take_along_axis(x, largest, 1)
        d, low = difference(x, high)
        e = np.exp(d) * (1 + low)
        np.put_along_axis(e, largest, np.where(np.isfinite(high), 0.0, np.nan), 1)  # all but the largest, which is 1
        others = e.sum(1, keepdims=True)
        log_sum = np.log1p(others)
        lse = high + log_sum
        np.put_along_axis(e, largest, 1.0, 1)
        p = e / (1 + others)
        # What has no share adds nothing, wherever it is: unless the row is NaN.
        loss = np.where(mass == 0, np.where(np.isnan(log_sum), np.nan, 0.0), mass * ((log_sum - low) - d)).sum(1)
        total = mass.sum(1, keepdims=True)
        # The largest class's own gradient, total * p - mass, is -others / (1 + others) for a label there: nothing cancels.
        dx = total * p - mass
        at = np.take_along_axis(mass, largest, 1)
        np.put_along_axis(dx, largest, ((total - at) - at * others) / (1 + others), 1)
        if call.z_loss:
            loss = loss + call.z_loss * lse[:, 0] ** 2
            dx = dx + 2 * call.z_loss * lse * p
        dx = dx * _scales(call, count)[:, None]
    loss, dx = np.where(kept, loss, 0.0), np.where(kept[:, None], dx, 0.0)
    return {"loss": loss, "out": _unlined(dx, call.x)}


def multi_margin(call: Any) -> dict[str, Array]:
    """The program "multi_margin": ``weight[label] / n * sum(max(margin - x[label] + x, 0) ** power)`` over the other classes.

    Parameters
    ----------
    call : fastact.rows.Rows
        Of it `x`, `kind`, `labels`, `weight`, `margin`, `power`, `ignore`, `row_scale` and `row_grad`.

    Returns
    -------
    dict
        "loss", one a row, and "out", the gradient with respect to x, like x.
    """
    x = _lines(call.x, call.kind)
    count, n = x.shape
    labels = np.asarray(call.labels).reshape(-1)
    kept = np.ones(count, bool) if call.ignore is None else labels != call.ignore
    labels = np.where(kept, labels, 0)[:, None]
    with np.errstate(all="ignore"):
        factor = (np.ones(count) if call.weight is None else np.asarray(call.weight, np.float64)[labels[:, 0]]) / n
        z = np.maximum(call.margin - np.take_along_axis(x, labels, 1) + x, 0.0)
        np.put_along_axis(z, labels, 0.0, 1)
        loss = factor * (z if call.power == 1 else z * z).sum(1)
        slope = np.where(np.isnan(z), z, (z > 0).astype(np.float64)) if call.power == 1 else 2 * z
        np.put_along_axis(slope, labels, -slope.sum(1, keepdims=True), 1)
        dx = slope * (factor * _scales(call, count))[:, None]
    loss, dx = np.where(kept, loss, 0.0), np.where(kept[:, None], dx, 0.0)
    return {"loss": loss, "out": _unlined(dx, call.x)}
