"""`RowwiseActivation`: functions of whole rows, softmax and its relatives. A call is checked, laid out as `Rows`, and run by a backend."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import activation, arrays, dispatch, docstrings, noise, registry
from .arrays import common
from .kernels.cpu import compiled
from .kernels.definitions import Definition
from .kernels.definitions.language import COSTS
from .rows import Rows, Spread


@dataclass(frozen=True)
class Kind:
    """What a row-wise function is made of, and what it can be asked."""

    program: str
    sign: float = 1.0  #: of the scale
    sink: bool = False
    lse: bool = False  #: whether it can return the logarithm of the sum as well
    reduces: bool = False  #: the result has one number a row
    noisy: bool = False
    from_output: bool = True


KINDS = {
    "softmax": Kind("softmax", sink=True, lse=True),
    "log_softmax": Kind("log_softmax", sink=True, lse=True),
    "softmin": Kind("softmax", sign=-1.0, sink=True, lse=True),
    "logsumexp": Kind("softmax", sink=True, reduces=True, from_output=False),
    "hardmax": Kind("hardmax", from_output=False),
    "gumbel_softmax": Kind("softmax", noisy=True),
    "sparsemax": Kind("sparsemax"),
    "entmax15": Kind("entmax15"),
    "entmax": Kind("entmax"),
}
#: What all of them take by name.
OPTIONS: dict[str, Any] = {
    "where": None,
    "scale": 1.0,
    "bias": None,
    "temperature": 1.0,
    "causal": False,
    "lengths": None,
    "all_masked": "zero",
    "out": None,
    "backend": None,
    "accuracy": None,
}
#: What has a number a row, or broadcasts over rows.
PER_ROW = ("bias", "where", "limits", "sink", "alpha", "noise", "lse", "dsink", "dalpha", "dbias", "row_grad")
INPUTS = {"value": ("x",), "backward": ("grad", "x"), "backward_from_output": ("grad", "y")}


class _RowDirection(compiled.RowEntry):
    """A row-wise function in one direction."""

    nin = 1

    def __init__(self, definition: Definition, direction: str) -> None:
        self.definition, self.direction, self.kind = definition, direction, KINDS[definition.name]
        kind = self.kind
        super().__init__(kind.program, direction, kind.sign, self._general, not (kind.reduces or kind.noisy or definition.params))
        self.cost = COSTS.index(definition.cost)
        self.__name__ = definition.name if direction == "value" else f"{definition.name}.{direction}"
        self.__qualname__, self.__module__ = self.__name__, "fastact"
        P = inspect.Parameter
        found = [P(name, P.POSITIONAL_OR_KEYWORD) for name in INPUTS[direction]]
        found += [P(n, P.POSITIONAL_OR_KEYWORD, default=d) for n, d in self.positional.items()]
        found += [P(n, P.KEYWORD_ONLY, default=P.empty if n == "seed" else d) for n, d in self.options.items()]
        self.__signature__ = inspect.Signature(found)

    @property
    def positional(self) -> dict[str, Any]:
        """What may follow the arrays by position."""
        return {**self.definition.params, "axis": -1}

    @property
    def options(self) -> dict[str, Any]:
        """What is passed by name only, and its defaults."""
        found, kind = dict(OPTIONS), self.kind
        if self.direction == "backward_from_output":
            del found["bias"]
        elif kind.sink:
            found = {**found, "sink": None}
        if kind.lse and self.direction == "value":
            found["return_lse"] = False
        if kind.reduces:
            found["keepdims"] = False
        if kind.noisy and self.direction != "backward_from_output":
            found = {"seed": None, "hard": False, **found}
        return found

    def __repr__(self) -> str:
        return f"<fastact.{self.__name__}>"

    def __reduce__(self) -> Any:
        return activation._find, (self.definition.name, self.direction)

    def __copy__(self) -> _RowDirection:
        return self

    def __deepcopy__(self, memo: Any) -> _RowDirection:
        return self

    @arrays.takes_tensors
    def _general(self, *args: Any, **kwargs: Any) -> Any:
        """Any call: checked, laid out, dispatched, run."""
        definition, kind, label, direction = self.definition, self.kind, self.__name__, self.direction
        names, value = INPUTS[direction], direction == "value"
        bound = {**OPTIONS, "sink": None, **common.bind(label, names, self.positional, self.options, args, kwargs)}
        if not isinstance(bound["all_masked"], str) or bound["all_masked"] not in ("zero", "nan"):
            raise ValueError(f"{label}: all_masked must be 'zero' or 'nan', not {bound['all_masked']!r}")
        return_lse, keepdims = (_flag(label, name, bound.get(name, False)) for name in ("return_lse", "keepdims"))
        bias, sink, alpha = bound["bias"], bound["sink"], bound.get("alpha")
        learned = [] if value else [n for n in ("bias", "sink", "alpha") if bound.get(n) is not None]
        outs = common.outputs(label, bound["out"], 1 + return_lse + len(learned))
        module = arrays.only() or arrays.of({**bound, **{f"out[{i}]": out for i, out in enumerate(outs)}})
        given = bound[names[-1]]
        plain = module.asarray(given)
        x = common.floating(plain, definition, names[-1], label)
        activation._see_bfloat16(x.dtype)
        dtype, name = common.kind_of(x.dtype), names[-1]
        rows = _Rows(label, x, bound["axis"], module)
        grad = None
        if not value:
            shape = rows.reduced(keepdims) if kind.reduces else x.shape
            grad = _gradient(module, bound["grad"], plain, x, shape, definition, label, name)
        expected = [rows.reduced(keepdims) if kind.reduces and value else x.shape, *([rows.reduced(False)] if return_lse else [])]
        expected += [tuple(np.shape(bound[n])) for n in learned]
        for i, (out, shape) in enumerate(zip(outs, expected, strict=True)):
            if out is not None:
                common.check_out(label, out, shape, x.dtype, module.owns, "out" if len(outs) == 1 else f"out[{i}]")
        if len(outs) > 1:
            module.check_apart(label, outs)
        temperature, scale = (_number(label, name, bound[name]) for name in ("temperature", "scale"))
        if temperature == 0.0 or not (math.isfinite(1.0 / temperature) and math.isfinite(scale / temperature)):
            raise ValueError(f"{label}: temperature must not be 0, scale / temperature finite; they are {temperature!r} and {scale!r}")
        target = None if kind.reduces and value else outs[0]
        bias_spread = None if bias is None else rows.spread("bias", _like(label, "bias", bias, x, module), target)
        where = None if bound["where"] is None else rows.spread("where", _mask(label, bound["where"], module), target)
        seed = noise.mixed(_seed(label, bound["seed"])) if "seed" in bound else None
        hard = _flag(label, "hard", bound.get("hard", False))
        alphas = rows.numbers("alpha", alpha, target) if "alpha" in bound else None
        if alphas is not None and alphas.size and not 1.0 <= float(alphas.min()) <= float(alphas.max()) < math.inf:
            raise ValueError(f"{label}: alpha must be at least 1 and finite, not {alpha!r}")
        settings = {
            "scale": kind.sign * scale / temperature,
            "bias_scale": kind.sign / temperature,
            "bias": bias_spread,
            "where": where,
            "limits": rows.limits(bound["causal"], bound["lengths"]),
            "masked_nan": bound["all_masked"] == "nan",
            "sink": None if sink is None else rows.numbers("sink", sink, target),
            "alpha": alphas,
            "noise": seed,
            "hard": hard,
        }
        library, count = module.library(), rows.count

        def result(wanted: bool) -> Any:
            return library.empty(count, "float64") if wanted else None

        settings |= {
            "lse": result(value and (return_lse or kind.reduces)),
            "dsink": result("sink" in learned),
            "dalpha": result("alpha" in learned),
            "dbias": library.zeros(bias_spread.data.size, "float64") if "bias" in learned and bias_spread is not None else None,
        }
        if kind.reduces and grad is not None:
            settings["row_grad"], grad = rows.ravelled(grad, target), None
        wide = dispatch.named_accuracy(bound["accuracy"]) == "precise" or dtype == "float64"
        plain_rows = all(settings.get(name) is None for name in PER_ROW)  # what else there is for each row would have to be cut too
        pieces = module.row_pieces(x, grad, target, rows.axes) if plain_rows else []
        if pieces and target is None:
            target = module.library().empty(x.shape, x.dtype.newbyteorder("="))

        scratch: dict[str, Any] = {}

        def lay(piece: Any) -> tuple[Rows, Any]:
            cut = {name: None if a is None else a[piece] for name, a in (("x", x), ("grad", grad))}
            wanted = not (kind.reduces and value)
            laid, out3, finish = module.lay_rows(
                cut, rows.axes, None if target is None else target[piece], wanted, scratch if pieces else None
            )
            return Rows(kind.program, direction, dtype, wide, out=out3, **laid, **settings), finish

        call, finish = lay(pieces[0] if pieces else ...)  # the first piece for its facts

        def run(backend: registry.Backend) -> None:
            if x.size and not pieces:
                backend.rows(call)
            for piece in pieces:
                part, done = lay(piece)
                backend.rows(part)
                done()

        if x.size == 0:  # no kernel runs: a row of nothing has the sink alone
            nothing = -np.inf if call.sink is None else call.sink
            for found, values in ((call.lse, np.nan if call.masked_nan else nothing), (call.dalpha, 0.0), (call.dsink, call.row_grad)):
                if found is not None:
                    found[...] = 0.0 if values is None else values
        served, _ = dispatch.serve(module.NAME, dtype, int(x.size), definition.cost, bound["backend"], run)
        activation.count_call(served)
        results = [rows.shaped(call.lse, keepdims, x.dtype, outs[0]) if kind.reduces and value else target if pieces else finish()]
        if return_lse:
            results.append(rows.shaped(call.lse, False, x.dtype, outs[1]))
        for n, out in zip(learned, outs[len(results) :], strict=True):
            total = rows.unspread(call.dbias, bias) if n == "bias" else rows.summed(getattr(call, f"d{n}"), bound[n])
            results.append(_stored(total, x.dtype, out))
        finished = [
            out if out is not None else module.finish(r, given if i == 0 else None, self)
            for i, (r, out) in enumerate(zip(results, outs, strict=True))
        ]
        return finished[0] if len(finished) == 1 else tuple(finished)


class RowwiseActivation(_RowDirection):
    """An activation function of whole rows.

    Calling it gives its value; `backward` its gradients from x, `backward_from_output` from the result, where that is enough.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition, "value")
        #: The names of the parameters that `backward` returns gradients of, where they are given.
        self.learnable = tuple(n for n in ("bias", "sink", "alpha") if n in {**self.options, **self.positional})
        self.__doc__ = docstrings.rowwise(definition, self)
        self.backward = _RowDirection(definition, "backward")
        self.backward.__doc__ = docstrings.rowwise_backward(definition, self)
        self.backward_from_output: Any = activation._Missing(definition.name)
        if self.kind.from_output:
            self.backward_from_output = _RowDirection(definition, "backward_from_output")
            self.backward_from_output.__doc__ = docstrings.rowwise_backward_from_output(definition)


