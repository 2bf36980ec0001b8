"""The docstrings of the activations, in numpydoc's form, from the facts that stand with their definitions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .kernels.definitions import Definition
from .kernels.definitions.language import DERIVATIVE_BOUND

_OPTIONS = """out : array, optional
    Where the result goes: of x's shape and dtype; may be x itself.
backend : {"cython", "numba", "cupy", "numpy"}, optional
    Runs or raises. By default chosen by the kind and size of x.
accuracy : {"fast", "precise"}, optional
    By default "fast"."""

_TRAINING = """training : bool, default False
    Draw the parameter of ``fastact.{name}`` for each element between the two bounds; otherwise it is their middle.
seed : int, optional
    For ``training=True``: the same seed draws the same numbers, in ``backward`` too, on every backend."""

_ARRAY = """x : array_like
    Any shape, of float16, bfloat16, float32, float64, or integers, which {integers}."""

_RAISES = """TypeError
    For bool, complex, object and string arrays, for arrays of different kinds, for an `out` of another dtype.
ValueError
    If shapes do not fit, or `out` is read-only."""


def _number(value: float | None) -> str:
    return "required" if value is None else f"{value:.7g}"


def _bounds(definition: Definition) -> str:
    """What is promised."""
    text = (
        f'float32: within {definition.bound:g} ULP (derivatives: {DERIVATIVE_BOUND:g}), with accuracy "precise" 0.51. '
        'float64: within 2 ULP. float16 and bfloat16:\nwithin 0.51 ULP, with "precise" rounded once from float64.'
    )
    if definition.reach:
        text += " This holds for abs(x) up to " + ", ".join(f"{limit:g} ({kind})" for kind, limit in definition.reach.items())
        text += " with the default parameters." if definition.params else "."
    return text


def _given(definition: Definition) -> str:
    """For which parameters something is said."""
    if None not in definition.params.values():
        return ""
    return " for " + ", ".join(f"{n} = {v:g}" for n, v in zip(definition.params, definition.examples[0], strict=True))


def _integers(definition: Definition) -> str:
    return "stay integers" if definition.integers else "become float64"


def elementwise(definition: Definition) -> str:
    """The docstring of an elementwise activation."""
    params = "\n".join(
        f"{name} : float or array_like, {'required' if default is None else f'default {_number(default)}'}\n"
        "    Cast to x's dtype; broadcasts to x."
        for name, default in definition.params.items()
    )
    axis = "axis : int, optional\n    The axis of x on which one-dimensional parameters lie."
    limits = "; ".join(f"f({_number(at)}) = {_number(value)}" for at, value in {**definition.limits, float("nan"): float("nan")}.items())
    notes = [
        f"Derivative: ``{definition.derivative_formula}``.",
        f"Limits{_given(definition)}: {limits}.",
        f"Accuracy: {_bounds(definition)}",
    ]
    notes += [
        f"The {role.replace('_', ' ')} has a root at {', '.join(map(str, at))}; next to it the error is at most 2**-24, in float64 2**-53."
        for role, at in definition.roots.items()
    ]
    if definition.learnable:
        notes.append(f"Learnable: {', '.join(definition.learnable)}; ``backward`` returns the gradient too, always as a tuple.")
    if definition.aliases:
        notes.append(f"Also known as {', '.join(definition.aliases)}.")
    notes.append(f"Source: {definition.source}.")
    given = [repr(p) for p in definition.examples[0]] if None in definition.params.values() else []
    arguments = ", ".join(["np.array([-1.0, 0.0, 2.0])", *given])
    return _document(
        definition,
        f"``{definition.name}({', '.join(['x', *definition.params])}) = {definition.display}``",
        [
            _ARRAY.format(integers=_integers(definition)),
            *([params, axis] if params else []),
            *([_TRAINING.format(name=definition.randomized)] if definition.randomized else []),
            _OPTIONS,
        ],
        notes,
        f">>> y = fastact.{definition.name}({arguments})\n>>> y.shape, y.dtype\n((3,), dtype('float64'))",
    )


def with_defaults(definition: Definition, changed: Mapping[str, float]) -> str:
    """The docstring of an activation with other defaults than those of its definition."""
    defaults = ", ".join(f"``{name} = {value!r}``" for name, value in changed.items())
    return f"""{definition.doc.strip()}

