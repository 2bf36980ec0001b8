"""Gated functions: ``activation(gate) * other``, of one array that is split or of two, with all that models put around it.

`gated` makes one of any activation; those that have names of their own are in `GATED`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from . import arrays, dispatch, registry
from .activation import ACTIVATIONS, ALIASES, Activation, _see_bfloat16, count_call
from .arrays import common
from .kernels.cpu import compiled
from .kernels.definitions.language import COSTS
from .product import Factor, Product

LAYOUTS = ("halves", "interleaved")
PLACES = ("first", "second")


#: What `Gated._quick` serves.
_QUICK = {np.dtype("float32"): "float32", np.dtype("float64"): "float64"}


class Gated:
    """A gated function: the product of two halves, one of which, the gate, has gone through an activation.

    Made by `gated`; see there for what it does.
    """

    def __init__(
        self,
        functions: tuple[Activation, Activation],
        gate: str,
        name: str = "",
        *,
        aliases: Sequence[str] = (),
        users: str = "",
        defaults: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        #: The activations of the first and of the second half; identity where there is none.
        self.functions = functions
        #: Which half is the gate: "first" or "second".
        self.gate = gate
        self.aliases, self.users = tuple(aliases), users
        own = functions[PLACES.index(gate)]
        self.__name__ = self.__qualname__ = name or f"gated({own.__name__!r}{'' if gate == 'first' else ', gate=' + repr(gate)})"
        self.__module__ = "fastact"
        self._named = bool(name)
        self._options = {"axis": -1, "layout": "halves", "bias": None, "weight": None, "limit": None, "offset": 0.0, **defaults}
        self._common = {"out": None, "backend": None, "accuracy": None}
        taken = {"a", "b", *self._options, *self._common}
        declared = {n: d for f in functions for n, d in f.definition.params.items()}
        self._params = {n: d for n, d in declared.items() if n not in taken}
        #: Parameters of the activation that are called like an argument: they have their defaults, see `with_defaults`.
        self._fixed = {n: d for n, d in declared.items() if n in taken}
        #: The parameters of the activation whose gradients `backward` returns, last.
        self.learnable = tuple(n for f in functions for n in f.learnable)
        self.cost = max((f.definition.cost for f in functions), key=COSTS.index)
        #: Whether a call may be served by `_quick`: no parameters, and nothing done before or after.
        self._plain = (
            not declared and self._options["limit"] is None and self._options["layout"] == "halves" and not self._options["offset"]
        )
        P = inspect.Parameter
        options = {**self._options, **self._common, **self._params}
        self.__signature__ = inspect.Signature(
            [
                P("a", P.POSITIONAL_OR_KEYWORD),
                P("b", P.POSITIONAL_OR_KEYWORD, default=None),
                *(P(n, P.KEYWORD_ONLY, default=P.empty if n in self._params and d is None else d) for n, d in options.items()),
            ]
        )
        self.__doc__ = _doc(self)

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> Any:
        if self._named:
            return _find, (self.__name__,)
        return _remake, (self.functions[PLACES.index(self.gate)], self.gate)

    def __copy__(self) -> Gated:
        return self

    def __deepcopy__(self, memo: Any) -> Gated:
        return self

    @property
    def formula(self) -> str:
        """The function of the halves a and b, in the order in which they lie in memory."""
        a, b = (n if f.__name__ == "identity" else f"{f.__name__}({n})" for f, n in zip(self.functions, "ab", strict=True))
        limit, offset = self._options["limit"], self._options["offset"]
        if limit is None:
            return f"{a} * {b}"
        gate, other = ("a", "b") if self.gate == "first" else ("b", "a")
        clamped = {gate: f"min({gate}, {limit:g})", other: f"clip({other}, -{limit:g}, {limit:g})"}
        parts = {
            n: clamped[n] if f.__name__ == "identity" else f"{f.__name__}({clamped[n]})" for f, n in zip(self.functions, "ab", strict=True)
        }
        if offset:
            parts[other] = f"({parts[other]} + {offset:g})"
        return f"{parts['a']} * {parts['b']}"

    @arrays.takes_tensors
    def __call__(self, a: Any, b: Any = None, **options: Any) -> Any:
        if self._plain and (not options or (len(options) == 1 and "out" in options)):
            result = self._quick(a, b, options.get("out"))
            if result is not None:
                return result
        return _Call(self, self.__name__, a, b, options).forward()

    def _quick(self, a: Any, b: Any, out: Any) -> Any:
        """The value of plain arrays; None where more has to be looked at."""
        if type(a) is not np.ndarray or not a.flags.c_contiguous or not a.flags.aligned or not a.ndim or out is a or out is b:
            return None
        kind = _QUICK.get(a.dtype)
        if kind is None or dispatch.named_backend(None) is not None or dispatch.named_accuracy(None) != "fast":
            return None
        if b is None:
            n = a.shape[-1] // 2
            if a.shape[-1] % 2:
                return None
            first, second = a[..., :n], a[..., n:]
        else:
            if type(b) is not np.ndarray or b.dtype is not a.dtype or b.shape != a.shape or not b.flags.c_contiguous or not b.flags.aligned:
                return None
            first, second = a, b
        threads = compiled.threads_of(COSTS.index(self.cost), kind, first.size)
        if not first.size or not threads:
            return None
        if out is None:
            result = compiled.empty(first.shape, a.dtype)
        else:
            result = out
            if type(out) is not np.ndarray or out.dtype is not a.dtype or out.shape != first.shape or not out.flags.carray:
                return None
            if np.may_share_memory(a, out) or (b is not None and np.may_share_memory(b, out)):
                return None
        job = compiled.Pipeline("forward", kind, kind == "float64", first.shape)
        for f, x in zip(self.functions, (first, second), strict=True):
            name = f.definition.name
            job.factor(None if name == "identity" else name, x)
        job.product(result)
        if not job.ready():
            return None
        job.run(threads)
        count_call("cython")
        return result

    @arrays.takes_tensors
    def backward(self, grad: Any, a: Any, b: Any = None, **options: Any) -> Any:
        """The gradients, from that of the result and the same arguments as the call.

        Parameters
        ----------
        grad : array_like
            Of the result's shape.
        a, b : array_like
            As in the call.
        **options
            As in the call. `out` takes the gradient of one array, or is a tuple of two; it may be the arrays themselves.

        Returns
        -------
        array or tuple
            The gradient with respect to `a`, of one array; of two arrays both. Where they are given, those of `bias` and of `weight`
            follow, and those of learnable parameters of the activation, each of the shape of what it belongs to.

        Examples
        --------
        >>> import numpy as np, fastact
        >>> fastact.swiglu.backward(np.ones(1), np.array([0.0, 3.0]))
        array([1.5, 0. ])
        """
        return _Call(self, f"{self.__name__}.backward", a, b, options).backward(grad)


class _Call:
    """The arguments of a call, checked."""

    def __init__(self, function: Gated, label: str, a: Any, b: Any, options: dict[str, Any]) -> None:
        self.function, self.label = function, label
        known = {**function._options, **function._common, **function._params}
        for name in options:
            if name not in known:
                raise TypeError(f"{label}() got an unexpected keyword argument {name!r}; it takes {', '.join(['a', 'b', *known])}")
        for name, default in function._params.items():
            if default is None and options.get(name) is None:
                raise TypeError(f"{label}() missing required parameter {name!r}")
        self.given = bound = {**known, **options}
        self.params = {**bound, **function._fixed}
        if bound["layout"] not in LAYOUTS:
            raise ValueError(f"{label}: layout must be one of {', '.join(map(repr, LAYOUTS))}, not {bound['layout']!r}")
        outs = bound["out"] if isinstance(bound["out"], tuple) else (bound["out"],)
        bias = bound["bias"] if isinstance(bound["bias"], tuple) else (bound["bias"],)
        self.module = arrays.only()
        if self.module is None:
            named = {"a": a, "b": b, "weight": bound["weight"], **{n: bound[n] for n in function._params}}
            named |= {f"out[{i}]": o for i, o in enumerate(outs)} | {f"bias[{i}]": o for i, o in enumerate(bias)}
            self.module = arrays.of({n: v for n, v in named.items() if v is not None})
        self.inputs = [self.array("a", a)] if b is None else [self.array("a", a), self.array("b", b)]
        x = self.inputs[0]
        self.dtype = x.dtype
        _see_bfloat16(x.dtype)
        if x.ndim == 0:
            raise ValueError(f"{label}: a has no axes; {'there is nothing to split' if b is None else 'it must have one or more'}")
        if len(self.inputs) == 2:
            other = self.inputs[1]
            if common.kind_of(other.dtype) != common.kind_of(x.dtype):
                raise TypeError(f"{label}: b has dtype {other.dtype}, but a has {x.dtype}; they must be the same")
            if other.shape != x.shape:
                raise ValueError(f"{label}: b has shape {other.shape}, but a has {x.shape}; they must be the same")
        self.axis = axis = common.position(label, bound["axis"], x.ndim)
        if b is None and x.shape[axis] % 2:
            raise ValueError(f"{label}: a has {x.shape[axis]} elements on axis {axis}, which cannot be split in half")
        self.shape = tuple(n // 2 if b is None and i == axis else n for i, n in enumerate(x.shape))
        self.kind = common.kind_of(x.dtype)
        self.wide = dispatch.named_accuracy(bound["accuracy"]) == "precise" or self.kind == "float64"
        self.limit, self.offset = self.number("limit", bound["limit"]), self.number("offset", bound["offset"])
        if self.limit is not None and not self.limit >= 0:
            raise ValueError(f"{label}: limit must be a number from 0 on, not {bound['limit']!r}")
        self.bias = self.biases(bound["bias"])
        self.weight = self.weights(bound["weight"])

    def array(self, name: str, value: Any) -> Any:
        x = self.module.asarray(value)
        if x.dtype.kind in "iu":
            return x.astype("float64")
        if common.kind_of(x.dtype) in common.KINDS or (x.dtype.kind == "f" and x.dtype.itemsize > 8):
            return x
        raise TypeError(f"{self.label}: {name} has dtype {x.dtype}; accepted are {common.ACCEPTED}")

    def number(self, name: str, value: Any) -> float | None:
        if value is None and name == "limit":
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise TypeError(f"{self.label}: {name} must be a number, not {value!r}")
        return float(value)

    def beside(self, name: str, value: Any) -> Any:
        """An array next to x, of its dtype; what has none of its own takes it."""
        array = self.module.asarray(value if hasattr(value, "dtype") else np.asarray(value, self.dtype))
        if common.kind_of(array.dtype) != common.kind_of(self.dtype):
            raise TypeError(f"{self.label}: {name} has dtype {array.dtype}, but a has {self.dtype}; they must be the same")
        return array

    def halves(self, x: Any, axis: int) -> tuple[Any, Any]:
        """The halves along an axis: views."""
        before = (slice(None),) * axis
        if self.given["layout"] == "interleaved":
            return x[(*before, slice(0, None, 2))], x[(*before, slice(1, None, 2))]
        middle = x.shape[axis] // 2
        return x[(*before, slice(None, middle))], x[(*before, slice(middle, None))]

    def biases(self, bias: Any) -> tuple[Any, Any]:
        if bias is None:
            return None, None
        found: Sequence[Any]
        d = self.shape[self.axis]
        if len(self.inputs) == 1:
            array = self.beside("bias", bias)
            if array.shape != (2 * d,):
                raise ValueError(f"{self.label}: bias has shape {array.shape}, but a has {2 * d} elements on axis {self.axis}: ({2 * d},)")
            found = self.halves(array, 0)
        else:
            pair = bias if isinstance(bias, tuple) and len(bias) == 2 else self.beside("bias", bias)
            if not isinstance(pair, tuple) and (pair.ndim != 2 or pair.shape[0] != 2):
                raise ValueError(f"{self.label}: bias has shape {pair.shape}; for two arrays it is (2, {d}), or a tuple of two")
            found = tuple(None if one is None else self.beside(f"bias[{i}]", one) for i, one in enumerate(pair))
            for i, one in enumerate(found):
                if one is not None and one.shape != (d,):
                    raise ValueError(f"{self.label}: bias[{i}] has shape {one.shape}, but there are {d} elements on axis {self.axis}")
        return tuple(None if one is None else one.reshape(self.bias_shape) for one in found)  # type: ignore[return-value]

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.shape[self.axis],) + (1,) * (len(self.shape) - 1 - self.axis)

    def weights(self, weight: Any) -> Any:
        """One for each row: x's shape without the axis, or what broadcasts to it."""
        if weight is None:
            return None
        array = self.beside("weight", weight)
        rows = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        if not common.broadcasts(array.shape, rows):
            raise ValueError(f"{self.label}: weight has shape {array.shape}, which does not broadcast to the rows' shape {rows}")
        array = array.reshape((1,) * (len(rows) - array.ndim) + tuple(array.shape))
        return array.reshape((*array.shape[: self.axis], 1, *array.shape[self.axis :]))

    def factors(self, halves: Sequence[Any]) -> list[Factor]:
        found = []
        for place, f, x, bias in zip(PLACES, self.function.functions, halves, self.bias, strict=True):
            params = [common.parameter(self.label, n, self.params[n], x, None, self.module.asarray) for n in f.definition.params]
            gate = place == self.function.gate
            limit = math.inf if self.limit is None else self.limit
            name = None if f.definition.name == "identity" else f.definition.name
            factor = Factor(name, x, params, bias, -math.inf if gate else -limit, limit)
            if not gate:
                factor.offset = self.offset or 0.0
            found.append(factor)
        return found

    def serve(self, call: Product) -> None:
        if 0 in self.shape:
            wanted = [s for f in call.factors for s in (f.bias_shape, *f.param_shapes) if s is not None]
            wanted += [] if call.weight_shape is None else [call.weight_shape]
            call.sums = [self.module.library().zeros(s) for s in wanted]
            return

        def run(backend: registry.Backend) -> None:
            self.module.run_product(backend, call)

        size = math.prod(self.shape)
        served, _ = dispatch.serve(self.module.NAME, self.kind, size, self.function.cost, self.given["backend"], run)
        count_call(served)

    def new(self, shape: tuple[int, ...]) -> Any:
        return self.module.new(shape, self.dtype)

    def target(self, argument: str, out: Any, shape: tuple[int, ...], read: list[Any]) -> Any:
        """`out`, or a new array; of what is read, that which overlaps `out` without being it becomes a copy."""
        if out is None:
            return self.new(shape)
        common.check_out(self.label, out, shape, self.dtype, self.module.owns, argument)
        plain = self.module.asarray(out)
        for i, a in enumerate(read):
            if a is not None:
                read[i] = self.module.apart(a, plain)
        return plain

    def forward(self) -> Any:
        (out,) = common.outputs(self.label, self.given["out"], 1)
        read = [*self.inputs, *self.bias, self.weight]
        if out is not None and len(self.inputs) == 1:  # the result lies over one half: none of it may be read afterwards
            read[:1] = [a.copy() if self.module.overlap(a, out) else a for a in read[:1]]
        target = self.target("out", out, self.shape, read)
        self.inputs, self.bias, self.weight = read[: len(self.inputs)], (read[-3], read[-2]), read[-1]
        halves = self.halves(self.inputs[0], self.axis) if len(self.inputs) == 1 else self.inputs
        call = Product("forward", self.kind, self.wide, self.shape, self.factors(halves), out=target, weight=self.weight)
        self.serve(call)
        return target if out is None else out

    def backward(self, grad: Any) -> Any:
        g = self.module.asarray(grad if hasattr(grad, "dtype") else np.asarray(grad, self.dtype))
        if g.dtype.kind in "iu":
            g = g.astype("float64")
        if common.kind_of(g.dtype) != self.kind:
            raise TypeError(f"{self.label}: grad has dtype {g.dtype}, but a has {self.dtype}; they must be the same")
        if g.shape != self.shape:
            raise ValueError(f"{self.label}: grad has shape {g.shape}, but the result has {self.shape}; they must be the same")
        outs = common.outputs(self.label, self.given["out"], len(self.inputs))
        if len(outs) > 1:
            self.module.check_apart(self.label, outs)
        read = [g, *self.inputs, *self.bias, self.weight]
        targets = []
        for i, (out, x) in enumerate(zip(outs, list(self.inputs), strict=True)):
            if out is not None and len(outs) == 1 and self.module.overlap(g, out):
                read[0] = g.copy()
            targets.append(self.target("out" if len(outs) == 1 else f"out[{i}]", out, tuple(x.shape), read))
        g, self.inputs, self.bias, self.weight = read[0], read[1:-3], (read[-3], read[-2]), read[-1]
        one = len(self.inputs) == 1
        factors = self.factors(self.halves(self.inputs[0], self.axis) if one else self.inputs)
        results = self.halves(targets[0], self.axis) if one else targets
        for f, result, function in zip(factors, results, self.function.functions, strict=True):
            f.dx = result
            f.bias_shape = None if f.bias is None else self.bias_shape
            f.param_shapes = [tuple(np.shape(self.params[n])) for n in function.learnable]
        weight_shape = None if self.weight is None else tuple(self.weight.shape)
        call = Product(
            "backward", self.kind, self.wide, self.shape, factors, grad=g, weight=self.weight, weight_shape=weight_shape
        )  # fmt: skip
        self.serve(call)
        found = [t if out is None else out for t, out in zip(targets, outs, strict=True)]
        return self.results(found, factors, iter(call.sums))

    def results(self, found: list[Any], factors: list[Factor], sums: Any) -> Any:
        """The gradients of the arrays, with those of bias, weight and parameters after them."""
        biases: list[Any] = []
        learned: list[Any] = []
        for f in factors:
            biases.append(next(sums).reshape(-1) if f.bias_shape is not None else None)
            learned += [next(sums) for _ in f.param_shapes]

        def rounded(a: Any) -> Any:
            with np.errstate(all="ignore"):
                return a.astype(self.dtype.newbyteorder("="))

        bias, library = self.given["bias"], self.module.library()
        if bias is not None:
            if len(self.inputs) == 1:
                both = library.empty(2 * biases[0].size)
                for half, part in zip(self.halves(both, 0), biases, strict=True):
                    half[...] = part
                found.append(rounded(both))
            elif isinstance(bias, tuple):
                found.append(tuple(None if b is None else rounded(b) for b in biases))
            else:
                found.append(rounded(library.stack(biases)))
        if self.weight is not None:
            found.append(rounded(next(sums)).reshape(np.shape(self.given["weight"])))
        found += [rounded(a)[()] for a in learned]
        return found[0] if len(found) == 1 else tuple(found)


