"""Functions whose learned parameters come as one array: rational (Pade) units, adaptive piecewise linear units, maxout.

The scalar functions behind the first are in ``fastact.ACTIVATIONS``: ``pau_a``, ``pau_b``, ``pau_c`` and ``pau_nonsafe``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import arrays, dispatch, noise
from .activation import ACTIVATIONS, count_call
from .arrays import common

#: Elements of a piece: a few arrays of so many stay in the second-level cache.
PIECE = 1 << 14
#: By version of `pau`: the activation behind it. D is B, its coefficients drawn anew in training.
VERSIONS = {"A": "pau_a", "B": "pau_b", "C": "pau_c", "D": "pau_b", "nonsafe": "pau_nonsafe"}
#: By version of `pau`: numerator and denominator with which it approximates leaky_relu(x, 0.01) from -3 to 3, its error there at most
#: 0.034. Least squares on 2001 equidistant points, the best of twelve starts; C's are those of B over 10, the same function.
LEAKY_RELU = {
    version: (coefficients[:6], coefficients[6:])
    for version, coefficients in (
        (v, tuple(ACTIVATIONS[name].definition.params.values())) for v, name in VERSIONS.items() if name in ACTIVATIONS
    )
}
#: Version D multiplies each coefficient by 1 plus a number between these.
DEVIATION = 0.1

_FLOATS, _ANY = SimpleNamespace(integers=False), SimpleNamespace(integers=True)


class LearnedFunction:
    """A function of parameters that come as arrays; ``backward`` gives the gradients of x and of all of them."""

    nin = 1

    def __init__(self, function: Callable[..., Any], backward: Callable[..., Any] | None = None, name: str = "") -> None:
        self._function = function
        self.__name__ = self.__qualname__ = name or function.__name__.strip("_")
        function.__qualname__ = self.__name__  # what Python's own errors call it
        self.__doc__ = function.__doc__
        self.__module__ = "fastact"
        self.__signature__ = inspect.signature(function)
        if backward is not None:
            self.backward = LearnedFunction(backward, name=f"{self.__name__}.backward")

    @arrays.takes_tensors
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> Any:
        return _find, tuple(self.__name__.split("."))

    def __copy__(self) -> LearnedFunction:
        return self

    def __deepcopy__(self, memo: Any) -> LearnedFunction:
        return self


def _find(name: str, direction: str = "") -> LearnedFunction:
    """What pickle looks up."""
    found = FUNCTIONS[name]
    return found.backward if direction else found


# ---------------------------------------------------------------- what the calls have in common


def _inputs(label: str, definition: Any, given: dict[str, Any], outs: list[Any]) -> tuple[Any, Any]:
    """The module of the arrays, and x as one of a type that is computed with."""
    module = arrays.of({**given, **{f"out[{i}]": out for i, out in enumerate(outs)}})
    return module, common.floating(module.asarray(given["x"]), definition, "x", label)


def _gradient(label: str, module: Any, grad: Any, x: Any, definition: Any, shape: tuple[int, ...] | None = None) -> Any:
    """The gradient as an array of x's dtype; of another shape than x only if `shape` says so."""
    array = common.floating(module.asarray(grad if hasattr(grad, "dtype") else np.asarray(grad, x.dtype)), definition, "grad", label)
    if shape is None:
        common.check_gradient(label, array, x, "x")
    elif common.kind_of(array.dtype) != common.kind_of(x.dtype):
        raise TypeError(f"{label}: grad has dtype {array.dtype}, but x has {x.dtype}; they must be the same")
    elif array.shape != shape:
        raise ValueError(f"{label}: grad has shape {array.shape}, but the output has {shape}; they must be the same")
    return array


