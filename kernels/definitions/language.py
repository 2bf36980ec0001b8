"""The language that definitions are written in, and what it means in plain Python.

A definition is a pure scalar function. `lower.py` turns its text into C++ and Numba; this module makes the same text run as
ordinary Python on ``numpy.float32`` and ``numpy.float64`` scalars, with the same bits, so that it can be read, tried and tested.

The language: ``+ - * /`` and unary minus, comparisons, conditional expressions (both sides are computed: they become a select),
single-assignment locals, tuples returned and unpacked, calls to other definitions and to the functions of this module; on the
integers that ``bits`` gives, also ``+``, ``&`` and shifts, to the right only of numbers that are not negative.
``min(a, b)`` and ``max(a, b)`` mean Python's own: ``max(a, b)`` is ``b if b > a else a``, so a NaN in ``a`` stays.

A literal has the working type. In plain Python that comes about where it meets a NumPy number, in arithmetic by NumPy's rules,
otherwise in the functions of this module and at every call and return of a definition.

There are three working types: float32, float64, and "wide", which is float64 for results in float32 (accuracy "precise"). Wide takes the
bodies of float32, whose arithmetic is exact enough in float64, the constants of float64 (of X_64 that X_WIDE, where there is one), and the
third set of coefficients of every polynomial. A value gets a wide loop if all its polynomials have that set, else it runs as float64.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Cost classes, cheapest first: the arithmetic of one element, which decides where more threads pay.
COSTS = ("move", "exp", "erf")
MONOTONICITIES = ("increasing", "decreasing", "constant", "none")  #: not strictly
#: How often the function can be differentiated, continuously.
CONTINUITIES = ("discontinuous", "C0", "C1", "C2", "smooth")
#: ULP of derivatives in float32, accuracy "fast".
DERIVATIVE_BOUND = 4.0


# ---------------------------------------------------------------- the functions a definition may call


def working_type(*args: Any) -> Any:
    """The NumPy float type among `args`, which all NumPy numbers share; float64 if there are only literals."""
    return next((type(a) for a in args if isinstance(a, np.floating)), np.float64)


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""
    kind = working_type(a, b, c)
    a, b, c = float(kind(a)), float(kind(b)), float(kind(c))
    (m, i), (n, j), (o, k) = _integer(a), _integer(b), _integer(c)
    if m is None or n is None or o is None:
        return kind(a * b + c)
    unit = builtins.min(i + j, k)
    total = (m * n << (i + j - unit)) + (o << (k - unit))
    if total == 0:  # the sign of a zero sum follows IEEE, which integers do not know
        return kind(0.0) if m and n else kind(a * b + c)
    return _round(total, unit, kind)


def _integer(v: float) -> tuple[int | None, int]:
    """(m, k) with v = m * 2^k; m is None if `v` is not finite."""
    fraction, exponent = math.frexp(v)
    return (int(fraction * 2.0**53), exponent - 53) if math.isfinite(v) else (None, 0)


def _round(m: int, k: int, kind: Any) -> Any:
    """The `kind` nearest to m * 2^k, which is not 0: ties to even, subnormals and overflow as IEEE has them."""
    digits, lowest, largest = (24, -149, 127) if kind is np.float32 else (53, -1074, 1023)
    sign, m = (-1.0, -m) if m < 0 else (1.0, m)
    drop = builtins.max(k + m.bit_length() - digits, lowest) - k
    if drop > 0:
        half = 1 << (drop - 1)
        m, k = (m + half - 1 + (m >> drop & 1)) >> drop, k + drop
    return kind(sign * (math.ldexp(m, k) if m.bit_length() + k - 1 <= largest else math.inf))


def min(a: Any, b: Any) -> Any:
    """`b` if it is less than `a`, else `a`."""
    return working_type(a, b)(b if b < a else a)


def max(a: Any, b: Any) -> Any:
    """`b` if it is greater than `a`, else `a`."""
    return working_type(a, b)(b if b > a else a)


def sqrt(x: Any) -> Any:
    """The square root, correctly rounded; NaN below zero."""
    return np.sqrt(x)


def copysign(magnitude: Any, sign: Any) -> Any:
    """`magnitude` with the sign of `sign`."""
    kind = working_type(magnitude, sign)
    return np.copysign(kind(magnitude), kind(sign))


def bits(x: Any) -> Any:
    """The bit pattern of a float, as a signed integer of the same width."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


def from_bits(i: Any) -> Any:
    """The float with the bit pattern `i`."""
    return i.view(np.float32 if i.dtype == np.int32 else np.float64)


def pick(like: Any, float32: Any, float64: Any) -> Any:
    """A constant that depends on the working type: the type of `like`. Integers stay integers."""
    chosen, kind, whole = (float32, np.float32, np.int32) if type(like) is np.float32 else (float64, np.float64, np.int64)
    return whole(chosen) if isinstance(chosen, int) else kind(chosen)


