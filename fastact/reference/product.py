"""The oracle of products: gated functions, bias and activation, dropout, in float64 and written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..noise import uniform
from ..product import Factor, Product
from .numerics import Array


def _double(a: Any) -> Any:
    return a.astype(np.float64) if isinstance(a, np.ndarray) else a


def _summed(terms: Array, shape: tuple[int, ...]) -> Array:
    """`terms` summed over all axes along which `shape` is broadcast."""
    full = (1,) * (terms.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(full) if n != terms.shape[i])
    return terms.sum(axis=axes, keepdims=True).reshape(shape)


def product(call: Product) -> tuple[list[Array], list[Array]]:
    """The results of a call in float64: the output, or the gradient of each factor's x; and the sums, in the order of `Product.sums`."""
    from . import REFERENCE

    def full(a: Any) -> Array:
        return np.broadcast_to(np.asarray(_double(a), np.float64), call.shape)

    def argument(f: Factor) -> tuple[Array, Array]:
        z = full(f.x) + (0.0 if f.bias is None else full(f.bias))
        return z, np.where(z > f.high, f.high, np.where(z < f.low, f.low, z))

    with np.errstate(all="ignore"):
        found = [argument(f) for f in call.factors]
        params = [[full(p) for p in f.params] for f in call.factors]
        values = [
            (t if f.name is None else REFERENCE[f.name].value(t, *p)) + f.offset
            for f, (_, t), p in zip(call.factors, found, params, strict=True)
        ]
        weight = 1.0 if call.weight is None else full(call.weight)
        kept = np.ones(call.shape)
        if call.seed is not None:
            kept = np.where(uniform(call.seed, call.shape, np) < call.keep, 1.0, 0.0) / (call.keep or 1.0)
        if call.direction == "forward":
            result = np.prod(values, axis=0) * weight
            return [np.where(kept == 0.0, 0.0, result * kept)], []
        grad = full(call.grad)
        grad = np.where(kept == 0.0, 0.0, grad * kept)
        results, sums = [], []
        for i, f in enumerate(call.factors):
            z, t = found[i]
            up = grad * weight * (values[1 - i] if len(values) == 2 else 1.0)
            inside = np.where((z < f.low) | (z > f.high), 0.0, 1.0)
            reference = None if f.name is None else REFERENCE[f.name]
            dx = up * (1.0 if reference is None else reference.derivative(t, *params[i])) * inside
            results.append(dx)
            if f.bias_shape is not None:
                sums.append(_summed(dx, f.bias_shape))
            if reference is not None:
                terms = [up * gradient(t, *params[i]) for gradient in reference.gradients.values()]
                sums += [_summed(term, shape) for term, shape in zip(terms, f.param_shapes, strict=False)]
        if call.weight_shape is not None:
            sums.append(_summed(grad * np.prod(values, axis=0), call.weight_shape))
    return results, sums
