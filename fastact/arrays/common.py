"""What is checked alike for every kind of array: dtypes, shapes, parameters and ``out``."""

from __future__ import annotations

import functools
import numbers
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


def floating(x: Any, definition: Definition, argument: str) -> Any:
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
    raise TypeError(f"{definition.name}: {argument} has dtype {x.dtype}; accepted are {ACCEPTED}")


def check_same(definition: Definition, first: Any, second: Any, argument: str) -> None:
    """`second` must have the dtype and shape of x, `first`."""
    if kind_of(second.dtype) != kind_of(first.dtype):
        raise TypeError(f"{definition.name}: {argument} has dtype {second.dtype}, but x has {first.dtype}; they must be the same")
    if second.shape != first.shape:
        raise ValueError(f"{definition.name}: {argument} has shape {second.shape}, but x has {first.shape}; they must be the same")


def parameter(definition: Definition, name: str, value: Any, x: Any, axis: int | None, asarray: Any) -> Any:
    """A parameter as a Python float rounded to x's dtype, or as an array of that dtype that broadcasts to x."""
    if value is None:
        raise TypeError(f"{definition.name}() missing required parameter {name!r}")
    if not isinstance(value, (numbers.Number, np.number)) and not hasattr(value, "dtype"):
        value = np.asarray(value)
    dtype = getattr(value, "dtype", np.dtype(type(value)) if isinstance(value, (bool, complex)) else np.dtype("float64"))
    if dtype.kind not in "iuf" and kind_of(dtype) not in KINDS:
        raise TypeError(f"{definition.name}: {name} must be a real number or an array of them, not {dtype}")
    target = x.dtype if x.dtype.kind not in "iu" else np.dtype("float64")
    if not hasattr(value, "shape") or (isinstance(value, np.generic) and value.shape == ()):
        with np.errstate(all="ignore"):
            return float(np.asarray(value, "float64").astype(target.newbyteorder("=")))
    value = asarray(value).astype(target.newbyteorder("="), copy=False)
    if axis is not None and value.ndim == 1:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"{definition.name}: axis {axis} is out of range for x of {x.ndim} dimensions")
        value = value.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    try:
        fits = np.broadcast_shapes(value.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{definition.name}: {name} has shape {value.shape}, which does not broadcast to x's shape {x.shape}")
    return value


def check_out(definition: Definition, out: Any, shape: tuple[int, ...], dtype: Any, owns: Any, argument: str = "out") -> None:
    """`out` must be a writable array of the given shape and dtype, of the kind that `owns` accepts."""
    if not owns(out):
        raise TypeError(f"{definition.name}: {argument} must be an array of x's kind, not {type(out).__module__}.{type(out).__qualname__}")
    if kind_of(out.dtype) != kind_of(dtype):
        raise TypeError(f"{definition.name}: {argument} has dtype {out.dtype}, but the result has {dtype}")
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{definition.name}: {argument} has shape {tuple(out.shape)}, but the result has {tuple(shape)}")
    if not getattr(out.flags, "writeable", True):
        raise ValueError(f"{definition.name}: {argument} is read-only")


def outputs(definition: Definition, out: Any, count: int) -> list[Any]:
    """`out` as a list, one for each result, None where it is to be allocated."""
    if count == 1:
        if isinstance(out, tuple):
            if len(out) != 1:
                raise ValueError(f"{definition.name}: out is a tuple of {len(out)}, but there is one result")
            return list(out)
        return [out]
    if out is None:
        return [None] * count
    if not isinstance(out, tuple) or len(out) != count:
        raise TypeError(f"{definition.name}: out must be a tuple of {count}, one for each result, None where it is to be allocated")
    return list(out)


def bind(
    name: str, arrays: Sequence[str], params: Mapping[str, Any], options: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name, as Python binds them: arrays by position, parameters by position or name, options by name only."""
    positional = [*arrays, *params]
    if len(args) > len(positional):
        raise TypeError(
            f"{name}() takes at most {len(positional)} positional arguments ({', '.join(positional)}), but {len(args)} were given"
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
    return bound