def poly(x: Any, float32: tuple[float, ...], float64: tuple[float, ...], wide: tuple[float, ...] = ()) -> Any:
    """A polynomial in `x` by Horner's rule with fma; coefficients in ascending powers, one set for each working type.

    `wide` is for float64 whose results are rounded to float32: accuracy "precise".
    """
    coefficients = float32 if type(x) is np.float32 else float64
    result: Any = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        result = fma(result, x, c)
    return result


# ---------------------------------------------------------------- definitions


class Primitive:
    """A scalar function in the language; it may have a body of its own for float64.

    Called from Python it works in the type of its first NumPy argument, float64 if there is none, and warns of nothing.
    """

    def __init__(self, body: Callable[..., Any]) -> None:
        self._bodies: dict[Any, Callable[..., Any]] = {np.float32: body, np.float64: body}
        self.__name__, self.__doc__ = body.__name__, body.__doc__

    def float64(self, body: Callable[..., Any]) -> Primitive:
        """Decorator: the body used when the working type is float64."""
        self._bodies[np.float64] = body
        return self

    def wide(self, body: Callable[..., Any]) -> Primitive:
        """Decorator: the body used where float32 is computed in float64; by default that of float32. Plain Python does not use it."""
        return self

    def brief(self, body: Callable[..., Any]) -> Primitive:
        """Decorator: the body used for halves on CUDA, shorter where a half does not show what float32 carries; by default that of float32.

        Plain Python does not use it. All 65,536 inputs are tried: ``fastact/backends/halves.py``.
        """
        return self

    def __call__(self, *args: Any) -> Any:
        kind = working_type(*args)
        with np.errstate(all="ignore"):
            result = self._bodies[kind](*map(kind, args))
            return tuple(map(kind, result)) if isinstance(result, tuple) else kind(result)


primitive = Primitive

#: The primitives that are functions of mathematics in their own right; tests judge each of them.
ELEMENTARY: dict[str, Primitive] = {}


def elementary(body: Callable[..., Any]) -> Primitive:
    """A primitive of one argument that gets a loop of its own, so that tests can judge it."""
    ELEMENTARY[body.__name__] = Primitive(body)
    return ELEMENTARY[body.__name__]