# ---------------------------------------------------------------- rows


class _Rows:
    """How the rows of an array lie: along some axes, all others telling which row."""

    def __init__(self, label: str, x: Any, axis: Any, module: Any) -> None:
        self.label, self.module, self.shape = label, module, tuple(x.shape) or (1,)
        self.scalar, self.dtype = x.ndim == 0, x.dtype
        ndim = len(self.shape)
        if axis is None:
            axes = tuple(range(ndim))
        elif isinstance(axis, (tuple, list)):
            axes = tuple(sorted(common.position(label, a, ndim) for a in axis))
            if not axes or len(set(axes)) != len(axes):
                raise ValueError(f"{label}: axis must name at least one axis, and none twice, not {axis!r}")
        else:
            axes = (common.position(label, axis, ndim),)
        self.axes = axes
        self.rest = tuple(i for i in range(ndim) if i not in axes)
        self.row_shape = tuple(self.shape[i] for i in self.rest)
        self.count, self.n = math.prod(self.row_shape), math.prod(self.shape[i] for i in axes)

    def reduced(self, keepdims: bool) -> tuple[int, ...]:
        """The shape of what has one number a row."""
        if self.scalar:
            return ()
        return tuple(1 if i in self.axes else extent for i, extent in enumerate(self.shape)) if keepdims else self.row_shape

    def ravelled(self, a: Any, out: Any) -> Any:
        """One number a row, in float64; a copy where it shares memory with `out`."""
        found = self.module.library().ascontiguousarray(a, "float64").reshape(-1)
        return found.copy() if out is not None and self.module.overlap(found, out) else found

    def _broadcast(self, name: str, a: Any, shape: tuple[int, ...], what: str) -> Any:
        if not common.broadcasts(a.shape, shape):
            raise ValueError(f"{self.label}: {name} has shape {a.shape}, which does not broadcast to {what} {shape}")
        return self.module.library().broadcast_to(a, shape)

    def numbers(self, name: str, value: Any, out: Any) -> Any:
        """`value` as one number, or one a row, rounded to x's dtype."""
        a = _like(self.label, name, value, self, self.module)
        if a.size == 1:
            return self.ravelled(a, out)
        return self.ravelled(self._broadcast(name, a, self.row_shape, "x's shape without axis,"), out)

    def summed(self, found: Any, value: Any) -> Any:
        """The rows' gradients, summed to the shape of the parameter."""
        shape = tuple(np.shape(value))
        found = found.reshape(self.row_shape)
        lead = found.ndim - len(shape)
        if lead < 0:  # a parameter of one element with more axes than there are rows
            return found.sum().reshape(shape)
        same = (*range(lead), *(lead + i for i, extent in enumerate(shape) if extent == 1))
        return found.sum(axis=same).reshape(shape)

    def _grouped(self, a: Any) -> tuple[Any, list[int]]:
        """`a` with x's number of axes, in the order outer, along the row, inner."""
        a = a.reshape((1,) * (len(self.shape) - a.ndim) + a.shape)
        inner = [i for i in self.rest if i > self.axes[-1]] if self._adjacent else []
        order = [i for i in self.rest if i not in inner] + list(self.axes) + inner
        return a.transpose(order), order

    @property
    def _adjacent(self) -> bool:
        return self.axes[-1] - self.axes[0] == len(self.axes) - 1

    def spread(self, name: str, a: Any, out: Any) -> Spread:
        """An array that broadcasts to x, as kernels find its elements; a copy where it shares memory with `out`."""
        if not common.broadcasts(a.shape, self.shape):
            raise ValueError(f"{self.label}: {name} has shape {a.shape}, which does not broadcast to x's shape {self.shape}")
        library = self.module.library()
        grouped, order = self._grouped(a)
        outer = order.index(self.axes[0])
        inner = outer + len(self.axes)
        along = grouped.shape[outer:inner]
        if math.prod(along) > 1 and along != tuple(self.shape[i] for i in self.axes):  # broadcast along some of the axes only
            grouped = library.broadcast_to(grouped, (*grouped.shape[:outer], *(self.shape[i] for i in self.axes), *grouped.shape[inner:]))
            along = grouped.shape[outer:inner]
        grouped = library.ascontiguousarray(self.module.storage(grouped))
        if out is not None and self.module.overlap(grouped, out):
            grouped = grouped.copy()
        inners = math.prod(grouped.shape[inner:])
        length = math.prod(along)
        extents = [self.shape[i] for i in order]

        def offsets(shape: tuple[int, ...], target: list[int], unit: int) -> Any:
            index = (library.arange(math.prod(shape), dtype="int64") * unit).reshape(shape)
            return library.ascontiguousarray(library.broadcast_to(index, tuple(target))).reshape(-1)

        return Spread(
            grouped.reshape(-1),
            offsets(grouped.shape[:outer], extents[:outer], length * inners),
            0 if length == 1 else inners,
            offsets(grouped.shape[inner:], extents[inner:], 1),
        )

    def unspread(self, found: Any, value: Any) -> Any:
        """Sums that lie as the data of `spread` does, in the shape of the array that was spread."""
        shape = tuple(np.shape(value))
        full = (1,) * (len(self.shape) - len(shape)) + shape
        _, order = self._grouped(self.module.library().broadcast_to(self.module.library().zeros(1), full))
        along = math.prod(full[i] for i in self.axes)
        now = [self.shape[i] if i in self.axes and along > 1 else full[i] for i in order]
        found = found.reshape(now).transpose([order.index(i) for i in range(len(order))])
        same = tuple(i for i, extent in enumerate(full) if extent == 1 and found.shape[i] != 1)
        return (found.sum(axis=same) if same else found).reshape(shape)

    def limits(self, causal: Any, lengths: Any) -> Any:
        """How many leading elements of each row count; None: all."""
        label, library, found = self.label, self.module.library(), None
        if lengths is not None:
            a = self.module.asarray(lengths)
            if a.dtype.kind not in "iu":
                raise TypeError(f"{label}: lengths must be integers, not {a.dtype}")
            if a.size and not 0 <= int(a.min()) <= int(a.max()) <= self.n:
                raise ValueError(f"{label}: lengths must be from 0 to {self.n}, the length of a row; they are from {a.min()} to {a.max()}")
            found = self._broadcast("lengths", a.astype("int64"), self.row_shape, "x's shape without axis,")
        if not (isinstance(causal, (bool, np.bool_)) or (isinstance(causal, str) and causal == "aligned")):
            raise ValueError(f"{label}: causal must be True, False or 'aligned', not {causal!r}")
        if causal is not False and causal is not np.False_:
            if len(self.axes) != 1 or self.axes[0] == 0:
                raise ValueError(
                    f"{label}: causal needs one axis, and one before it, that of the queries; axis is {self.axes} of {len(self.shape)}"
                )
            queries, axis = self.shape[self.axes[0] - 1], self.axes[0] - 1
            seen = library.arange(1, queries + 1, dtype="int64") + (self.n - queries if isinstance(causal, str) else 0)
            seen = seen.clip(0, self.n).reshape([queries if i == axis else 1 for i in self.rest])
            found = seen if found is None else library.minimum(found, seen)
        if found is None:
            return None
        return library.ascontiguousarray(library.broadcast_to(found, self.row_shape)).reshape(-1)

    def shaped(self, found: Any, keepdims: bool, dtype: Any, out: Any) -> Any:
        """One number a row, as the result."""
        return _stored(found.reshape(self.reduced(keepdims)), dtype, out)

    @property
    def ndim(self) -> int:
        """As of an array."""
        return len(self.shape)


