"""The calls that benchmarks/cpu.py times: the same function in every library that is installed, as sparing as each one allows.

All arrays are numpy's, shared and not copied. Those of one call are laid out so that their addresses do not agree modulo 4096: where
they do, a load that follows a store to the other array waits for it, on every x86 processor, in whoever's loop.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastact
from fastact.cli.formulas import formula
from fastact.regression.suite import dtype
from fastact.verify import peers

Array = Any
Call = Callable[[], object]

FUNCTIONS = ("relu", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "mish", "softplus", "elu", "hard_silu")
#: Where in a page the arrays of a call begin.
X, GRAD, OUT = 0, 1344, 2688


def placed(values: Array, offset: int) -> Array:
    """A copy of `values` at an address that is `offset` modulo 4096."""
    values = np.ascontiguousarray(values)
    buffer = np.empty(values.nbytes + 8192, np.uint8)
    begin = (offset - buffer.ctypes.data) % 4096
    found = buffer[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


@dataclass(frozen=True)
class Task:
    """What all are asked for: a function and a direction, of these arrays, into `out`; a fresh result if that is None."""

    name: str
    x: Array
    grad: Array | None = None
    out: Array | None = None

    @classmethod
    def of(cls, name: str, size: int, kind: str, backward: bool = False, fresh: bool = False) -> Task:
        """On normal numbers."""
        rng = np.random.default_rng(0)
        x, grad = (rng.standard_normal(size, np.float32).astype(dtype(kind)) for _ in range(2))
        return cls(name, placed(x, X), placed(grad, GRAD) if backward else None, None if fresh else placed(np.zeros_like(x), OUT))


# ---------------------------------------------------------------- fastact, NumPy

#: Whose gradient frameworks take from the output, which they keep.
FROM_OUTPUT = ("sigmoid", "tanh")


def by_fastact(task: Task, accuracy: str = "fast") -> Call:
    """fastact, as programs call it; `accuracy` is named only if it is not the default."""
    f, options = getattr(fastact, task.name), {} if accuracy == "fast" else {"accuracy": accuracy}
    options |= {} if task.out is None else {"out": task.out}
    if task.grad is None:
        return functools.partial(f, task.x, **options)
    if task.name in FROM_OUTPUT:
        return functools.partial(f.backward_from_output, task.grad, placed(f(task.x), X), **options)
    return functools.partial(f.backward, task.grad, task.x, **options)


def by_numpy(task: Task) -> Call:
    """The formula in NumPy and SciPy, which makes arrays on the way; a ufunc's ``out`` where one call is all."""
    if task.grad is not None:
        raise LookupError
    if task.name == "relu":
        return functools.partial(np.maximum, task.x, np.float32(0), out=task.out)
    if task.name == "tanh":
        return functools.partial(np.tanh, task.x, out=task.out)
    return functools.partial(formula(task.name).value, task.x, *getattr(fastact, task.name).definition.params.values())


# ---------------------------------------------------------------- PyTorch


def tensor(a: Array) -> Any:
    """The array as a tensor, sharing memory."""
    import torch

    return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16) if a.dtype.name == "bfloat16" else torch.from_numpy(a)


def by_torch(task: Task) -> Call:
    """PyTorch's operations themselves, without autograd; into existing memory if they can."""
    import torch

    aten, x = torch.ops.aten, tensor(task.x)
    if task.grad is not None:
        given = tensor(placed(getattr(fastact, task.name)(task.x), X)) if task.name in FROM_OUTPUT else x
        operation, rest, into = {
            "relu": (aten.threshold_backward.grad_input, (0.0,), True),
            "sigmoid": (aten.sigmoid_backward.grad_input, (), True),
            "tanh": (aten.tanh_backward.grad_input, (), True),
            "silu": (aten.silu_backward.grad_input, (), True),
            "gelu": (aten.gelu_backward.grad_input, (), True),
            "gelu_tanh": (functools.partial(aten.gelu_backward.grad_input, approximate="tanh"), (), True),
            "mish": (aten.mish_backward.default, (), False),  # there is none with an `out` of its own
            "softplus": (aten.softplus_backward.grad_input, (1.0, 20.0), True),
            "elu": (lambda grad, x, **out: aten.elu_backward.grad_input(grad, 1.0, 1.0, 1.0, False, x, **out), (), True),
            "hard_silu": (aten.hardswish_backward.default, (), False),
        }[task.name]
        out = {"grad_input": tensor(task.out)} if into else {}
        return functools.partial(operation, tensor(task.grad), given, *rest, **out)
    if task.out is None:
        function = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}.get(task.name)
        return functools.partial(function or peers.function(task.name, "torch"), x)  # what is written around it counts in small calls
    operation, rest, options = {
        "relu": (aten.clamp_min.out, (0.0,), {}),  # what torch.relu calls
        "sigmoid": (aten.sigmoid.out, (), {}),
        "tanh": (aten.tanh.out, (), {}),
        "silu": (aten.silu.out, (), {}),
        "gelu": (aten.gelu.out, (), {}),
        "gelu_tanh": (aten.gelu.out, (), {"approximate": "tanh"}),
        "mish": (aten.mish.out, (), {}),
        "softplus": (aten.softplus.out, (), {}),
        "elu": (aten.elu.out, (), {}),
        "hard_silu": (aten.hardswish.out, (), {}),
    }[task.name]
    return functools.partial(operation, x, *rest, **options, out=tensor(task.out))