@dataclass(eq=False)
class Definition:
    """An activation: its mathematics by role, and every fact that tests, docs and dispatch need to know."""

    name: str
    doc: str
    family: str  #: "elementwise", "rowwise", or "loss": of x and a label, with the derivative with respect to x
    params: dict[str, float | None]  #: defaults in declared order; None: required
    aliases: tuple[str, ...]
    cost: str
    learnable: tuple[str, ...]
    formula: str  #: executable: the truth
    display: str  #: the same as people write it, without what only keeps a computer from harm; `formula` itself by default
    derivative_formula: str
    value_range: str
    limits: dict[float, float]  #: the documented value at special inputs, default parameters
    roots: dict[str, tuple[float, ...]]  #: by role: next to these the error bound is absolute
    integers: bool  #: True: integer arrays stay integers
    source: str
    monotonicity: str  #: one of MONOTONICITIES, default parameters
    continuity: str  #: one of CONTINUITIES, default parameters
    kinks: dict[
        str, tuple[str, str]
    ]  #: where the derivative jumps -> its limits from the left and the right, expressions in the parameters
    lipschitz: float  #: the largest magnitude of the derivative, default parameters; inf if there is none
    bound: float  #: ULP of the value in float32, accuracy "fast"; derivatives have DERIVATIVE_BOUND
    reach: dict[str, float]  #: by type: the largest magnitude of x for which the bounds hold; everywhere if it is not named
    examples: tuple[tuple[float, ...], ...]  #: parameters that tests try; the first where one has no default
    slopes: tuple[str, ...]  #: the two values of the derivative, if there are no others, expressions in the parameters
    randomized: str  #: the function whose parameter is drawn between this one's two when training; empty: none
    output_requires: str  #: what parameters must fulfil for the derivative to follow from the output, an expression; empty: nothing
    roles: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        return self.roles["value"](*args)

    def float64(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the body of the value used when the working type is float64."""
        self.roles["value"].float64(body)  # type: ignore[attr-defined]
        return self

    def derivative(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the derivative with respect to x."""
        self.roles["derivative"] = Primitive(body)
        return self

    def derivative_brief(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the body of the derivative used for halves on CUDA. Plain Python does not use it."""
        return self

    def second_derivative(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the second derivative with respect to x. It is always computed in float64."""
        self.roles["second_derivative"] = Primitive(body)
        return self

    def derivative_from_output(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the derivative as a function of the output and the parameters, where it follows from them exactly."""
        self.roles["derivative_from_output"] = Primitive(body)
        return self

    @property
    def smooth(self) -> bool:
        """Whether there is a second derivative everywhere."""
        return "second_derivative" in self.roles

    def gradient(self, parameter: str) -> Callable[[Callable[..., Any]], Definition]:
        """Decorator: the derivative with respect to a learnable parameter."""

        def add(body: Callable[..., Any]) -> Definition:
            self.roles[f"gradient_{parameter}"] = Primitive(body)
            return self

        return add

    def gradients(self, body: Callable[..., Any]) -> Definition:
        """Decorator: the derivatives with respect to all learnable parameters, in their order, as one tuple."""

        @functools.lru_cache(maxsize=4096)
        def of_bits(kind: Any, *args: bytes) -> Any:
            return body(*(np.frombuffer(a, kind)[0] for a in args))

        def one(i: int) -> Callable[..., Any]:
            def gradient(*args: Any) -> Any:
                return of_bits(working_type(*args), *(a.tobytes() for a in args))[i]

            return gradient

        self.roles |= {f"gradient_{parameter}": Primitive(one(i)) for i, parameter in enumerate(self.learnable)}
        return self


def sixth(slope: Any) -> Any:
    """1/6 for a slope that is 1/6 rounded to one of the float types (hard_sigmoid and hard_silu take it for that), else the slope."""
    return np.where(np.isin(slope, (1 / 6, 0.1666666716337204, 0.1666259765625, 0.1669921875)), 1 / 6, slope)[()]


def evaluate(expression: str, params: Mapping[str, Any]) -> Any:
    """An expression of `kinks` or `output_requires`, in parameters that are numbers, or arrays of one shape."""
    names = {"__builtins__": {}, "min": builtins.min, "max": builtins.max, "abs": abs, "expm1": np.expm1, "sixth": sixth, "inf": math.inf}
    with np.errstate(all="ignore"):
        typed = {n: np.float64(p) if isinstance(p, (int, float)) else p for n, p in params.items()}  # which divide by 0
        try:
            return eval(expression, names, typed)
        except ValueError:  # a condition on arrays: one element at a time
            each = np.vectorize(lambda *values: eval(expression, names, dict(zip(params, values, strict=True))), otypes=[np.float64])
            return each(*(np.asarray(p, np.float64) for p in params.values()))


#: Every activation by name, in the order of definition. Filled by the decorator.
DEFINITIONS: dict[str, Definition] = {}
#: Every elementwise loss by name; their functions take ``(x, t, *params)``, with t the label.
LOSSES: dict[str, Definition] = {}


def activation(
    *,
    formula: str,
    display: str = "",
    derivative_formula: str = "",
    value_range: str,
    cost: str,
    family: str = "elementwise",
    params: dict[str, float | None] | None = None,
    aliases: tuple[str, ...] = (),
    learnable: tuple[str, ...] = (),
    limits: dict[float, float] | None = None,
    roots: dict[str, tuple[float, ...]] | None = None,
    integers: bool = False,
    source: str = "",
    monotonicity: str = "none",
    continuity: str = "smooth",
    kinks: dict[str, tuple[str, str]] | None = None,
    lipschitz: float = math.inf,
    bound: float = 4.0,
    reach: dict[str, float] | None = None,
    examples: tuple[tuple[float, ...], ...] = (),
    slopes: tuple[str, ...] = (),
    randomized: str = "",
    output_requires: str = "",
) -> Callable[[Callable[..., Any]], Definition]:
    """Register the decorated function as an activation's value.

    The build reads `family`, `params` and `learnable` as text: they must be literals. `formula` is Python in the vocabulary of
    ``fastact/verify/truth.py``: evaluated with enough digits it is the truth that kernels and oracle are judged by.
    """

    for argument, given, known in (
        ("cost", cost, COSTS),
        ("monotonicity", monotonicity, MONOTONICITIES),
        ("continuity", continuity, CONTINUITIES),
    ):
        if given not in known:
            raise ValueError(f"{argument}={given!r} is none of {', '.join(known)}")

    def register(body: Callable[..., Any]) -> Definition:
        definition = Definition(
            body.__name__, body.__doc__ or "", family, dict(params or {}), aliases, cost, learnable, formula, display or formula,
            derivative_formula, value_range, dict(limits or {}), dict(roots or {}), integers, source,
            monotonicity, continuity, dict(kinks or {}), lipschitz, bound, dict(reach or {}), examples, slopes, randomized, output_requires,
            {"value": body if family == "rowwise" else Primitive(body)},
        )  # fmt: skip
        (LOSSES if family == "loss" else DEFINITIONS)[definition.name] = definition
        return definition

    return register
