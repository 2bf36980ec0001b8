"""Losses, fused with their activation: `Loss`, and all of them by name in `LOSSES`.

Calling one gives the loss; ``value_and_grad`` gives the gradient with respect to the logits too, from the same pass over them, and
``backward`` the gradient alone. Elementwise losses are definitions (``kernels/definitions/losses.py``), those of rows are row programs.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from typing import Any

import numpy as np

from . import arrays, dispatch, registry
from .activation import _see_bfloat16, count_call
from .arrays import common
from .kernels.definitions import DEFINITIONS, Definition
from .kernels.definitions import LOSSES as ELEMENTWISE
from .rows import Rows

REDUCTIONS = ("mean", "sum", "none")
#: What is passed in, in order, for each direction.
INPUTS = {"value": ("logits", "labels"), "value_and_grad": ("logits", "labels"), "backward": ("grad", "logits", "labels")}
COMMON: dict[str, Any] = {"reduction": "mean", "out": None, "backend": None, "accuracy": None}
#: What is ignored unless something else is said, as in PyTorch.
IGNORED = -100


class _Direction:
    """A loss in one direction, other than its value."""

    def __init__(self, loss: Loss, direction: str, doc: str) -> None:
        self.loss, self.direction, self.definition = loss, direction, loss.definition
        self.__name__ = self.__qualname__ = f"{loss.__name__}.{direction}"
        self.__module__ = "fastact"
        self.__doc__ = doc
        self.__signature__ = loss.signature(direction)

    @arrays.takes_tensors
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.loss.run(self.direction, args, kwargs)

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> Any:
        return _find, (self.loss.__name__, self.direction)

    def __copy__(self) -> _Direction:
        return self

    def __deepcopy__(self, memo: Any) -> _Direction:
        return self


class Loss:
    """A loss function of logits and labels.

    Calling it gives the loss; `value_and_grad` and `backward` give the gradient with respect to the logits.
    """

    #: As for ufuncs: the inputs whose masks and classes the result takes.
    nin = 1
    #: Whether a single loss is a sum already.
    sums = False

    def __init__(self, name: str, options: dict[str, Any], definition: Definition, doc: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = "fastact"
        #: What is passed by name only, and its defaults.
        self.options = {**options, **COMMON}
        self.definition = definition
        self.__doc__ = doc
        self.__signature__ = self.signature("value")

    def signature(self, direction: str) -> inspect.Signature:
        """What a direction takes."""
        P = inspect.Parameter
        named = [P(name, P.KEYWORD_ONLY, default=default) for name, default in self.options.items()]
        return inspect.Signature([*(P(name, P.POSITIONAL_OR_KEYWORD) for name in INPUTS[direction]), *named])

    @arrays.takes_tensors
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run("value", args, kwargs)

    @functools.cached_property
    def value_and_grad(self) -> _Direction:
        """The loss and its gradient with respect to the logits, in one go."""
        return _Direction(self, "value_and_grad", _VALUE_AND_GRAD.format(name=self.__name__))

    @functools.cached_property
    def backward(self) -> _Direction:
        """The gradient with respect to the logits, from the gradient with respect to the loss."""
        return _Direction(self, "backward", _BACKWARD.format(name=self.__name__))

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> Any:
        return _find, (self.__name__, "value")

    def __copy__(self) -> Loss:
        return self

    def __deepcopy__(self, memo: Any) -> Loss:
        return self

    def run(self, direction: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any call: checked, dispatched, run."""
        label = self.__name__ if direction == "value" else f"{self.__name__}.{direction}"
        bound = common.bind(label, INPUTS[direction], {}, self.options, args, kwargs)
        if not isinstance(bound["reduction"], str) or bound["reduction"] not in REDUCTIONS:
            raise ValueError(f"{label}: reduction must be one of {', '.join(map(repr, REDUCTIONS))}, not {bound['reduction']!r}")
        count = 2 if direction == "value_and_grad" else 1
        outs = common.outputs(label, bound["out"], count)
        module = arrays.of({**bound, **{f"out[{i}]": out for i, out in enumerate(outs)}})
        given = bound["logits"]
        x = common.floating(module.asarray(given), self.definition, "logits", label)
        _see_bfloat16(x.dtype)
        call = _Call(label, module, x, bound)
        shape = call.loss_shape(self)
        if x.dtype.itemsize == 2 and (call.reduction != "none" or self.sums):
            # Of halves too a sum is float32: thousands of terms are worth more than three digits.
            call.loss_dtype = np.dtype(np.float32)
        wants = {"loss": direction != "backward", "dx": direction != "value"}
        targets = dict.fromkeys(wants) | dict(zip((w for w in wants if wants[w]), outs, strict=True))
        likes = {"loss": (shape, call.loss_dtype), "dx": (x.shape, x.dtype)}
        for i, what in enumerate(w for w in wants if wants[w]):
            if targets[what] is not None:
                common.check_out(label, targets[what], *likes[what], module.owns, "out" if count == 1 else f"out[{i}]")
        if count == 2:
            module.check_apart(label, outs)
        grad = call.grad(shape) if direction == "backward" else None
        loss, dx = self._compute(call, targets, wants, grad)
        results = []
        if wants["loss"]:
            wrapped = given if call.reduction == "none" and not self.sums else None
            results.append(targets["loss"] if targets["loss"] is not None else module.finish(loss, wrapped, self))
        if wants["dx"]:
            results.append(targets["dx"] if targets["dx"] is not None else module.finish(dx, given, self))
        return results[0] if count == 1 else tuple(results)

    def shape_of_losses(self, call: _Call) -> tuple[int, ...]:
        """The shape of the loss that is not reduced."""
        raise NotImplementedError

    def _compute(self, call: _Call, targets: dict[str, Any], wants: dict[str, bool], grad: Any) -> tuple[Any, Any]:
        raise NotImplementedError


