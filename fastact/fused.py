"""Activations with what stands next to them in models, in one pass: a bias, dropout.

Backward draws again which elements were dropped: nothing is stored. Also packed masks of one bit an element.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import arrays, dispatch, noise, registry
from .activation import Activation, _see_bfloat16, count_call
from .arrays import common
from .gated import find_activation
from .product import Factor, Product

_OPTIONS = {"out": None, "backend": None, "accuracy": None}


class _Call:
    """One call of an activation between a bias and dropout, checked."""

    def __init__(self, label: str, x: Any, activation: Any, bias: Any, axis: Any, p: Any, seed: Any, options: dict[str, Any]) -> None:
        self.label = label
        self.function = function = find_activation(label, activation)
        self.definition = definition = function.definition
        for name in options:
            if name not in _OPTIONS and name not in definition.params:
                raise TypeError(
                    f"{label}() got an unexpected keyword argument {name!r}; it takes {', '.join([*_OPTIONS, *definition.params])}"
                )
        for name, default in definition.params.items():
            if default is None and options.get(name) is None:
                raise TypeError(f"{label}() missing required parameter {name!r} of {function.__name__}")
        self.given = bound = {**_OPTIONS, **definition.params, **options}
        self.module = arrays.of({"x": x, "bias": bias, **bound})
        self.original = x
        self.x = self.floating("x", self.module.asarray(x))
        _see_bfloat16(self.x.dtype)
        self.kind = common.kind_of(self.x.dtype)
        self.wide = dispatch.named_accuracy(bound["accuracy"]) == "precise" or self.kind == "float64"
        self.place = common.position(label, axis, max(self.x.ndim, 1)) if bias is not None else None
        self.params = [common.parameter(label, n, bound[n], self.x, None, self.module.asarray) for n in definition.params]
        self.bias = None if bias is None else common.parameter(label, "bias", bias, self.x, self.place, self.module.asarray)
        self.bias_shape = tuple(np.shape(bias)) if bias is not None else None
        self.p, self.seed = probability(label, p), None
        if self.p > 0.0:
            self.seed = noise.checked_seed(label, seed, "dropout")

    def floating(self, name: str, array: Any) -> Any:
        if array.dtype.kind in "iu":
            return array.astype("float64")
        return common.floating(array, self.definition, name, self.label)

    def product(self, direction: str, x: Any) -> Product:
        name = None if self.definition.name == "identity" else self.definition.name
        return Product(
            direction, self.kind, self.wide, tuple(x.shape), [Factor(name, x, self.params, self.bias)], seed=self.seed, keep=1.0 - self.p
        )  # fmt: skip

    def targets(self, read: list[Any]) -> Any:
        """Where the result goes; what is read and overlaps it becomes a copy."""
        (out,) = common.outputs(self.label, self.given["out"], 1)
        if out is None:
            return self.module.empty(self.x)
        common.check_out(self.label, out, self.x.shape, self.x.dtype, self.module.owns)
        plain = self.module.asarray(out)
        read[:] = [self.module.apart(a, plain) if hasattr(a, "dtype") else a for a in read]
        self.params = [self.module.apart(a, plain) if hasattr(a, "dtype") else a for a in self.params]
        if hasattr(self.bias, "dtype"):
            self.bias = self.module.apart(self.bias, plain)
        return plain

    def serve(self, call: Product) -> None:
        if 0 in call.shape:
            f = call.factors[0]
            call.sums = [self.module.library().zeros(s) for s in (f.bias_shape, *f.param_shapes) if s is not None]
            return

        def run(backend: registry.Backend) -> None:
            self.module.run_product(backend, call)

        served, _ = dispatch.serve(self.module.NAME, self.kind, math.prod(call.shape), self.definition.cost, self.given["backend"], run)
        count_call(served)

    def result(self, target: Any) -> Any:
        out = self.given["out"]
        if out is not None:
            return out[0] if isinstance(out, tuple) else out
        return self.module.finish(target, self.original, self.function)

    def forward(self) -> Any:
        read = [self.x]
        target = self.targets(read)
        call = self.product("forward", read[0])
        call.out = target
        self.serve(call)
        return self.result(target)

    def backward(self, grad: Any) -> Any:
        g = self.module.asarray(grad if hasattr(grad, "dtype") else np.asarray(grad, self.x.dtype))
        if g.dtype.kind in "iu" and self.kind == "float64":
            g = g.astype("float64")
        common.check_gradient(self.label, g, self.x, "x")
        read = [self.x, g]
        target = self.targets(read)
        call = self.product("backward", read[0])
        call.grad = read[1]
        factor = call.factors[0]
        factor.dx = target
        if self.bias is not None:
            factor.bias_shape = tuple(np.shape(self.bias))
        factor.param_shapes = [tuple(np.shape(self.params[list(self.definition.params).index(n)])) for n in self.function.learnable]
        self.serve(call)
        shapes = [] if self.bias is None else [self.bias_shape]
        shapes += [tuple(np.shape(self.given[n])) for n in self.function.learnable]
        with np.errstate(all="ignore"):
            sums = [s.astype(self.x.dtype.newbyteorder("=")).reshape(own)[()] for s, own in zip(call.sums, shapes, strict=True)]
        return (self.result(target), *sums) if sums else self.result(target)


def probability(label: str, p: Any) -> float:
    """`p` as a float from 0 to 1."""
    if isinstance(p, bool) or not isinstance(p, (int, float, np.floating, np.integer)):
        raise TypeError(f"{label}: the probability to drop must be a number, not {p!r}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{label}: the probability to drop must be from 0 to 1, not {p!r}")
    return float(p)


class _Fused:
    """A function with ``backward``."""

    __name__: str

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__


class BiasAct(_Fused):
    """``dropout(activation(x + bias))`` in one pass.

    Parameters
    ----------
    x : array_like
        Integers become float64.
    bias : array_like
        One number for each index of `axis`; or an array that broadcasts to x. It takes x's dtype.
    activation : Activation or str
        Any elementwise activation, or its name.
    axis : int, default -1
        Where a one-dimensional bias lies.
    dropout : float, default 0.0
        The probability of an element to become 0; the others are multiplied by ``1 / (1 - dropout)``. An element that is dropped is 0
        whatever it was.
    seed : int, optional
        From 0 to 2**64 - 1; needed where elements are dropped. The element of index i in C order is kept where number i of
        ``fastact.noise.uniform(seed)`` is less than ``1 - dropout``: the same ones in `backward`, and on every backend.
    out : array, optional
        Where the result goes; it may be x.
    backend, accuracy : str, optional
        As for activations.
    **params
        The activation's own parameters: numbers, or arrays that broadcast to x.

    Returns
    -------
    array
        Of x's shape and dtype. ``bias_act.backward(grad, x, bias, activation, ...)`` returns the gradients with respect to x, to the bias,
        and to learnable parameters of the activation; summed in float64 in the same pass.

    Raises
    ------
    ValueError
        If the bias does not broadcast to x, or elements are dropped without a seed.
    TypeError
        If x has no dtype of real numbers.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> x, bias = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([1.0, 0.0])
    >>> fastact.bias_act(x, bias, "relu")
    array([[2. , 0. ],
           [4. , 0.5]])
    >>> dx, dbias = fastact.bias_act.backward(np.ones((2, 2)), x, bias, "relu")
    >>> dbias
    array([2., 1.])
    """

    __name__ = __qualname__ = "bias_act"

    @arrays.takes_tensors
    def __call__(
        self, x: Any, bias: Any, activation: Any, *, axis: int = -1, dropout: float = 0.0, seed: int | None = None, **options: Any
    ) -> Any:
        return _Call("bias_act", x, activation, bias, axis, dropout, seed, options).forward()

    @arrays.takes_tensors
    def backward(
        self,
        grad: Any,
        x: Any,
        bias: Any,
        activation: Any,
        *,
        axis: int = -1,
        dropout: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """The gradients with respect to x, the bias and learnable parameters, from that of the result and the same arguments."""
        return _Call("bias_act.backward", x, activation, bias, axis, dropout, seed, options).backward(grad)


class ActDropout(_Fused):
    """``dropout(activation(x))`` in one pass; which elements are dropped follows from the seed, and is not stored.

    Parameters
    ----------
    x : array_like
        Integers become float64.
    activation : Activation or str
        Any elementwise activation, or its name.
    p : float
        The probability of an element to become 0; the others are multiplied by ``1 / (1 - p)``.
    seed : int
        From 0 to 2**64 - 1. The element of index i in C order is kept where number i of ``fastact.noise.uniform(seed)`` is less than
        ``1 - p``. The kernels compare integers: the same decision.
    out, backend, accuracy, **params
        As for `bias_act`.

    Returns
    -------
    array
        Of x's shape and dtype. ``act_dropout.backward(grad, x, activation, p, seed, ...)`` returns the gradient with respect to x, and
        after it those of learnable parameters.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> x = np.ones(8)
    >>> y = fastact.act_dropout(x, "relu", 0.5, seed=7)
    >>> bool((y == fastact.act_dropout.backward(x, x, "relu", 0.5, seed=7)).all())
    True
    """

    __name__ = __qualname__ = "act_dropout"

    @arrays.takes_tensors
    def __call__(self, x: Any, activation: Any, p: float, seed: int | None = None, **options: Any) -> Any:
        return _Call("act_dropout", x, activation, None, None, p, seed, options).forward()

    @arrays.takes_tensors
    def backward(self, grad: Any, x: Any, activation: Any, p: float, seed: int | None = None, **options: Any) -> Any:
        """The gradient with respect to x, and those of learnable parameters, from that of the result and the same arguments."""
        return _Call("act_dropout.backward", x, activation, None, None, p, seed, options).backward(grad)


bias_act = BiasAct()
act_dropout = ActDropout()


# ---------------------------------------------------------------- one bit an element


def _two_slopes(
    function: Activation, direction: str, params: dict[str, Any], x: Any, module: Any
) -> tuple[dict[str, float], tuple[float, float]]:
    """The parameters as x's dtype has them, and the two slopes of an activation for these."""
    definition, label = function.definition, f"{function.__name__}.{direction}"
    if not definition.slopes:
        raise NotImplementedError(f"{label}: the derivative of {function.__name__} takes more than two values; use backward(grad, x)")
    for name, value in params.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise TypeError(f"{label}: {name} must be a number, not {value!r}: one bit says which of two slopes an element has")
    from .kernels.definitions.language import evaluate

    rounded = {n: common.parameter(label, n, v, x, None, module.asarray) for n, v in params.items()}
    low, high = (float(evaluate(e, rounded)) for e in definition.slopes)
    return rounded, (low, high)