def _working(label: str, module: Any, x: Any, backend: str | None, accuracy: str | None) -> Any:
    """The dtype to compute in. These run on the arrays' own library whatever the backend; 'numpy' is the float64 reference."""
    kind = common.kind_of(x.dtype)
    named = dispatch.decide(module.NAME, kind, int(x.size), "move", backend).backend
    count_call(named)
    wide = dispatch.named_accuracy(accuracy) == "precise" or named == "numpy" or kind == "float64"
    return np.dtype("float64" if wide and kind in common.KINDS else "float32" if kind in common.KINDS else x.dtype)


def _targets(label: str, out: Any, module: Any, shapes: list[tuple[int, ...]], dtype: Any) -> list[Any]:
    """`out`, one for each shape, checked; those that were not given are made."""
    outs = common.outputs(label, out, len(shapes))
    for i, (o, shape) in enumerate(zip(outs, shapes, strict=True)):
        if o is not None:
            common.check_out(label, o, shape, dtype, module.owns, "out" if len(outs) == 1 else f"out[{i}]")
    if len(outs) > 1:
        module.check_apart(label, outs)
    return [module.new(shape, dtype) if o is None else module.asarray(o) for o, shape in zip(outs, shapes, strict=True)]


def _returned(out: Any, module: Any, results: list[Any], given: Any, function: LearnedFunction) -> Any:
    """The results as they are handed back: `out` itself where it was given; the first in the class of x."""
    outs = common.outputs(function.__name__, out, len(results))
    found = [
        module.finish(r, given if i == 0 else None, function) if o is None else o
        for i, (r, o) in enumerate(zip(results, outs, strict=True))
    ]
    return found[0] if len(found) == 1 else tuple(found)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Indices of pieces of at most `PIECE` elements that cover an array, in the order of memory."""
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    rows = max(1, PIECE // max(1, row))
    for begin in range(0, shape[0], rows):
        head = slice(begin, min(begin + rows, shape[0]))
        if row <= PIECE:
            yield (head, *(slice(0, n) for n in shape[1:]))
        else:
            for rest in _pieces(shape[1:]):
                yield (head, *rest)


def _apart(a: Any, outs: list[Any]) -> Any:
    """`a`, copied where an output that is not the same array overlaps it: a piece must not overwrite what a later one reads."""
    if not isinstance(a, np.ndarray):
        return a
    same = [o for o in outs if o is not a and np.shares_memory(a, o)]
    alike = all(
        o.shape == a.shape and o.strides == a.strides and o.__array_interface__["data"] == a.__array_interface__["data"] for o in same
    )
    return a if not same or (alike and len(same) == 1) else a.copy()


# ---------------------------------------------------------------- rational functions


def _coefficients(label: str, version: Any, training: Any, seed: Any, numerator: Any, denominator: Any) -> tuple[str, list[Any], Any]:
    """(the activation, its parameters, what they were multiplied by)."""
    if version not in VERSIONS:
        raise ValueError(f"{label}: version must be one of {', '.join(map(repr, VERSIONS))}, not {version!r}")
    if not isinstance(training, (bool, np.bool_)):
        raise TypeError(f"{label}: training must be True or False, not {training!r}")
    found: list[Any] = []
    for name, given, count in ("numerator", numerator, 6), ("denominator", denominator, 4):
        array = given if hasattr(given, "shape") else np.asarray(given)
        if array.ndim == 0 or array.shape[0] != count:
            raise ValueError(f"{label}: {name} must have {count} coefficients along its first axis, but has shape {tuple(array.shape)}")
        found += [float(c) if getattr(c, "ndim", 0) == 0 and array.dtype.kind in "iuf" else c for c in array]
    factors = np.ones(10)
    if training and version == "D":
        factors += DEVIATION * (2.0 * noise.uniform(noise.checked_seed(label, seed), (10,), np) - 1.0)
        found = [c * f for c, f in zip(found, factors.tolist(), strict=True)]
    return VERSIONS[version], found, factors


def _pau(
    x: Any,
    numerator: Any,
    denominator: Any,
    *,
    version: str = "A",
    training: bool = False,
    seed: int | None = None,
    axis: int | None = None,
    out: Any = None,
    backend: str | None = None,
    accuracy: str | None = None,
) -> Any:
    """Pade activation unit: a rational function P(x) / Q(x) whose coefficients are learned.

    Parameters
    ----------
    x : array_like
        The input.
    numerator : array_like of shape (6,) or (6, ...)
        Coefficients a0 to a5 of P, in ascending powers. Further axes broadcast to x, or lie on `axis`.
    denominator : array_like of shape (4,) or (4, ...)
        Coefficients b1 to b4 of Q.
    version : {"A", "B", "C", "D", "nonsafe"}
        A: Q = 1 + sum of abs(b_j x^j). B: 1 + abs(sum of b_j x^j). C: 0.1 in place of B's 1. D: B, and in training each coefficient is
        multiplied by a number between 0.9 and 1.1. nonsafe: 1 + sum of b_j x^j, which may have roots.
    training : bool
        For version D.
    seed : int, optional
        For version D in training; with the same seed `backward` draws the same numbers again.
    axis : int, optional
        The axis of x that coefficients of two dimensions belong to.
    out : array, optional
        Where to write the result.
    backend, accuracy : str, optional
        As for every activation.

    Returns
    -------
    array
        Of x's shape and dtype.

    Raises
    ------
    ValueError
        For a wrong number of coefficients, an unknown version, or version D in training without a seed.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> from fastact.learnable import LEAKY_RELU
    >>> fastact.pau(np.array([-2.0, 2.0]), *LEAKY_RELU["A"]).round(1)
    array([-0.,  2.])
    """
    name, found, _ = _coefficients("pau", version, training, seed, numerator, denominator)
    return ACTIVATIONS[name](x, *found, axis=axis, out=out, backend=backend, accuracy=accuracy)


def _pau_backward(
    grad: Any,
    x: Any,
    numerator: Any,
    denominator: Any,
    *,
    version: str = "A",
    training: bool = False,
    seed: int | None = None,
    axis: int | None = None,
    out: Any = None,
    backend: str | None = None,
    accuracy: str | None = None,
) -> Any:
    """Gradients of `pau` with respect to x and its coefficients.

    Parameters
    ----------
    grad : array_like
        The gradient with respect to the output, of x's shape and dtype.
    x, numerator, denominator, version, training, seed, axis, backend, accuracy
        As in `pau`.
    out : tuple of 3, optional
        Where to write the results; None in it: allocate.

    Returns
    -------
    tuple of array
        dx, dnumerator, ddenominator, each of its argument's shape and of x's dtype.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> from fastact.learnable import LEAKY_RELU
    >>> dx, da, db = fastact.pau.backward(np.ones(2), np.array([-2.0, 2.0]), *LEAKY_RELU["A"])
    >>> dx.shape, da.shape, db.shape
    ((2,), (6,), (4,))
    """
    label = "pau.backward"
    name, found, factors = _coefficients(label, version, training, seed, numerator, denominator)
    outs = common.outputs(label, out, 3)
    results = ACTIVATIONS[name].backward(grad, x, *found, axis=axis, out=(outs[0], *[None] * 10), backend=backend, accuracy=accuracy)
    dx, terms = results[0], results[1:]
    module = arrays.of({"x": x})
    library = module.library()
    dtype = terms[0].dtype
    gradients = []
    for i, (given, part, scale) in enumerate(((numerator, terms[:6], factors[:6]), (denominator, terms[6:], factors[6:])), 1):
        shape = tuple(np.shape(given))
        scaled = [t if f == 1.0 else (t * f).astype(dtype) for t, f in zip(part, scale.tolist(), strict=True)]
        stacked = library.stack([library.asarray(t, dtype) for t in scaled]).reshape(shape)
        if outs[i] is not None:
            common.check_out(label, outs[i], shape, dtype, module.owns, f"out[{i}]")
            outs[i][...] = stacked
            stacked = outs[i]
        gradients.append(stacked)
    return dx, *gradients


# ---------------------------------------------------------------- piecewise linear


def _hinges(label: str, module: Any, a: Any, b: Any, x: Any, axis: int | None) -> tuple[list[Any], list[Any], Any, Any]:
    """The parameters of each hinge, broadcast to x, and both as arrays."""
    a, b = (v if hasattr(v, "shape") else np.asarray(v) for v in (a, b))
    for name, v in ("a", a), ("b", b):
        if v.ndim == 0:
            raise ValueError(f"{label}: {name} must have the hinges along its first axis, but is a number")
    if len(a) != len(b):
        raise ValueError(f"{label}: a has {len(a)} hinges, but b has {len(b)}")
    at = None if axis is None else common.position(label, axis, x.ndim)
    both = [
        [common.parameter(label, f"{name}[{s}]", v[s], x, at, module.asarray) for s in range(len(v))] for name, v in (("a", a), ("b", b))
    ]
    return both[0], both[1], a, b


def _part(parameter: Any, shape: tuple[int, ...], piece: tuple[slice, ...], library: Any, working: Any) -> Any:
    """A hinge's parameter on a piece of x."""
    return working.type(parameter) if isinstance(parameter, float) else library.broadcast_to(parameter, shape)[piece].astype(working)


