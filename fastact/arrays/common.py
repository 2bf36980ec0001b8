"""What is checked alike for every kind of array: dtypes, shapes, parameters and ``out``."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels.definitions import Definition

#: Storage types with kernels. Others are converted, served by the reference, or refused.
KINDS = ("float16", "bfloat16", "float32", "float64")
ACCEPTED = "float16, bfloat16, float32, float64 and integer arrays"


@functools.cache
def kind_of(dtype: Any) -> str:
    """The name of a dtype whatever its byte order; for NumPy's and ml_dtypes' types the key of `KINDS`."""
    return str(np.dtype(dtype).name)


def floating(x: Any, definition: Definition, argument: str, label: str) -> Any:
    """`x` in a type that is computed with: integers become float64 unless the function keeps them.

    Raises
    ------
    TypeError
        For bool, complex, object, string and other types that are not real numbers.
    """
    kind = x.dtype.kind
    if kind in "iu":
        return x if definition.integers else x.astype("float64")
    if kind_of(x.dtype) in KINDS or (kind == "f" and x.dtype.itemsize > 8):
        return x
    raise TypeError(f"{label}: {argument} has dtype {x.dtype}; accepted are {ACCEPTED}")


def check_gradient(label: str, grad: Any, x: Any, name: str) -> None:
    """`grad` must have the dtype and shape of `x`, which is called `name`."""
    if kind_of(grad.dtype) != kind_of(x.dtype):
        raise TypeError(f"{label}: grad has dtype {grad.dtype}, but {name} has {x.dtype}; they must be the same")
    if grad.shape != x.shape:
        raise ValueError(f"{label}: grad has shape {grad.shape}, but {name} has {x.shape}; they must be the same")


def position(label: str, axis: Any, ndim: int) -> int:
    """`axis` as a number from 0.

    Raises
    ------
    TypeError
        If it is not an integer.
    numpy.exceptions.AxisError
        If there is no such axis; a ValueError and an IndexError.
    """
    try:
        number = int(operator.index(axis)) if not isinstance(axis, (bool, np.bool_)) else None
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{label}: axis must be an integer, not {axis!r}")
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(f"{label}: axis {number} is out of range for an array of {ndim} dimensions")
    return number % ndim


def parameter(label: str, name: str, value: Any, x: Any, axis: int | None, asarray: Any) -> Any:
    """A parameter as a Python float rounded to x's dtype, or as an array of that dtype that broadcasts to x."""
    target = x.dtype.newbyteorder("=") if x.dtype.kind not in "iu" else np.dtype("float64")
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    try:
        array = np.asarray(value, "float64" if number else None) if number or not hasattr(value, "dtype") else asarray(value)
    except OverflowError:
        raise ValueError(f"{label}: {name} is too large for a float") from None
    if array.dtype.kind not in "iuf" and kind_of(array.dtype) not in KINDS:
        raise TypeError(f"{label}: {name} must be a real number or an array of them, not {value!r} of dtype {array.dtype}")
    with np.errstate(all="ignore"):
        array = array.astype(target, copy=False)
    if array.ndim == 0 and isinstance(array, (np.ndarray, np.generic)):
        return float(array)
    if axis is not None and array.ndim == 1:
        array = array.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    if not broadcasts(array.shape, x.shape):
        raise ValueError(f"{label}: {name} has shape {array.shape}, which does not broadcast to x's shape {x.shape}")
    return array


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `target`, without enlarging it."""
    tail = target[len(target) - len(shape) :]
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(shape, tail, strict=True))


def check_out(label: str, out: Any, shape: tuple[int, ...], dtype: Any, owns: Any, argument: str = "out") -> None:
    """`out` must be a writable array of the given shape and dtype, of the kind that `owns` accepts."""
    if not owns(out):
        raise TypeError(f"{label}: {argument} must be an array of x's kind, not {type(out).__module__}.{type(out).__qualname__}")
    if kind_of(out.dtype) != kind_of(dtype):
        raise TypeError(f"{label}: {argument} has dtype {out.dtype}, but the result has {dtype}")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{label}: {argument} has shape {tuple(out.shape)}, but the result has {tuple(shape)}")
    if not getattr(out.flags, "writeable", True):
        raise ValueError(f"{label}: {argument} is read-only")


def outputs(label: str, out: Any, count: int) -> list[Any]:
    """`out` as a list, one for each result, None where it is to be allocated."""
    if count == 1:
        if isinstance(out, tuple):
            if len(out) != 1:
                raise ValueError(f"{label}: out is a tuple of {len(out)}, but there is one result")
            return list(out)
        return [out]
    if out is None:
        return [None] * count
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{label}: out must be a tuple of {count}, one for each result, None where it is to be allocated")
    return list(out)


def bind(
    name: str, arrays: Sequence[str], params: Mapping[str, Any], options: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name, as Python binds them: arrays by position, parameters by position or name, options by name only."""
    positional = [*arrays, *params]
    if len(args) > len(positional):
        raise TypeError(
            f"{name}() takes {', '.join(positional)} by position, and {', '.join(options)} by name only; {len(args)} were given by position"
        )
    bound = {**params, **options}
    given = dict(zip(positional, args, strict=False))
    for key, value in kwargs.items():
        if key in given:
            raise TypeError(f"{name}() got multiple values for argument {key!r}")
        if key not in bound and key not in arrays:
            known = ", ".join([*positional, *options])
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}; it takes {known}")
        given[key] = value
    bound.update(given)
    for array in arrays:
        if array not in bound:
            raise TypeError(f"{name}() missing required argument {array!r}")
    for parameter, default in params.items():
        if default is None and bound[parameter] is None:
            raise TypeError(f"{name}() missing required parameter {parameter!r}")
    return bound