def _stored(found: Any, dtype: Any, out: Any) -> Any:
    """float64 numbers in the result's dtype, rounded once."""
    with np.errstate(all="ignore"):
        stored = found.astype(dtype.newbyteorder("="))
    if out is None:
        return stored
    out[...] = stored
    return out


def _gradient(module: Any, grad: Any, plain: Any, x: Any, shape: tuple[int, ...], definition: Definition, label: str, name: str) -> Any:
    array = module.asarray(grad if hasattr(grad, "dtype") else np.asarray(grad, x.dtype))
    if plain.dtype != x.dtype:
        array = common.floating(array, definition, "grad", label)
    if common.kind_of(array.dtype) != common.kind_of(x.dtype):
        raise TypeError(f"{label}: grad has dtype {array.dtype}, but {name} has {x.dtype}; they must be the same")
    if array.shape != shape:
        raise ValueError(f"{label}: grad has shape {array.shape}, but the result has {shape}; they must be the same")
    return array


def _number(label: str, name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{label}: {name} must be a real number, not {value!r}")
    return float(value)


def _flag(label: str, name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{label}: {name} must be True or False, not {value!r}")
    return bool(value)


def _seed(label: str, seed: Any) -> int:
    if seed is None:
        raise TypeError(
            f"{label}() missing required keyword argument 'seed', an integer; the same seed draws the same noise, so that backward can"
        )
    return noise.checked_seed(label, seed)


def _like(label: str, name: str, value: Any, x: Any, module: Any) -> Any:
    """A parameter as an array of x's dtype."""
    array = module.asarray(value if hasattr(value, "dtype") else np.asarray(value))
    if array.dtype.kind not in "iuf" and common.kind_of(array.dtype) not in common.KINDS:
        raise TypeError(f"{label}: {name} must be a real number or an array of them, not {value!r} of dtype {array.dtype}")
    with np.errstate(all="ignore"):
        return array.astype(x.dtype.newbyteorder("="), copy=False)


def _mask(label: str, where: Any, module: Any) -> Any:
    where = module.asarray(where)
    if where.dtype != np.bool_:
        raise TypeError(f"{label}: where must be an array of bool, not {where.dtype}")
    return where