# ---------------------------------------------------------------- JAX, onnxruntime, numexpr


def by_jax(task: Task) -> Call:
    """JAX, compiled. It has no ``out``: it reuses the memory of the last result, as that is gone."""
    import jax

    if task.grad is not None:
        raise LookupError
    run = jax.jit(peers.function(task.name, "jax"))
    # Its results lie where it likes; the input moves so that the two lie as the others' do.
    there = run(jax.device_put(task.x)).unsafe_buffer_pointer() if task.out is not None else OUT
    x = jax.device_put(placed(task.x, there - OUT + X))
    return lambda: run(x).block_until_ready()


def by_onnxruntime(task: Task) -> Call:
    """A model of this one operation, with input and output bound."""
    import onnxruntime
    from onnx import TensorProto, helper

    if task.grad is not None or task.x.dtype != np.float32:
        raise LookupError
    node, attributes = {
        "relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "silu": ("silu", {}), "gelu": ("Gelu", {}),
        "gelu_tanh": ("Gelu", {"approximate": "tanh"}), "mish": ("Mish", {}), "softplus": ("Softplus", {}), "elu": ("Elu", {}),
        "hard_silu": ("HardSwish", {}),
    }[task.name]  # fmt: skip
    nodes = [helper.make_node(node, ["x"], ["y"], **attributes)]
    if node == "silu":  # onnxruntime fuses the two
        nodes = [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [task.x.size]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "one", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, task.x.shape, task.x.ctypes.data)
    if task.out is None:
        binding.bind_output("y")
    else:
        binding.bind_output("y", "cpu", 0, np.float32, task.x.shape, task.out.ctypes.data)
    return lambda: (session.run_with_iobinding(binding), task)  # which keeps the arrays


def by_numexpr(task: Task) -> Call:
    """One expression, compiled once; constants are float32, or all would be float64."""
    import numexpr

    if task.grad is not None or task.x.dtype != np.float32:
        raise LookupError
    numexpr.set_num_threads(len(os.sched_getaffinity(0)))
    expression = {
        "relu": "where(x > zero, x, zero)",
        "sigmoid": "one / (one + exp(-x))",
        "tanh": "tanh(x)",
        "silu": "x / (one + exp(-x))",
        "gelu_tanh": "half * x * (one + tanh(root * (x + cubic * x * x * x)))",
        "mish": "x * tanh(log1p(exp(x)))",
        "softplus": "log1p(exp(x))",
        "elu": "where(x > zero, x, expm1(x))",
        "hard_silu": "x * where(x <= -three, zero, where(x >= three, one, (x + three) / six))",
    }[task.name]
    numbers = {"zero": 0, "one": 1, "half": 0.5, "three": 3, "six": 6, "root": np.sqrt(2 / np.pi), "cubic": 0.044715}
    given = {"x": task.x} | {name: np.float32(value) for name, value in numbers.items() if name in expression}
    numexpr.evaluate(expression, given, out=task.out)
    return lambda: numexpr.re_evaluate(given)


PEERS: dict[str, Callable[[Task], Call]] = {
    "PyTorch": by_torch, "JAX": by_jax, "NumPy/SciPy": by_numpy, "onnxruntime": by_onnxruntime, "numexpr": by_numexpr,
}  # fmt: skip
PACKAGES = {"PyTorch": "torch", "JAX": "jax", "NumPy/SciPy": "scipy", "onnxruntime": "onnxruntime", "numexpr": "numexpr"}


def installed(package: str) -> bool:
    """Whether it can be imported; it is not."""
    return importlib.util.find_spec(package) is not None and (package != "onnxruntime" or importlib.util.find_spec("onnx") is not None)


def everyone(task: Task, who: tuple[str, ...] = tuple(PEERS)) -> Iterator[tuple[str, Call]]:
    """The peers that are here and can do it; each is called once and must give what fastact gives."""
    expected = np.asarray(by_fastact(task)()).astype(np.float64)
    tolerance = {2: 0.02, 4: 1e-3, 8: 1e-6}[task.x.dtype.itemsize]
    for peer in who:
        if not installed(PACKAGES[peer]):
            continue
        try:
            call = PEERS[peer](task)
        except LookupError:  # has no such function
            continue
        result = call()
        if peer in ("onnxruntime", "numexpr") and task.out is not None:
            result = task.out
        if not isinstance(result, tuple):
            result = result.float().numpy() if "bfloat16" in str(result.dtype) and peer == "PyTorch" else result
            np.testing.assert_allclose(
                np.asarray(result, np.float64), expected, rtol=tolerance, atol=tolerance, err_msg=f"{peer} {task.name}"
            )
        yield peer, call