def _apl(
    x: Any,
    a: Any,
    b: Any,
    *,
    axis: int | None = None,
    out: Any = None,
    backend: str | None = None,
    accuracy: str | None = None,
) -> Any:
    """Adaptive piecewise linear unit: max(0, x) + sum over s of a[s] * max(0, b[s] - x) (Agostinelli et al., 2015).

    Parameters
    ----------
    x : array_like
        The input.
    a, b : array_like of shape (S,) or (S, ...)
        Slopes and places of S hinges. Further axes broadcast to x, or lie on `axis`.
    axis : int, optional
        The axis of x that parameters of two dimensions belong to.
    out : array, optional
        Where to write the result.
    backend, accuracy : str, optional
        As for every activation. All backends run the same NumPy or CuPy code; "numpy" computes in float64.

    Returns
    -------
    array
        Of x's shape and dtype; halves are computed in float32 and rounded once.

    Raises
    ------
    ValueError
        If `a` and `b` have different numbers of hinges, or do not broadcast to x.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> fastact.apl(np.array([-1.0, 2.0]), [0.2, -0.1], [0.5, 0.0])
    array([0.2, 2. ])
    """
    label = "apl"
    outs = common.outputs(label, out, 1)
    module, x_ = _inputs(label, _FLOATS, {"x": x, "a": a, "b": b}, outs)
    slopes, places, _, _ = _hinges(label, module, a, b, x_, axis)
    working, library = _working(label, module, x_, backend, accuracy), module.library()
    (result,) = _targets(label, out, module, [x_.shape], x_.dtype)
    x_, slopes, places = _apart(x_, [result]), [_apart(v, [result]) for v in slopes], [_apart(v, [result]) for v in places]
    with np.errstate(all="ignore"):
        for piece in _pieces(x_.shape):
            part = x_[piece].astype(working)
            total = library.maximum(part, 0)
            for slope, place in zip(slopes, places, strict=True):
                term = _part(place, x_.shape, piece, library, working) - part
                total += library.maximum(term, 0) * _part(slope, x_.shape, piece, library, working)
            result[piece] = total
    return _returned(out, module, [result], x, FUNCTIONS["apl"])