_COMMON_DOC = """
    Parameters
    ----------
    a : array_like
        Both halves, side by side on `axis`; or the first half, where `b` is given. Integers become float64.
    b : array_like, optional
        The second half, of a's shape and dtype.
    axis : int, default -1
        The axis that is split, on which a bias lies, and of which a row consists.
    layout : {"halves", "interleaved"}
        How the halves of one array lie on the axis: one after the other, or taking turns (``a[..., ::2]``, ``a[..., 1::2]``).
    bias : array_like, optional
        Added first: as many numbers as `a` has on `axis`, in its order; for two arrays a pair of such, or an array of shape (2, n).
    weight : array_like, optional
        One for each row: of the shape of the result without `axis`, or what broadcasts to it. Multiplies the result.
    limit : float, optional
        Clamps the gate to at most this, and the other half to between minus this and this; slopes at the edges are those inside.
    offset : float
        Added to the other half, after clamping.
    out : array, optional
        Where the result goes. Overlapping arrays are right: what has to be copied is.
    backend, accuracy : str, optional
        As for activations.
    **params
        The activation's own parameters: numbers, or arrays that broadcast to one half. One that is called like an argument here (`offset`
        of hard_sigmoid) is set by ``gated(activation.with_defaults(...))``.

    Returns
    -------
    array
        Of the shape of one half, in C order.

    Raises
    ------
    ValueError
        If the axis has an odd number of elements, or shapes do not agree.
    TypeError
        If dtypes differ, or are not those of real numbers.

    Notes
    -----
    ``backward(grad, a, b=None, **options)`` gives the gradients with respect to the array (or both), bias, weight and learnable
    parameters, in this order. Arrays may have any strides and are read in place; they are copied only if they are misaligned, byte-swapped,
    or lie so differently that three dimensions do not hold them.
"""