By default {defaults}. Otherwise takes, returns and raises what ``fastact.{definition.name}`` does.
"""


def derivative(definition: Definition) -> str:
    """The docstring of an activation's derivative."""
    more = ""
    if definition.smooth:
        more += "\norder : {1, 2}, default 1\n    The second derivative is computed in float64 and rounded once to x's dtype."
    return f"""Derivative with respect to x: ``{definition.derivative_formula}``.

Parameters
----------
x : array_like
    As in ``fastact.{definition.name}``, and so is all else.{more}{_kink(definition)}

Returns
-------
array
    Of x's kind, shape and dtype.

Raises
------
{_RAISES}
"""


def _kink(definition: Definition) -> str:
    """The description of the option `kink`, where there is one."""
    if not definition.kinks:
        return ""
    at = "; ".join(f"at {x}: {left} and {right}" for x, (left, right) in definition.kinks.items())
    return f"""
kink : {{None, "left", "right"}}, optional
    The derivative where it jumps: its limit from the left or from the right ({at}). By default PyTorch's, where it has the function."""


def value_and_derivative(definition: Definition) -> str:
    """The docstring of an activation's value_and_derivative."""
    return f"""The value and the derivative in one pass over memory.

Parameters
----------
x : array_like
    As in ``fastact.{definition.name}``, and so is all else.
out : tuple of two arrays, optional
    Where the results go; None where to allocate.{_kink(definition)}

Returns
-------
y, d : array
    Of x's kind, shape and dtype.

Raises
------
{_RAISES}
"""


def backward_from_output(definition: Definition) -> str:
    """The docstring of an activation's backward_from_output."""
    limit = f", which must fulfil ``{definition.output_requires}``" if definition.output_requires else ""
    return f"""The chain rule from the output: ``grad * {definition.name}'(x)``, where ``y = {definition.name}(x)``.

Parameters
----------
grad, y : array_like
    Of the same shape and dtype.
...
    Parameters as in ``fastact.{definition.name}``{limit}; all else too.

Returns
-------
array
    Of y's kind, shape and dtype.

Raises
------
{_RAISES}
"""


def backward(definition: Definition) -> str:
    """The docstring of an activation's backward."""
    names = ["dx", *(f"d{name}" for name in definition.learnable)]
    gives = "array" if len(names) == 1 else "tuple of array"
    more = "" if len(names) == 1 else " A parameter's gradient has the parameter's shape; `out` is a tuple, None where to allocate."
    return f"""The chain rule in one pass over memory: ``grad * {definition.name}'(x)``.

Parameters
----------
grad, x : array_like
    Of the same shape and dtype; `grad` is the gradient with respect to the result.{_kink(definition)}
...
    All else as in ``fastact.{definition.name}``.

Returns
-------
{", ".join(names)} : {gives}
    Of x's kind and dtype.{more}

Raises
------
{_RAISES}
"""


#: Of row-wise functions: what each option is.
_ROW_OPTIONS = {
    "alpha": "alpha : float or array, default 1.5\n    At least 1; an array broadcasts to x's shape without `axis`.",
    "axis": "axis : int, tuple of int or None, default -1\n    The axes that a row runs along; None: all.",
    "seed": "seed : int\n    Of the noise, which depends on it and on an element's place alone.",
    "hard": "hard : bool, default False\n    Return the one-hot vector of the largest; its gradient is the soft one's (straight-through).",
    "where": "where : array_like of bool, optional\n    The elements that count; broadcasts to x. All others give {gone}.",
    "scale": "scale : float, default 1\n    Multiplies x.",
    "bias": "bias : array, optional\n    Added to ``scale * x``; of x's dtype, broadcasts to x.",
    "temperature": "temperature : float, default 1\n    Divides ``scale * x + bias``.",
    "causal": 'causal : {{False, True, "aligned"}}\n    Row i, along the axis before `axis`,'
    ' has elements 0 to i; with "aligned" the last row has all.',
    "lengths": "lengths : array_like of int, optional\n    How many leading elements each row has; broadcasts to x's shape without `axis`.",
    "all_masked": 'all_masked : {{"zero", "nan"}}, default "zero"\n    What a row gives in which no element counts: {gone}, or nan.',
    "sink": "sink : float or array, optional\n    A logit more, in the sum but not in the result (0: softmax off by one);"
    " broadcasts to x's shape without `axis`.",
    "return_lse": "return_lse : bool, default False\n    Return the logarithm of the sum of exponentials as well, one number a row.",
    "keepdims": "keepdims : bool, default False\n    Keep the axes as axes of one.",
}