def _apl_backward(
    grad: Any,
    x: Any,
    a: Any,
    b: Any,
    *,
    axis: int | None = None,
    out: Any = None,
    backend: str | None = None,
    accuracy: str | None = None,
) -> Any:
    """Gradients of `apl` with respect to x, a and b; at a hinge the slope is that on its right, at 0 that on its left.

    Parameters
    ----------
    grad : array_like
        The gradient with respect to the output, of x's shape and dtype.
    x, a, b, axis, backend, accuracy
        As in `apl`.
    out : tuple of 3, optional
        Where to write the results; None in it: allocate.

    Returns
    -------
    tuple of array
        dx, da, db, each of its argument's shape and of x's dtype. Sums are in float64, in an order that depends on shapes alone.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> fastact.apl.backward(np.ones(2), np.array([-1.0, 2.0]), [0.2, -0.1], [0.5, 0.0])
    (array([-0.1,  1. ]), array([1.5, 1. ]), array([ 0.2, -0.1]))
    """
    label = "apl.backward"
    outs = common.outputs(label, out, 3)
    module, x_ = _inputs(label, _FLOATS, {"grad": grad, "x": x, "a": a, "b": b}, outs)
    grad_ = _gradient(label, module, grad, x_, _FLOATS)
    slopes, places, a_, b_ = _hinges(label, module, a, b, x_, axis)
    working, library = _working(label, module, x_, backend, accuracy), module.library()
    dx, da, db = _targets(label, out, module, [x_.shape, tuple(a_.shape), tuple(b_.shape)], x_.dtype)
    grad_, x_ = (_apart(v, [dx, da, db]) for v in (grad_, x_))
    slopes, places = ([_apart(v, [dx, da, db]) for v in both] for both in (slopes, places))
    sums = [[_Sum(v, x_.shape, library) for v in both] for both in (slopes, places)]
    with np.errstate(all="ignore"):
        for piece in _pieces(x_.shape):
            part, g = x_[piece].astype(working), grad_[piece].astype(working)
            total = library.where(part > 0, g, library.where(part <= 0, working.type(0), part))
            for slope, place, da_sum, db_sum in zip(slopes, places, *sums, strict=True):
                rest = _part(place, x_.shape, piece, library, working) - part
                pulled = library.where(
                    rest > 0, g * _part(slope, x_.shape, piece, library, working), library.where(rest <= 0, working.type(0), rest)
                )
                total -= pulled
                db_sum.add(piece, pulled)
                da_sum.add(piece, library.where(rest > 0, g * rest, library.where(rest <= 0, working.type(0), rest)))
            dx[piece] = total
        for target, each in (da, sums[0]), (db, sums[1]):
            for s, found in enumerate(each):
                target[s] = found.total.reshape(target[s].shape)
    return _returned(out, module, [dx, da, db], x, FUNCTIONS["apl"].backward)