def _doc(function: Gated) -> str:
    learned = f" Gradients of {', '.join(function.learnable)} follow in `backward`." if function.learnable else ""
    aliases = f" Also called {', '.join(function.aliases)}." if function.aliases else ""
    return (
        f"``{function.formula}`` of the halves a and b, in the order in which they lie in memory; the {function.gate} half is the gate."
        f"{learned}{aliases}\n{_COMMON_DOC}"
    )


_made: dict[tuple[Any, str], Gated] = {}


def find_activation(label: str, activation: Any) -> Activation:
    """An elementwise activation, itself or by any of its names."""
    found = activation
    if isinstance(activation, str):
        found = ACTIVATIONS.get(activation) or ALIASES.get(activation)
        if found is None:
            from .names import get

            found = get(activation)
    if not isinstance(found, Activation):
        raise TypeError(f"{label}: activation must be an elementwise activation or its name, not {activation!r}")
    return found


def gated(activation: Any, *, gate: str = "first") -> Gated:
    """Make a gated function of an activation.

    Parameters
    ----------
    activation : Activation or str
        What the gate goes through: any of fastact's elementwise functions, with other defaults too, or its name.
    gate : {"first", "second"}
        Which half is the gate, in the order in which the halves lie in memory.

    Returns
    -------
    Gated
        Called as ``f(a)`` or ``f(a, b)``; it has ``backward``. The same object for the same arguments.

    Raises
    ------
    ValueError
        If there is no such activation, or no such half.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> f = fastact.gated("mish", gate="second")
    >>> f(np.array([2.0, 0.0]))
    array([0.])
    >>> f(np.array([[2.0]]), np.array([[0.0]]), axis=0, weight=np.array([3.0]))
    array([[0.]])
    """
    found = find_activation("gated", activation)
    if not isinstance(gate, str) or gate not in PLACES:
        raise ValueError(f"gated: gate must be one of {', '.join(map(repr, PLACES))}, not {gate!r}")
    key = found, gate
    if key not in _made:
        other = ACTIVATIONS["identity"]
        _made[key] = Gated((found, other) if gate == "first" else (other, found), gate)
    return _made[key]


