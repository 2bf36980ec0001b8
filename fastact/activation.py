"""The callables that users hold: `Activation` for elementwise functions; those of whole rows are in `rowwise`.

An `Activation` is its own value; ``derivative`` and ``backward`` hang on it. Each is a compiled `Entry` that serves plain arrays
itself and hands everything else to `_general`, here.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from . import arrays, dispatch, docstrings, noise, registry
from .arrays import common
from .kernels.cpu import compiled
from .kernels.definitions import DEFINITIONS, Definition
from .kernels.definitions.language import COSTS, evaluate

#: What is passed in, in order, for each direction.
INPUTS = {
    "value": ("x",),
    "derivative": ("x",),
    "backward": ("grad", "x"),
    "value_and_derivative": ("x",),
    "backward_from_output": ("grad", "y"),
}
#: The directions whose result has the derivative's value at a kink.
DIFFERENTIATED = ("derivative", "backward", "value_and_derivative")
COMMON: dict[str, Any] = {"out": None, "backend": None, "accuracy": None}
#: With parameters, which may lie on an axis.
PARAMETER_OPTIONS: dict[str, Any] = {**COMMON, "axis": None}


def _see_bfloat16(dtype: Any) -> None:
    if common.kind_of(dtype) == "bfloat16":
        compiled.set_bfloat16(dtype)


class _Direction(compiled.Entry):
    """An activation in one direction."""

    #: As for ufuncs: the inputs whose masks and classes the result takes.
    nin = 1
    #: Defaults that are not the definition's own.
    changed: Mapping[str, float] = MappingProxyType({})

    def __init__(self, definition: Definition, direction: str) -> None:
        super().__init__(f"{definition.name}_{direction}", self._general, definition.params)
        self.definition, self.direction = definition, direction
        if direction == "backward":
            self.learned = tuple(list(definition.params).index(p) for p in definition.learnable)
        # Above this the choice of backend is made in Python. Whether threads pay is known in compiled code, by the cost class.
        self.limit = sys.maxsize
        self.cost = COSTS.index(definition.cost)
        if direction == "backward_from_output" and definition.output_requires:
            self.limit = -1  # parameters must be looked at
        suffix = "" if direction == "value" else f".{direction}"
        self.__name__ = f"{definition.name}{suffix}"
        self.__qualname__ = self.__name__
        self.__module__ = "fastact"
        self.__signature__ = self._signature()

    @property
    def options(self) -> dict[str, Any]:
        """What is passed by name only, and its defaults."""
        found = dict(PARAMETER_OPTIONS if self.definition.params else COMMON)
        if self.direction == "derivative" and self.definition.smooth:
            found = {"order": 1, **found}
        if self.direction in DIFFERENTIATED and self.definition.kinks:
            found["kink"] = None
        if self.definition.randomized:
            found |= {"training": False, "seed": None}
        return found

    def _signature(self) -> inspect.Signature:
        P = inspect.Parameter
        empty = P.empty
        found = [P(name, P.POSITIONAL_OR_KEYWORD) for name in INPUTS[self.direction]]
        found += [P(n, P.POSITIONAL_OR_KEYWORD, default=empty if d is None else d) for n, d in self.definition.params.items()]
        return inspect.Signature([*found, *(P(name, P.KEYWORD_ONLY, default=default) for name, default in self.options.items())])

    def __repr__(self) -> str:
        name, dot, direction = self.__name__.partition(".")
        changed = ", ".join(f"{n}={value!r}" for n, value in self.changed.items())
        return f"<fastact.{name}{changed and f'({changed})'}{dot}{direction}>"

    def __reduce__(self) -> Any:
        return _find, (self.definition.name, self.direction, dict(self.changed))

    def __copy__(self) -> _Direction:
        return self

    def __deepcopy__(self, memo: Any) -> _Direction:
        return self

    @arrays.takes_tensors
    def _general(self, *args: Any, **kwargs: Any) -> Any:
        """Any call: checked, dispatched, run."""
        definition, label, names, direction = self.definition, self.__name__, INPUTS[self.direction], self.direction
        bound = common.bind(label, names, definition.params, self.options, args, kwargs)
        training = bound.pop("training", False)
        if not isinstance(training, (bool, np.bool_)):
            raise TypeError(f"{label}: training must be True or False, not {training!r}")
        if training:
            return self._train(bound)
        if direction == "derivative" and _order(label, bound.get("order", 1)) == 2:
            direction = "second_derivative"
        kink = _kink(label, bound.get("kink"))
        learnable = definition.learnable if direction == "backward" else ()
        stored = 2 if direction == "value_and_derivative" else 1
        outs = common.outputs(label, bound["out"], stored + len(learnable))
        module = arrays.only() or arrays.of({**bound, **{f"out[{i}]": out for i, out in enumerate(outs)}})
        given = bound[names[-1]]
        plain = module.asarray(given)
        x = common.floating(plain, definition, names[-1], label)
        _see_bfloat16(x.dtype)
        inputs = [x]
        if len(names) == 2:
            inputs = [_gradient(module, bound["grad"], plain, x, definition, label, names[-1]), x]
        axis = None if bound.get("axis") is None else common.position(label, bound["axis"], x.ndim)
        params = [common.parameter(label, n, bound[n], x, axis, module.asarray) for n in definition.params]
        by_name = dict(zip(definition.params, params, strict=True))
        if direction == "backward_from_output" and definition.output_requires and not np.all(evaluate(definition.output_requires, by_name)):
            raise ValueError(f"{label}: the derivative follows from the output only if {definition.output_requires}")
        for i, out in enumerate(outs):
            if out is not None:
                shape = x.shape if i < stored else _shape(bound[learnable[i - stored]])
                common.check_out(label, out, shape, x.dtype, module.owns, "out" if len(outs) == 1 else f"out[{i}]")
        if len(outs) > 1:
            module.check_apart(label, outs)
        wide = dispatch.named_accuracy(bound["accuracy"]) == "precise" or direction == "second_derivative"
        targets = [None if out is None else module.asarray(out) for out in outs]
        repairs = _repairs(definition, kink, x, by_name) if kink else []
        grad = inputs[0].copy() if repairs and direction == "backward" else None

        def run(backend: registry.Backend) -> Any:
            return module.run_elementwise(backend, definition, direction, inputs, params, targets, wide)

        served, results = dispatch.serve(module.NAME, common.kind_of(x.dtype), int(x.size), definition.cost, bound["backend"], run)
        count_call(served)
        if repairs:
            with np.errstate(all="ignore"):
                for place, slope in repairs:
                    module.replace(results[stored - 1], slope if grad is None else grad * slope, place)
        finished = [module.finish(r, given, self) if out is None else out for r, out in zip(results[:stored], outs, strict=False)]
        if stored + len(learnable) == 1:
            return finished[0]
        # A gradient has its parameter's own shape, also where `axis` moved it; a number's is a number.
        gradients = [r.reshape(_shape(bound[p])) for r, p in zip(results[stored:], learnable, strict=True)]
        return *finished, *(module.finish(g, None, self) if out is None else out for g, out in zip(gradients, outs[stored:], strict=True))

    def _train(self, bound: dict[str, Any]) -> Any:
        """The training form of a randomized function: another one whose parameter is drawn for each element between two bounds."""
        definition, names = self.definition, INPUTS[self.direction]
        low, high = (bound.pop(p) for p in definition.params)
        seed = noise.checked_seed(self.__name__, bound.pop("seed"))
        x = arrays.of(bound).asarray(bound[names[-1]])
        for name, value in (("lower", low), ("upper", high)):
            if not isinstance(value, (int, float, np.floating, np.integer)) or isinstance(value, bool):
                raise TypeError(f"{self.__name__}: {name} must be a number where training=True, not {value!r}")
        if not low <= high:
            raise ValueError(f"{self.__name__}: lower must not be above upper, but {low!r} is above {high!r}")
        drawn = float(low) + (float(high) - float(low)) * noise.uniform(seed, x.shape, arrays.of(bound).library())
        trained = ACTIVATIONS[definition.randomized]
        call = trained if self.direction == "value" else getattr(trained, self.direction)
        return call(*(bound.pop(n) for n in names), drawn, **{k: v for k, v in bound.items() if k != "axis"})


def _repairs(definition: Definition, kink: str, x: Any, params: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Where x is a kink, found before the result may be written over x, and the slope on that side of it."""
    found = []
    with np.errstate(all="ignore"):
        for at, sides in definition.kinks.items():
            point, slope = (evaluate(e, params) for e in (at, sides[kink == "right"]))
            found.append((x == (point.astype(x.dtype) if getattr(point, "ndim", 0) else np.asarray(point).astype(x.dtype)), slope))
    return found