class _Sum:
    """The gradient of a parameter that broadcasts to x: a sum in float64 over the axes it is broadcast along, piece by piece."""

    def __init__(self, parameter: Any, shape: tuple[int, ...], library: Any) -> None:
        own = tuple(np.shape(parameter))
        own = (1,) * (len(shape) - len(own)) + own
        self.same = tuple(i for i, n in enumerate(own) if n == 1)
        self.total = library.zeros(own)

    def add(self, piece: tuple[slice, ...], terms: Any) -> None:
        self.total[tuple(slice(None) if i in self.same else s for i, s in enumerate(piece))] += terms.sum(
            axis=self.same, dtype=np.float64, keepdims=True
        )


# ---------------------------------------------------------------- the largest of a group


def _groups(label: str, x: Any, pool_size: Any, axis: Any) -> tuple[int, int, tuple[int, ...]]:
    """(the group's size, the axis, the result's shape)."""
    if isinstance(pool_size, (bool, np.bool_)) or not hasattr(pool_size, "__index__"):
        raise TypeError(f"{label}: pool_size must be an integer, not {pool_size!r}")
    size, at = int(pool_size.__index__()), common.position(label, axis, x.ndim)
    if size < 1:
        raise ValueError(f"{label}: pool_size must be at least 1, not {size}")
    if x.shape[at] % size:
        raise ValueError(f"{label}: axis {at} has {x.shape[at]} elements, which is no multiple of pool_size {size}")
    return size, at, (*x.shape[:at], x.shape[at] // size, *x.shape[at + 1 :])


def _members(x: Any, size: int, at: int) -> list[Any]:
    """Views of the first, the second ... element of every group."""
    return [x[(*(slice(None),) * at, slice(i, None, size))] for i in range(size)]


def _maxout(x: Any, pool_size: int, axis: int = -1, *, out: Any = None, backend: str | None = None, accuracy: str | None = None) -> Any:
    """Maxout: the largest of each group of `pool_size` neighbours along an axis (Goodfellow et al., 2013).

    Parameters
    ----------
    x : array_like
        The input.
    pool_size : int
        How many elements a group has; the axis must be a multiple of it.
    axis : int
        The axis along which elements are grouped.
    out : array, optional
        Where to write the result.
    backend, accuracy : str, optional
        As for every activation; all give the same.

    Returns
    -------
    array
        Of x's dtype, `axis` shorter by the factor `pool_size`. NaN where a group has one.

    Raises
    ------
    ValueError
        If the axis is no multiple of `pool_size`.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> fastact.maxout(np.array([1.0, 3.0, -2.0, -5.0]), 2)
    array([ 3., -2.])
    """
    label = "maxout"
    outs = common.outputs(label, out, 1)
    module, x_ = _inputs(label, _ANY, {"x": x}, outs)
    size, at, shape = _groups(label, x_, pool_size, axis)
    _working(label, module, x_, backend, accuracy)
    (result,) = _targets(label, out, module, [shape], x_.dtype)
    first, *others = _members(_apart(x_, [result]), size, at)
    result[...] = first
    for other in others:
        module.library().maximum(result, other, out=result)
    return _returned(out, module, [result], x, FUNCTIONS["maxout"])


def _maxout_backward(
    grad: Any, x: Any, pool_size: int, axis: int = -1, *, out: Any = None, backend: str | None = None, accuracy: str | None = None
) -> Any:
    """Gradient of `maxout` with respect to x: each group's goes to the first of its largest elements.

    Parameters
    ----------
    grad : array_like
        The gradient with respect to the output, of its shape and x's dtype.
    x, pool_size, axis, backend, accuracy
        As in `maxout`.
    out : array, optional
        Where to write the result.

    Returns
    -------
    array
        Of x's shape and dtype.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> fastact.maxout.backward(np.array([10.0, 20.0]), np.array([1.0, 3.0, -2.0, -5.0]), 2)
    array([ 0., 10., 20.,  0.])
    """
    label = "maxout.backward"
    outs = common.outputs(label, out, 1)
    module, x_ = _inputs(label, _FLOATS, {"grad": grad, "x": x}, outs)
    size, at, shape = _groups(label, x_, pool_size, axis)
    grad_ = _gradient(label, module, grad, x_, _FLOATS, shape)
    _working(label, module, x_, backend, accuracy)
    library = module.library()
    (dx,) = _targets(label, out, module, [x_.shape], x_.dtype)
    grad_, x_ = _apart(grad_, [dx]), _apart(x_, [dx])
    members = _members(x_, size, at)
    largest = members[0].copy()
    for member in members[1:]:
        library.maximum(largest, member, out=largest)
    waiting = library.ones(shape, bool)
    for member, target in zip(members, _members(dx, size, at), strict=True):
        here = ((member == largest) | (member != member)) & waiting  # a NaN is the largest of its group
        waiting &= ~here
        target[...] = library.where(here, grad_, grad_.dtype.type(0))
    return _returned(out, module, [dx], x, FUNCTIONS["maxout"].backward)


#: Every function of this module by its name.
FUNCTIONS = {
    f.__name__: f
    for f in (LearnedFunction(_pau, _pau_backward), LearnedFunction(_apl, _apl_backward), LearnedFunction(_maxout, _maxout_backward))
}