def _row_parameters(function: Any, gone: str) -> str:
    given = {**function.positional, **function.options}
    return "\n".join(text.format(gone=gone) for name, text in _ROW_OPTIONS.items() if name in given)


def rowwise(definition: Definition, function: Any) -> str:
    """The docstring of a row-wise activation."""
    gone = "-inf" if definition.name == "log_softmax" else "0"
    seed = ", seed=0" if "seed" in function.options else ""
    ways = [
        "``backward(grad, x)`` computes the output anew"
        + (", ``backward_from_output(grad, y)`` takes it." if function.kind.from_output else ".")
    ]
    return _document(
        definition,
        f"``{definition.name}(x) = {definition.display}``, along one axis or several.",
        [_ARRAY.format(integers=_integers(definition)), _row_parameters(function, gone), _OPTIONS],
        [
            f"Gradient: ``{definition.derivative_formula}``.",
            *ways,
            "Accuracy: the exponential family within 4 ULP in float32 and float64, of what ``scale * x + bias`` is in that type, "
            "halves within 0.51 ULP; "
            "the sparse functions within a few units of the last place of 1.",
            "Stable whatever is added to a row. A row that holds nan, or for softmax inf or nothing but -inf, gives nan.",
            f"Source: {definition.source}.",
        ],
        f">>> fastact.{definition.name}(np.array([[2.0, 1.0, 0.0]]){seed}).shape\n{(1,) if function.kind.reduces else (1, 3)}",
        "one number a row" if function.kind.reduces else None,
    )


def rowwise_backward(definition: Definition, function: Any) -> str:
    """The docstring of a row-wise activation's backward."""
    return f"""The gradient from x: ``{definition.derivative_formula}``.

Parameters
----------
grad, x : array_like
    `grad` has the shape and dtype of the result.
...
    All else as in ``fastact.{definition.name}``, and given alike.

Returns
-------
dx : array, or tuple of arrays
    Like x. Where bias, sink or alpha are given, their gradients follow, in this order, each of its parameter's shape.

Raises
------
{_RAISES}
"""


def rowwise_backward_from_output(definition: Definition) -> str:
    """The docstring of a row-wise activation's backward_from_output."""
    return f"""The gradient from the output y: ``{definition.derivative_formula}``. The fast form.

Parameters
----------
grad, y : array_like
    Of the same shape and dtype.
...
    All else as in ``fastact.{definition.name}``, and given alike.

Returns
-------
dx : array, or tuple of arrays
    Like y; where alpha is a parameter, its gradient follows.

Raises
------
{_RAISES}
"""


def _document(definition: Definition, formula: str, parameters: list[str], notes: list[str], example: str, shape: str | None = None) -> str:
    listed, noted = "\n".join(parameters), "\n\n".join(notes)
    given = " with the default parameters" if definition.params and None not in definition.params.values() else ""
    return f"""{inspect.cleandoc(definition.doc)}

{formula}

Parameters
----------
{listed}

Returns
-------
array
    Of x's kind and dtype, {shape or "and x's shape"}, with values in {definition.value_range}{given}.

Raises
------
{_RAISES}

Notes
-----
{noted}

Examples
--------
>>> import numpy as np, fastact
{example}
"""