def _order(label: str, order: Any) -> int:
    if not isinstance(order, int) or isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"{label}: order must be 1 or 2, not {order!r}")
    return int(order)


def _kink(label: str, kink: Any) -> str | None:
    if kink is not None and (not isinstance(kink, str) or kink not in ("left", "right")):
        raise ValueError(f"{label}: kink must be None, 'left' or 'right', not {kink!r}")
    return kink


def _gradient(module: Any, grad: Any, plain: Any, x: Any, definition: Definition, label: str, name: str) -> Any:
    """The gradient as an array like x; `plain` is x before its integers became floats. What has no dtype of its own takes x's."""
    array = module.asarray(grad if hasattr(grad, "dtype") else np.asarray(grad, x.dtype))
    if plain.dtype != x.dtype:
        array = common.floating(array, definition, "grad", label)
    common.check_gradient(label, array, x, name)
    return array


def _shape(parameter: Any) -> tuple[int, ...]:
    return tuple(np.shape(parameter))


class _Missing:
    """In the place of a direction that a function does not have: says so when it is called."""

    def __init__(self, name: str) -> None:
        self._function = name
        self.__name__ = f"{name}.backward_from_output"
        self.__doc__ = f"Not there: the derivative of {name} does not follow exactly from its output. Use ``{name}.backward(grad, x)``."

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"{self._function} has no backward_from_output: its derivative does not follow exactly from its output; use backward(grad, x)"
        )

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}: missing>"

    def __reduce__(self) -> Any:
        return _find, (self._function, "backward_from_output")