def _remake(activation: Any, gate: str) -> Gated:
    return gated(activation, gate=gate)


def _named(name: str, first: str, second: str, gate: str, users: str, *aliases: str, **defaults: Any) -> Gated | None:
    if not {first, second} <= set(ACTIVATIONS):  # a build of some definitions only
        return None
    return Gated((ACTIVATIONS[first], ACTIVATIONS[second]), gate, name, aliases=aliases, users=users, defaults=defaults)


_ALL = [
    _named("glu", "identity", "sigmoid", "second", "PyTorch, JAX, Keras, MLX, timm (gate_last)"),
    _named("swiglu", "silu", "identity", "first", "vLLM, FlashInfer, TransformerEngine, Liger, ggml, Paddle, Megatron", "silu_and_mul"),
    _named("mul_and_silu", "identity", "silu", "second", "vLLM"),
    _named("geglu", "gelu", "identity", "first", "vLLM, TransformerEngine, ggml (GEGLU_ERF)", "gelu_and_mul", "geglu_erf"),
    _named("geglu_tanh", "gelu_tanh", "identity", "first", "vLLM, Liger, ggml (GEGLU), Megatron", "gelu_tanh_and_mul"),
    _named("quick_geglu", "quick_gelu", "identity", "first", "ggml, TransformerEngine, Megatron", "qgeglu", "geglu_quick"),
    _named("reglu", "relu", "identity", "first", "TransformerEngine, ggml"),
    _named("sreglu", "relu_squared", "identity", "first", "TransformerEngine"),
    _named("bilinear", "identity", "identity", "first", "Shazeer (2020)"),
    _named("gtu", "tanh", "sigmoid", "second", "WaveNet; Dauphin et al. (2017)"),
    _named(
        "swiglu_oai", "quick_gelu", "identity", "first", "gpt-oss, vLLM; TransformerEngine with layout='halves'", "clamped_swiglu",
        layout="interleaved", limit=7.0, offset=1.0,
    ),
]  # fmt: skip
#: The gated functions with names of their own.
GATED: dict[str, Gated] = {g.__name__: g for g in _ALL if g}
#: Their other names.
GATED_ALIASES: dict[str, Gated] = {alias: g for g in GATED.values() for alias in g.aliases}


def _find(name: str) -> Gated:
    return GATED[name]


def table() -> str:
    """The table of docs/reference/gated.md, in Markdown."""
    lines = ["| name | a, b: in the order of memory | gate | layout | also called | who has it so |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{g.__name__}` | `{g.formula}` | {g.gate} half | {g._options['layout']} | {aliases} | {g.users} |"
        for g in GATED.values()
        for aliases in [", ".join(f"`{a}`" for a in g.aliases)]
    ]
    return "\n".join(lines) + "\n"
