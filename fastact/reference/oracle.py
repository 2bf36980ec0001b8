"""What an oracle is, and how one is made of textbook formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np

from . import jets
from .numerics import Array

Function = Callable[..., Array]

#: Two finite stand-ins for infinity: far beyond float32, and with powers that float64 still holds.
PROBES = 1e60, 1e70


@dataclass(frozen=True)
class Oracle:
    """One activation: functions of ``(x, *params)`` on float64 arrays, parameters broadcast to `x`.

    Attributes
    ----------
    value, derivative
        The function and its derivative with respect to x.
    second_derivative
        None where it is not smooth.
    gradients
        By parameter: the derivative with respect to it.
    integer
        The same for integer arrays, keeping their dtype; None where the function leaves the integers.
    """

    value: Function
    derivative: Function
    second_derivative: Function | None = None
    gradients: dict[str, Function] = field(default_factory=dict)
    integer: Oracle | None = None


def oracle(
    value: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
    second_derivative: Callable[..., Any] | None = None,
    *,
    jet: Callable[..., Any] | None = None,
    smooth: bool | None = None,
    oscillates: bool = False,
    integer: Oracle | None = None,
    **gradients: Callable[..., Any],
) -> Oracle:
    """An oracle from formulas for finite x.

    Parameters
    ----------
    value, derivative, second_derivative
        Formulas on float64 arrays. Derivatives that are not given are found by differentiating `jet` (see `fastact.reference.jets`).
    jet
        The value as a formula that can be differentiated; `value` itself by default.
    smooth
        Whether there is a second derivative; by default, whether one or a `jet` is given.
    oscillates
        Nothing is known at infinity: NaN.
    integer
        Formulas that keep integers.
    **gradients
        By learnable parameter the formula of its gradient; ``True`` for differentiating `jet`.
    """
    formula = value if jet is None else jet
    smooth = (second_derivative is not None or jet is not None) if smooth is None else smooth

    def differentiated(order: int, argument: int = 0) -> Callable[..., Any]:
        def derivative(*args: Array) -> Any:
            variable = jets.variable(args[argument], order)
            found = formula(*(variable if i == argument else a for i, a in enumerate(args)))
            return found.c[order] if isinstance(found, jets.Jet) else np.zeros_like(args[0])

        return derivative

    def learned(name: str, index: int) -> Callable[..., Any]:
        given = gradients[name]
        return differentiated(1, index) if given is True else given  # type: ignore[comparison-overlap]

    positions = {name: formula.__code__.co_varnames.index(name) for name, given in gradients.items() if given is True}  # type: ignore[comparison-overlap]
    return Oracle(
        _total(value, oscillates),
        _total(derivative or differentiated(1), oscillates),
        _total(second_derivative or differentiated(2), oscillates) if smooth else None,
        {name: _total(learned(name, positions.get(name, 0)), oscillates) for name in gradients},
        integer,
    )


def _total(formula: Callable[..., Any], oscillates: bool) -> Function:
    """`formula` made total: NaN for NaN, its limits at infinity, no warnings, arguments as float64 arrays."""

    @wraps(formula)
    def total(*args: Any) -> Array:
        with np.errstate(all="ignore"):
            x, *params = (np.asarray(a, dtype=np.float64) for a in args)
            infinite, unknown = np.isinf(x), np.isnan(x)
            ends = infinite.any()
            result = np.asarray(formula(np.where(infinite, 1.0, x) if ends else x, *params), dtype=np.float64)
            shape = np.broadcast(x, *params).shape
            if result.shape != shape or not (result.flags.owndata and result.flags.writeable) or result is x:
                result = np.array(np.broadcast_to(result, shape))
            if unknown.any():
                result[np.broadcast_to(unknown, shape)] = np.nan
            if ends:
                at = np.broadcast_to(infinite, shape)
                if oscillates:
                    result[at] = np.nan
                else:
                    where = [np.broadcast_to(a, shape)[at] for a in (x, *params)]
                    result[at] = _limit(*(np.asarray(formula(np.copysign(p, where[0]), *where[1:]), dtype=np.float64) for p in PROBES))
        return result

    return total


def _limit(near: Array, far: Array) -> Array:
    """Where a function goes that has these values at two large arguments: to infinity if it still grows, to 0 if it still falls."""
    steady = (near == far) | (np.abs(far - near) <= 1e-9 * np.abs(near))
    going = np.where(np.abs(far) > np.abs(near), np.copysign(np.inf, far), np.copysign(0.0, far))
    found = np.where(np.abs(far) < 1e-25, np.copysign(0.0, far), np.where(steady, far, going))
    return np.where(np.isnan(near) | np.isnan(far), np.nan, found)