class Activation(_Direction):
    """An elementwise activation function.

    Calling it gives its value; `derivative` and `backward` give its derivative and the chain rule's product.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition, "value")
        #: The names of the parameters whose gradients `backward` returns.
        self.learnable = definition.learnable
        self.__doc__ = docstrings.elementwise(definition)

    def _in(self, direction: str) -> _Direction:
        made = _Direction(self.definition, direction)
        made.__doc__ = getattr(docstrings, direction)(self.definition)
        made.changed = self.changed
        return made

    # Made when they are first asked for: there are hundreds.
    @functools.cached_property
    def derivative(self) -> _Direction:
        """The derivative."""
        return self._in("derivative")

    @functools.cached_property
    def backward(self) -> _Direction:
        """The chain rule's product."""
        return self._in("backward")

    @functools.cached_property
    def value_and_derivative(self) -> _Direction:
        """Both in one pass."""
        return self._in("value_and_derivative")

    @functools.cached_property
    def backward_from_output(self) -> Any:
        """The chain rule's product from the output, where the derivative follows from it exactly."""
        definition = self.definition
        if "derivative_from_output" in definition.roles:
            return self._in("backward_from_output")

        return _Missing(definition.name)

    @arrays.takes_tensors
    def forward_with_mask(self, *args: Any, **kwargs: Any) -> Any:
        """The value, and one bit an element that says which of its two slopes the function has there.

        Parameters
        ----------
        x : array_like
        *params : float
            The function's parameters: numbers.
        out : array, optional
            Where the value goes; it may be x.
        backend : str, optional

        Returns
        -------
        y : array
        mask : array of uint8
            ``ceil(x.size / 8)`` bytes: elements in C order, the first in the lowest bit. All that `backward_from_mask` needs.

        Raises
        ------
        NotImplementedError
            For functions whose derivative takes other than two values.

        Examples
        --------
        >>> import numpy as np, fastact
        >>> y, mask = fastact.relu.forward_with_mask(np.array([1.0, -1.0, 2.0]))
        >>> mask
        array([5], dtype=uint8)
        >>> fastact.relu.backward_from_mask(np.ones(3), mask)
        array([1., 0., 1.])
        """
        from .fused import forward_with_mask

        return forward_with_mask(self, args, kwargs)

    @arrays.takes_tensors
    def backward_from_mask(self, *args: Any, **kwargs: Any) -> Any:
        """The chain rule's product from the mask of `forward_with_mask`: ``(grad, mask, *params, out=None, backend=None)``.

        NaN in x is not in the mask: such an element has the lower of the slopes.
        """
        from .fused import backward_from_mask

        return backward_from_mask(self, args, kwargs)

    def with_defaults(self, **params: float) -> Activation:
        """The same function, on the same kernels, with other defaults for its parameters.

        What its `definition` says of values and slopes still speaks of the original defaults.

        Parameters
        ----------
        **params : float
            The new defaults; also for parameters that had to be given.

        Returns
        -------
        Activation
            The same object for the same defaults; pickled and copied with them.

        Raises
        ------
        TypeError
            For a parameter that the function does not have, or that is no real number.

        Examples
        --------
        >>> import numpy as np, fastact
        >>> leaky = fastact.leaky_relu.with_defaults(alpha=0.2)
        >>> leaky, leaky.backward
        (<fastact.leaky_relu(alpha=0.2)>, <fastact.leaky_relu(alpha=0.2).backward>)
        >>> leaky(np.array([-1.0, 1.0]))
        array([-0.2,  1. ])
        """
        defaults, label = self.definition.params, f"{self.__name__}.with_defaults"
        given: Mapping[str, Any] = params
        for name, value in given.items():
            if name not in defaults:
                raise TypeError(f"{label}() got an unexpected keyword argument {name!r}; it takes {', '.join(defaults) or 'none'}")
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{label}: {name} must be a real number, not {value!r}")
        later = [name for name, default in {**defaults, **given}.items() if default is None]
        if later and list(defaults).index(later[-1]) > min(map(list(defaults).index, given), default=len(defaults)):
            raise TypeError(f"{label}: {later[-1]} comes after {', '.join(given)} and has no default; give it one too")
        changed = {**self.changed, **{name: float(value) for name, value in given.items() if value != defaults[name]}}
        if changed == self.changed:
            return self
        # The value's scalar function tells activations apart; their names need not.
        key = self.definition.roles["value"], frozenset(changed.items())
        found = _with_defaults.get(key)
        if found is None:
            made = type(self)(dataclasses.replace(self.definition, params={**defaults, **changed}))
            made.__doc__ = docstrings.with_defaults(self.definition, changed)
            made.changed = changed
            found = _with_defaults.setdefault(key, made)
        return found