def _bound(function: Activation, direction: str, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return common.bind(f"{function.__name__}.{direction}", names, function.definition.params, {"out": None, "backend": None}, args, kwargs)


def forward_with_mask(function: Activation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """See `Activation.forward_with_mask`."""
    label = f"{function.__name__}.forward_with_mask"
    bound = _bound(function, "forward_with_mask", ("x",), args, kwargs)
    params = {n: bound[n] for n in function.definition.params}
    module = arrays.of({"x": bound["x"]})
    plain = module.asarray(bound["x"])
    x = plain.astype("float64") if plain.dtype.kind in "iu" else common.floating(plain, function.definition, "x", label)
    _see_bfloat16(x.dtype)
    numbers, slopes = _two_slopes(function, "forward_with_mask", params, x, module)
    (out,) = common.outputs(label, bound["out"], 1)
    if out is not None:
        common.check_out(label, out, x.shape, x.dtype, module.owns)

    def run(backend: registry.Backend) -> Any:
        return module.run_with_mask(
            backend, function.definition, x, list(numbers.values()), slopes, None if out is None else module.asarray(out)
        )

    served, (y, mask) = dispatch.serve(module.NAME, common.kind_of(x.dtype), int(x.size), function.definition.cost, bound["backend"], run)
    count_call(served)
    return (module.finish(y, bound["x"], function) if out is None else out), mask


def backward_from_mask(function: Activation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """See `Activation.backward_from_mask`."""
    label = f"{function.__name__}.backward_from_mask"
    bound = _bound(function, "backward_from_mask", ("grad", "mask"), args, kwargs)
    module = arrays.of({"grad": bound["grad"], "mask": bound["mask"]})
    grad = module.asarray(bound["grad"])
    grad = grad.astype("float64") if grad.dtype.kind in "iu" else common.floating(grad, function.definition, "grad", label)
    _see_bfloat16(grad.dtype)
    _, slopes = _two_slopes(function, "backward_from_mask", {n: bound[n] for n in function.definition.params}, grad, module)
    mask = module.asarray(bound["mask"])
    if mask.dtype != np.uint8 or mask.shape != (-(-grad.size // 8),):
        raise ValueError(
            f"{label}: mask has dtype {mask.dtype} and shape {mask.shape}; for {grad.size} elements it is uint8 and ({-(-grad.size // 8)},)"
        )
    (out,) = common.outputs(label, bound["out"], 1)
    if out is not None:
        common.check_out(label, out, grad.shape, grad.dtype, module.owns)

    def run(backend: registry.Backend) -> Any:
        return module.run_from_mask(backend, grad, mask, slopes, None if out is None else module.asarray(out))

    served, dx = dispatch.serve(module.NAME, common.kind_of(grad.dtype), int(grad.size), "move", bound["backend"], run)
    count_call(served)
    return module.finish(dx, bound["grad"], function) if out is None else out