class _Call:
    """What a call was given, as far as all losses have it in common."""

    def __init__(self, label: str, module: Any, x: Any, bound: dict[str, Any]) -> None:
        self.label, self.module, self.x, self.bound = label, module, x, bound
        self.xp = module.library()
        self.reduction = bound["reduction"]
        self.kind = common.kind_of(x.dtype)
        self.loss_dtype = x.dtype.newbyteorder("=")
        self.wide = dispatch.named_accuracy(bound["accuracy"]) == "precise" or self.kind == "float64"

    def loss_shape(self, loss: Loss) -> tuple[int, ...]:
        """The shape of the loss."""
        shape = loss.shape_of_losses(self)
        return shape if self.reduction == "none" else ()

    def grad(self, shape: tuple[int, ...]) -> Any:
        """The gradient with respect to the loss: a number, or for ``reduction="none"`` an array of the loss's shape and dtype."""
        value = self.bound["grad"]
        array = self.module.asarray(value if hasattr(value, "dtype") else np.asarray(value))
        if array.dtype.kind not in "iuf" and common.kind_of(array.dtype) not in common.KINDS:
            raise TypeError(f"{self.label}: grad has dtype {array.dtype}; accepted are {common.ACCEPTED}")
        if tuple(array.shape) != shape:
            what = "an array like the loss" if shape else "a number"
            raise ValueError(
                f"{self.label}: grad has shape {tuple(array.shape)}, but with reduction={self.reduction!r} it is {what}: {shape}"
            )
        return float(array) if self.reduction != "none" else array.astype(self.loss_dtype, copy=False)

    def stored(self, value: Any, target: Any) -> Any:
        """A loss, or losses, in float64 as the result: written to `target`, or a new array."""
        with np.errstate(all="ignore"):
            result = self.xp.asarray(value).astype(self.loss_dtype)
            if target is None:
                return result
            target[...] = result
        return target

    def serve(self, cost: str, run: Any) -> Any:
        """Choose a backend and run it."""

        def unless_empty(backend: registry.Backend) -> Any:
            return run(backend) if self.x.size else None

        served, result = dispatch.serve(self.module.NAME, self.kind, int(self.x.size), cost, self.bound["backend"], unless_empty)
        count_call(served)
        return result

    def number(self, name: str, low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> float:
        """An option that is one real number from `low` to `high`, or above `low`."""
        value = self.bound[name]
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise TypeError(f"{self.label}: {name} must be a real number, not {value!r}")
        if not ((value > low if above else value >= low) and value <= high):
            limits = f"above {low:g}" if above else (f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}")
            raise ValueError(f"{self.label}: {name} must be {limits}, not {value!r}")
        return float(value)


# ---------------------------------------------------------------- elementwise

#: What parameters must fulfil if they are numbers: the least, and whether it is not among them itself.
LEAST = {"delta": (0.0, True), "gamma": (0.0, False)}


class ElementwiseLoss(Loss):
    """A loss of each element."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition.name, {**definition.params, "weight": None}, definition, _elementwise_doc(definition))

    def shape_of_losses(self, call: _Call) -> tuple[int, ...]:
        """That of the logits."""
        return tuple(call.x.shape)

    def _compute(self, call: _Call, targets: dict[str, Any], wants: dict[str, bool], grad: Any) -> tuple[Any, Any]:
        x, module, bound, label = call.x, call.module, call.bound, call.label
        for name in LEAST.keys() & self.definition.params.keys():
            if not hasattr(bound[name], "shape") or not bound[name].shape:
                call.number(name, LEAST[name][0], above=LEAST[name][1])
        params = [common.parameter(label, n, bound[n], x, None, module.asarray) for n in self.definition.params]
        weight = None if bound["weight"] is None else common.parameter(label, "weight", bound["weight"], x, None, module.asarray)
        labels = _like(call, "labels")
        size = int(x.size)
        factor = 1.0 if call.reduction != "mean" else (1.0 / size if size else math.nan)
        scale = factor * grad if wants["dx"] and call.reduction != "none" and grad is not None else factor
        of_each = call.reduction == "none"

        def run(backend: registry.Backend) -> Any:
            return module.run_loss(
                backend,
                self.definition,
                x,
                labels,
                params,
                weight=weight,
                grad=grad if of_each else None,
                scale=scale,
                total=wants["loss"] and not of_each,
                outs=(targets["loss"] if of_each else None, targets["dx"]),
                wants=(wants["loss"] and of_each, wants["dx"]),
                wide=call.wide,
            )

        found = call.serve(self.definition.cost, run)
        if found is None:  # there are no elements
            total, loss, dx = 0.0, call.xp.zeros(x.shape, call.loss_dtype), call.xp.zeros(x.shape, x.dtype)
        else:
            total, loss, dx = found
        if wants["loss"] and not of_each:
            loss = call.stored(_over(total, size) if call.reduction == "mean" else total, targets["loss"])
        return loss, dx


def _over(total: Any, count: float) -> Any:
    with np.errstate(all="ignore"):
        return np.float64(total) / count if isinstance(total, float) else total / count


def _like(call: _Call, name: str) -> Any:
    """Labels, one an element: of the logits' shape and dtype. Integers and bools become it, and so does what has no dtype of its own."""
    value, x, label = call.bound[name], call.x, call.label
    own = hasattr(value, "dtype")
    array = call.module.asarray(value)
    if array.dtype.kind not in "biuf" and common.kind_of(array.dtype) not in common.KINDS:
        raise TypeError(f"{label}: {name} has dtype {array.dtype}; accepted are {common.ACCEPTED}, and bool")
    if array.dtype.kind in "biu" or not own or array.ndim == 0:
        with np.errstate(all="ignore"):
            array = array.astype(x.dtype.newbyteorder("="))
    if common.kind_of(array.dtype) != common.kind_of(x.dtype):
        raise TypeError(f"{label}: {name} has dtype {array.dtype}, but logits has {x.dtype}; they must be the same, or {name} integers")
    if array.ndim == 0:
        return call.xp.broadcast_to(array, x.shape)
    if array.shape != x.shape:
        raise ValueError(f"{label}: {name} has shape {array.shape}, but logits has {x.shape}; they must be the same")
    return array


# ---------------------------------------------------------------- of rows


def _row_definition(name: str) -> Definition:
    """What checks and dispatch ask of a row program: the kinds and the cost of softmax."""
    return dataclasses.replace(DEFINITIONS["softmax"], name=name)


class RowLoss(Loss):
    """A loss of each row: of the classes along an axis."""

    program: str
    sums = True

    def shape_of_losses(self, call: _Call) -> tuple[int, ...]:
        """That of the logits, without the axis of the classes."""
        shape = tuple(call.x.shape)
        if not shape:
            raise ValueError(f"{call.label}: logits must have an axis of classes, but has no dimensions")
        axis = common.position(call.label, call.bound["axis"], len(shape))
        if not shape[axis]:
            raise ValueError(f"{call.label}: logits has shape {shape}: along axis {axis} there are no classes")
        return shape[:axis] + shape[axis + 1 :]

    def settings(self, call: _Call, n: int, losses: tuple[int, ...]) -> tuple[dict[str, Any], float]:
        """What of a `Rows` is this loss's own, and what the mean is divided by."""
        raise NotImplementedError

    def _compute(self, call: _Call, targets: dict[str, Any], wants: dict[str, bool], grad: Any) -> tuple[Any, Any]:
        x, module, xp = call.x, call.module, call.xp
        losses = self.shape_of_losses(call)
        axis = common.position(call.label, call.bound["axis"], x.ndim)
        outer, n, inner = math.prod(x.shape[:axis]), int(x.shape[axis]), math.prod(x.shape[axis + 1 :])
        settings, divisor = self.settings(call, n, losses)
        mean = call.reduction == "mean"
        scale = _inverse(divisor) if mean else 1.0
        row_grad = None
        if grad is not None:
            if call.reduction == "none":
                row_grad = xp.ascontiguousarray(grad.astype(np.float64)).reshape(-1)
            else:
                scale *= grad
        loss = xp.zeros(outer * inner, np.float64) if wants["loss"] else None
        like = {"x": x, "soft": settings.pop("soft", None)}
        laid, target, finish = module.lay_rows(like, (axis,), targets["dx"], wants["dx"])
        if laid["soft"] is not None and target is not None and xp.may_share_memory(laid["soft"], target):
            laid["soft"] = laid["soft"].copy()  # it is read again when the result has been written to
        rows = Rows(
            self.program,
            "value_and_grad",
            call.kind,
            call.wide,
            **laid,
            out=target,
            loss=loss,
            row_scale=scale,
            row_grad=row_grad,
            **settings,
        )
        call.serve("exp", lambda backend: backend.rows(rows))
        dx = finish() if wants["dx"] else None
        if loss is not None:
            if call.reduction == "none":
                loss = call.stored(loss.reshape(losses), targets["loss"])
            else:
                with np.errstate(all="ignore"):
                    total = loss.sum()
                    loss = call.stored(total / np.float64(divisor) if mean else total, targets["loss"])
        return loss, dx


def _inverse(divisor: float) -> float:
    return 1.0 / divisor if divisor else math.inf


def _classes(call: _Call, n: int, losses: tuple[int, ...], ignore: int | None) -> tuple[Any, int]:
    """Integer labels as int64, one a row, all but the ignored ones from 0 to n - 1; and how many are not ignored."""
    label, xp = call.label, call.xp
    labels = call.module.asarray(call.bound["labels"])
    if tuple(labels.shape) != losses:
        at = call.bound["axis"]
        raise ValueError(
            f"{label}: labels has shape {tuple(labels.shape)}, but logits without axis {at} has {losses}; they must be the same"
        )
    flat = xp.ascontiguousarray(labels.astype(np.int64)).reshape(-1)
    if not flat.size:
        return flat, 0
    inside = bool(flat.min() >= 0) and bool(flat.max() < n)
    kept = None
    if ignore is not None and not (inside and not 0 <= ignore < n):
        kept = flat != ignore
    if not inside:
        wrong = (flat < 0) | (flat >= n)
        if kept is not None:
            wrong &= kept
        if bool(wrong.any()):
            at = np.unravel_index(int(wrong.argmax()), losses)
            place = f" at {tuple(int(i) for i in at)}" if losses else ""
            spared = "" if ignore is None else f", or {ignore} to ignore a row"
            raise ValueError(f"{label}: labels has {int(labels[at])}{place}; accepted are the classes 0 to {n - 1}{spared}")
    return flat, int(flat.size if kept is None else kept.sum())


def _class_weight(call: _Call, n: int) -> Any:
    """The weights of the classes in float64, or None."""
    given = call.bound["weight"]
    if given is None:
        return None
    weight = call.module.asarray(given)
    if weight.dtype.kind not in "iuf" and common.kind_of(weight.dtype) not in common.KINDS:
        raise TypeError(f"{call.label}: weight has dtype {weight.dtype}; accepted are {common.ACCEPTED}")
    if tuple(weight.shape) != (n,):
        raise ValueError(f"{call.label}: weight has shape {tuple(weight.shape)}, but there are {n} classes; it needs one number for each")
    return call.xp.ascontiguousarray(weight.astype(np.float64))


class SoftmaxCrossEntropy(RowLoss):
    """Softmax and cross entropy in one."""

    program = "cross_entropy"

    def __init__(self) -> None:
        options = {"axis": -1, "ignore_index": IGNORED, "label_smoothing": 0.0, "weight": None, "z_loss": 0.0}
        super().__init__("softmax_cross_entropy", options, _row_definition("softmax_cross_entropy"), _SOFTMAX_CROSS_ENTROPY)

    def settings(self, call: _Call, n: int, losses: tuple[int, ...]) -> tuple[dict[str, Any], float]:
        """Labels, integers or probabilities; the mean is over the rows that count, weighted as their labels are."""
        smoothing, z_loss = call.number("label_smoothing", 0.0, 1.0), call.number("z_loss")
        ignore = call.bound["ignore_index"]
        if ignore is not None and (isinstance(ignore, (bool, np.bool_)) or not isinstance(ignore, (int, np.integer))):
            raise TypeError(f"{call.label}: ignore_index must be an integer or None, not {ignore!r}")
        if ignore is not None and not -(2**63) <= ignore < 2**63:
            raise ValueError(f"{call.label}: ignore_index must fit into 64 bits, not {ignore!r}")
        weight = _class_weight(call, n)
        found: dict[str, Any] = {"weight": weight, "smoothing": smoothing}
        if _integral(call):
            ignore = None if ignore is None else int(ignore)
            labels, count = _classes(call, n, losses, ignore)
            found |= {"labels": labels, "ignore": ignore}
            divisor = float(count)
            if weight is not None and count and call.reduction == "mean":
                used = labels if ignore is None else labels[labels != ignore]
                divisor = float(weight[used].sum())
        else:
            if ignore not in (None, IGNORED):
                raise ValueError(
                    f"{call.label}: ignore_index={ignore} needs integer labels, but labels are probabilities; give rows a weight of 0"
                )
            found["soft"] = _like(call, "labels")
            count = math.prod(losses)
            divisor = float(count)
        # Its part of the mean is over the number of rows, whatever their weights.
        found["z_loss"] = z_loss * divisor / count if z_loss and count and call.reduction == "mean" else z_loss
        return found, divisor


def _integral(call: _Call) -> bool:
    """Whether the labels are integers."""
    value = call.bound["labels"]
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if dtype.kind == "b":
        raise TypeError(f"{call.label}: labels has dtype bool; accepted are integers, which name classes, and floats of logits' dtype")
    return bool(dtype.kind in "iu")


class MultiClassHinge(RowLoss):
    """Hinge loss against every other class."""

    program = "multi_margin"

    def __init__(self) -> None:
        options = {"axis": -1, "p": 1, "margin": 1.0, "weight": None}
        super().__init__("multi_class_hinge", options, _row_definition("multi_class_hinge"), _MULTI_CLASS_HINGE)

    def settings(self, call: _Call, n: int, losses: tuple[int, ...]) -> tuple[dict[str, Any], float]:
        """Integer labels; the mean is over all rows."""
        if isinstance(call.bound["p"], (bool, np.bool_)) or call.bound["p"] not in (1, 2):
            raise ValueError(f"{call.label}: p must be 1 or 2, not {call.bound['p']!r}")
        if not _integral(call):
            raise TypeError(f"{call.label}: labels must be integers, which name classes")
        labels, count = _classes(call, n, losses, None)
        margin = call.number("margin")
        return {"labels": labels, "weight": _class_weight(call, n), "margin": margin, "power": int(call.bound["p"])}, float(count)


# ---------------------------------------------------------------- docstrings

_ARGUMENTS = """reduction : {"mean", "sum", "none"}, default "mean"
    What becomes of the single losses.
out : array, optional
    Where the loss goes: of its shape and dtype.
backend : {"cython", "numba", "cupy", "numpy"}, optional
    Runs or raises. By default chosen by the kind and size of `logits`.
accuracy : {"fast", "precise"}, optional
    By default "fast"."""

_RETURNS = """loss : array or scalar
    Of logits' dtype; what is a sum is float32 for float16 and bfloat16."""

_VALUE_AND_GRAD = """The loss and its gradient with respect to the logits, in one go.

Parameters
----------
logits, labels : array_like
    As in ``fastact.{name}``, and so is all else.
out : tuple of two arrays, optional
    Where the loss and the gradient go; None where to allocate. The second may be `logits` itself.

Returns
-------
loss, dlogits : array
    The loss as ``fastact.{name}`` gives it, and the gradient, of logits' shape and dtype: of the mean or the sum if the loss is reduced,
    else of each loss by itself.

Raises
------
TypeError, ValueError
    As ``fastact.{name}``, and if arrays in `out` share memory.
"""

_BACKWARD = """The chain rule: the gradient with respect to the logits.

Parameters
----------
grad : float or array_like
    The gradient with respect to the loss: one number, or with ``reduction="none"`` an array of the loss's shape.
logits, labels : array_like
    As in ``fastact.{name}``, and so is all else.
out : array, optional
    Where the gradient goes: of logits' shape and dtype; may be `logits` itself.

Returns
-------
dlogits : array
    Of logits' shape and dtype.

Raises
------
TypeError, ValueError
    As ``fastact.{name}``, and if `grad` has not the loss's shape.
"""

_SOFTMAX_CROSS_ENTROPY = f"""Cross entropy between softmax(logits) and labels, with all options of PyTorch's and the z-loss.

``loss = w[y] (lse - x[y])`` for a label y, ``sum(t w (lse - x))`` for probabilities t, plus ``z_loss lse^2``; ``lse = log(sum(exp(x)))``

Parameters
----------
logits : array_like
    One row of numbers for each label, along `axis`.
labels : array_like
    Integers, one a row: logits' shape without `axis`. Or probabilities, of logits' shape and dtype, which need not sum to 1.
axis : int, default -1
    The axis of the classes.
ignore_index : int or None, default -100
    Rows with this label have no loss and a gradient of 0, whatever their logits hold.
label_smoothing : float, default 0.0
    From 0 to 1: the share of a label that goes to all classes alike.
weight : array_like, optional
    A weight for each class.
z_loss : float, default 0.0
    Keeps lse next to 0: ``z_loss * lse^2`` is added to the loss of each row that is not ignored.
{_ARGUMENTS}

Returns
-------
{_RETURNS} Unreduced it has logits' shape without `axis`.

Raises
------
TypeError
    For bool, complex, object and string arrays, labels of another dtype, arrays of different kinds.
ValueError
    For labels out of range, and if shapes do not fit.

Notes
-----
The mean is that of PyTorch: divided by the sum of the weights of the labels that are not ignored, their number without `weight`, and the
number of rows if labels are probabilities. The z-loss is divided by the number of rows that are not ignored, whatever their weights. If all
rows are ignored, the mean is nan and the gradient 0.

Gradient: ``(softmax(x) - hot(y)) w[y]`` and the like for the other options, plus ``2 z_loss lse softmax(x)``.

A row that holds nan or inf, or nothing but -inf, gives nan. A class with no share in the label adds nothing, also where its logit is -inf.

Examples
--------
>>> import numpy as np, fastact
>>> logits = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
>>> fastact.softmax_cross_entropy(logits, [0, 2], reduction="none").round(4)
array([0.4076, 3.0949])
>>> loss, dlogits = fastact.softmax_cross_entropy.value_and_grad(logits, [0, -100])
>>> float(loss.round(4)), dlogits.round(3)
(0.4076, array([[-0.335,  0.245,  0.09 ],
       [ 0.   ,  0.   ,  0.   ]]))
"""

_MULTI_CLASS_HINGE = f"""Hinge loss of each class against the labelled one, PyTorch's multi_margin_loss.

``loss = w[y] / n * sum(max(margin - x[y] + x[j], 0)^p)`` over the classes j other than the label y, of n in all

Parameters
----------
logits : array_like
    One row of numbers for each label, along `axis`.
labels : array_like of int
    Logits' shape without `axis`.
axis : int, default -1
    The axis of the classes.
p : {{1, 2}}, default 1
    The power.
margin : float, default 1.0
    How much larger the labelled class should be.
weight : array_like, optional
    A weight for each class, which its labels take.
{_ARGUMENTS}

Returns
-------
{_RETURNS} Unreduced it has logits' shape without `axis`.

Raises
------
TypeError
    For bool, complex, object and string arrays, labels that are no integers, arrays of different kinds.
ValueError
    For labels out of range, and if shapes do not fit.

Notes
-----
The mean is over all rows, whatever their weights. Where a term is 0, so is its slope.

Examples
--------
>>> import numpy as np, fastact
>>> fastact.multi_class_hinge(np.array([[0.5, 1.0, 0.0]]), [1]).round(4)
np.float64(0.1667)
"""


def _elementwise_doc(definition: Definition) -> str:
    """The docstring of an elementwise loss."""
    name = definition.name
    params = "".join(
        f"{p} : float or array_like, default {default:g}\n    Cast to logits' dtype; broadcasts to logits.\n"
        for p, default in definition.params.items()
        if default is not None
    )
    return f"""{inspect.cleandoc(definition.doc)}

``{name}({", ".join(["x", "t", *definition.params])}) = {definition.display}``

Parameters
----------
logits : array_like
    The predictions x, of any shape.
labels : array_like
    The labels t: of logits' shape and dtype, or integers or bools, or one number.
{params}weight : float or array_like, optional
    Each loss is multiplied by it; broadcasts to logits.
{_ARGUMENTS}

Returns
-------
{_RETURNS} Unreduced it has logits' shape.

Raises
------
TypeError
    For complex, object and string arrays, for labels of another dtype, for arrays of different kinds.
ValueError
    If shapes do not fit.

Notes
-----
Derivative: ``{definition.derivative_formula}``.

The mean is over all elements, whatever their weights.

Source: {definition.source}.

Examples
--------
>>> import numpy as np, fastact
>>> loss, dlogits = fastact.{name}.value_and_grad(np.array([-1.5, 0.0, 2.0]), [1, 0, 1])
>>> loss.shape, dlogits.shape
((), (3,))
"""


def _find(name: str, direction: str) -> Any:
    """What pickle looks up."""
    return LOSSES[name] if direction == "value" else getattr(LOSSES[name], direction)


#: Every loss by its name.
LOSSES: dict[str, Loss] = {
    loss.__name__: loss for loss in (SoftmaxCrossEntropy(), *map(ElementwiseLoss, ELEMENTWISE.values()), MultiClassHinge())
}
#: Every other name, by spelling -> loss.
LOSS_ALIASES: dict[str, Loss] = {
    "cross_entropy": LOSSES["softmax_cross_entropy"],
    "multi_margin": LOSSES["multi_class_hinge"],
    "multi_margin_loss": LOSSES["multi_class_hinge"],
    **{alias: LOSSES[name] for name, d in ELEMENTWISE.items() for alias in d.aliases},
}