#: Activations with other defaults, while somebody holds them.
_with_defaults: WeakValueDictionary[tuple[Any, frozenset[tuple[str, float]]], Activation] = WeakValueDictionary()


def _find(name: str, direction: str, changed: Mapping[str, float] = MappingProxyType({})) -> Any:
    """What pickle looks up."""
    found = ACTIVATIONS[name].with_defaults(**changed) if changed else ACTIVATIONS[name]
    return found if direction == "value" else getattr(found, direction)


# ---------------------------------------------------------------- who served what

_calls: dict[str, int] = {}


def count_call(backend: str) -> None:
    """Note that a backend serves a call that did not take the fast path."""
    _calls[backend] = _calls.get(backend, 0) + 1


class count_calls:
    """Count which backend serves how many calls inside a ``with`` block; the counts are there when it ends.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> with fastact.count_calls() as calls:
    ...     y = fastact.relu(np.zeros(3))
    >>> calls
    {'cython': 1}
    """

    def __enter__(self) -> dict[str, int]:
        self._before = self._now()
        self._found: dict[str, int] = {}
        return self._found

    def __exit__(self, *exc: object) -> None:
        counts = {name: count - self._before.get(name, 0) for name, count in self._now().items()}
        self._found.update({name: count for name, count in counts.items() if count})

    @staticmethod
    def _now() -> dict[str, int]:
        return {
            **_calls,
            "cython": _calls.get("cython", 0) + compiled.served(),
            "cupy": _calls.get("cupy", 0) + compiled.served_cuda(),
        }


