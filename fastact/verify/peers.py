"""What PyTorch and JAX call the same functions: expressions in x, at our default parameters, to be measured on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: By function: PyTorch's (``torch``, ``F``) and JAX's (``jnp``, ``nn``), where they have it.
EXPRESSIONS: dict[str, dict[str, str]] = {
    "relu": {"torch": "F.relu(x)", "jax": "nn.relu(x)"},
    "relu6": {"torch": "F.relu6(x)", "jax": "nn.relu6(x)"},
    "leaky_relu": {"torch": "F.leaky_relu(x, 0.01)", "jax": "nn.leaky_relu(x, 0.01)"},
    "prelu": {"torch": "F.prelu(x, torch.tensor([0.25], dtype=x.dtype))"},
    "thresholded_relu": {"torch": "F.threshold(x, 1.0, 0.0)"},
    "rrelu": {"torch": "F.rrelu(x, training=False)"},
    "elu": {"torch": "F.elu(x)", "jax": "nn.elu(x)"},
    "selu": {"torch": "F.selu(x)", "jax": "nn.selu(x)"},
    "celu": {"torch": "F.celu(x)", "jax": "nn.celu(x)"},
    "gelu": {"torch": "F.gelu(x)", "jax": "nn.gelu(x, approximate=False)"},
    "gelu_tanh": {"torch": "F.gelu(x, approximate='tanh')", "jax": "nn.gelu(x, approximate=True)"},
    "silu": {"torch": "F.silu(x)", "jax": "nn.silu(x)"},
    "mish": {"torch": "F.mish(x)", "jax": "nn.mish(x)"},
    "hard_silu": {"torch": "F.hardswish(x)", "jax": "nn.hard_silu(x)"},
    "sigmoid": {"torch": "torch.sigmoid(x)", "jax": "nn.sigmoid(x)"},
    "hard_sigmoid": {"torch": "F.hardsigmoid(x)", "jax": "nn.hard_sigmoid(x)"},
    "log_sigmoid": {"torch": "F.logsigmoid(x)", "jax": "nn.log_sigmoid(x)"},
    "tanh": {"torch": "torch.tanh(x)", "jax": "jnp.tanh(x)"},
    "hard_tanh": {"torch": "F.hardtanh(x)", "jax": "nn.hard_tanh(x)"},
    "tanh_shrink": {"torch": "F.tanhshrink(x)"},
    "soft_shrink": {"torch": "F.softshrink(x)"},
    "hard_shrink": {"torch": "F.hardshrink(x)"},
    "softplus": {"torch": "F.softplus(x)", "jax": "nn.softplus(x)"},
    "softsign": {"torch": "F.softsign(x)", "jax": "nn.soft_sign(x)"},
    "squareplus": {"jax": "nn.squareplus(x)"},
    "sparse_plus": {"jax": "nn.sparse_plus(x)"},
    "sparse_sigmoid": {"jax": "nn.sparse_sigmoid(x)"},
    "exponential": {"torch": "torch.exp(x)", "jax": "jnp.exp(x)"},
    "log1mexp": {"jax": "nn.log1mexp(x)"},
    "sine": {"torch": "torch.sin(x)", "jax": "jnp.sin(x)"},
    "cosine": {"torch": "torch.cos(x)", "jax": "jnp.cos(x)"},
    "arctan": {"torch": "torch.arctan(x)", "jax": "jnp.arctan(x)"},
}


def _library(name: str) -> dict[str, Any]:
    """What the expressions of a library refer to."""
    if name == "torch":
        import torch

        return {"torch": torch, "F": torch.nn.functional}
    import jax

    return {"jnp": jax.numpy, "nn": jax.nn}


def function(name: str, library: str) -> Callable[[Any], Any] | None:
    """The function as that library has it, of one of its own arrays; None if it lacks it.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    expression = EXPRESSIONS.get(name, {}).get(library)
    return None if expression is None else eval(f"lambda x: {expression}", _library(library))


def _torch(call: Callable[[Any], Any]) -> dict[str, Callable[[Array], Array]]:
    import torch

    def tensor(x: Array) -> Any:
        half = x.dtype.name == "bfloat16"
        return torch.from_numpy(x.view(np.int16) if half else x).view(torch.bfloat16) if half else torch.from_numpy(x.copy())

    def array(y: Any, x: Array) -> Array:
        return y.view(torch.int16).numpy().view(x.dtype) if x.dtype.name == "bfloat16" else y.numpy()  # type: ignore[no-any-return]

    def value(x: Array) -> Array:
        with torch.no_grad():
            return array(call(tensor(x)), x)

    def derivative(x: Array) -> Array:
        t = tensor(x).clone().requires_grad_()
        y = call(t)
        (found,) = torch.autograd.grad(y, t, torch.ones_like(y))
        return array(found, x)

    return {"value": value, "derivative": derivative}


def _jax(call: Callable[[Any], Any]) -> dict[str, Callable[[Array], Array]]:
    import jax

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call,unused-ignore]
    value = jax.jit(call)
    derivative = jax.jit(lambda x: jax.vjp(call, x)[1](jax.numpy.ones_like(x))[0])
    return {"value": lambda x: np.asarray(value(x)), "derivative": lambda x: np.asarray(derivative(x))}


_MADE = {"torch": _torch, "jax": _jax}


def peer(name: str, library: str) -> dict[str, Callable[[Array], Array]]:
    """What `library` has of the function, by direction: nothing where it lacks the function, or is not installed."""
    try:
        call = function(name, library)
    except ImportError:
        return {}
    return {} if call is None else _MADE[library](call)