# ---------------------------------------------------------------- explanations


class Explanation:
    """Which backend would serve a call, and why; prints as a sentence.

    Attributes
    ----------
    backend, reason : str
    kind : str
        The dtype's name.
    size, threads : int
    instruction_set : str or None
        For the cython backend.
    """

    def __init__(self, function: str, arrays_kind: str, kind: str, size: int, accuracy: str, choice: dispatch.Choice) -> None:
        self.function, self.arrays, self.kind, self.size, self.accuracy = function, arrays_kind, kind, size, accuracy
        self.backend, self.reason = choice.backend, choice.reason
        self.instruction_set = compiled.ISA if choice.backend == "cython" else None
        self.threads = choice.threads

    def __repr__(self) -> str:
        how = f", {self.instruction_set}" if self.instruction_set else ""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.function} on {self.size} elements of {self.kind} ({self.arrays}, accuracy {self.accuracy!r}): "
            f"backend {self.backend!r} ({threads}{how}), because {self.reason}"
        )


def explain(fn: Any, x: Any, *, backend: str | None = None, accuracy: str | None = None) -> Explanation:
    """Say which backend ``fn(x)`` would use, and why.

    Parameters
    ----------
    fn : Activation, or one of its directions
        For example ``fastact.gelu`` or ``fastact.gelu.backward``.
    x : array_like
        The array it would be called with.
    backend, accuracy : str, optional
        As in the call.

    Returns
    -------
    Explanation
        With attributes ``backend``, ``reason``, ``threads`` and more; prints as a sentence.

    Raises
    ------
    TypeError
        If `fn` is not one of fastact's functions, or x is not an array of real numbers.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> fastact.explain(fastact.gelu, np.zeros(8, np.float32)).backend
    'cython'
    """
    definition = getattr(fn, "definition", None) or getattr(getattr(fn, "__self__", None), "definition", None)
    if definition is None:
        raise TypeError(f"fn must be one of fastact's functions, not {fn!r}")
    found: Explanation = _explained(fn, definition, x, backend, accuracy)
    return found


@arrays.takes_tensors
def _explained(fn: Any, definition: Definition, x: Any, backend: str | None, accuracy: str | None) -> Explanation:
    module = arrays.of({"x": x})
    x = common.floating(module.asarray(x), definition, "x", "explain")
    kind = common.kind_of(x.dtype)
    choice = dispatch.decide(module.NAME, kind, int(x.size), definition.cost, backend)
    label = fn.__name__ if fn.__name__.startswith(definition.name) else f"{definition.name}.{fn.__name__}"
    return Explanation(label, module.NAME, kind, int(x.size), dispatch.named_accuracy(accuracy), choice)


def _build() -> dict[str, Any]:
    from .rowwise import RowwiseActivation  # it needs this module

    return {name: (Activation if d.family == "elementwise" else RowwiseActivation)(d) for name, d in DEFINITIONS.items()}


#: Every activation by its name, in the order of definition.
ACTIVATIONS: dict[str, Any] = _build()
#: Every other name, by spelling -> function.
ALIASES: dict[str, Any] = {alias: ACTIVATIONS[name] for name, d in DEFINITIONS.items() for alias in d.aliases}
