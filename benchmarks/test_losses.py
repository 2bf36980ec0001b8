"""How fast losses and their gradients are, against PyTorch's forward and backward: one group each, to be read within one run.

    pytest benchmarks/test_losses.py --benchmark-group-by group
    taskset -c 0 pytest benchmarks/test_losses.py -k "softmax_cross_entropy and float32"

The bar: softmax_cross_entropy of 256 x 32000 into an existing buffer, three times as fast as PyTorch on one core. ``extra_info`` holds
elements, and bytes that have to move: the logits are read twice, the gradient is written once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastact

#: Name -> shapes of the logits.
TASKS = {
    "softmax_cross_entropy": [(256, 32000), (4096, 1000), (65536, 10)],
    "multi_class_hinge": [(4096, 1000)],
    **{name: [(1 << 20,)] for name in fastact.LOSSES if name not in ("softmax_cross_entropy", "multi_class_hinge")},
}
CONTESTANTS = ["fastact", *(["torch"] if importlib.util.find_spec("torch") else [])]


def by_fastact(name: str, x: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """fastact on one thread, into arrays that are there already."""
    function, buffer = fastact.LOSSES[name].value_and_grad, np.empty_like(x)
    return lambda: function(x, labels, out=(None, buffer), backend="cython")


def by_torch(name: str, x: np.ndarray, labels: np.ndarray) -> Callable[[], Any] | None:
    """PyTorch's loss and autograd on one thread, the gradient into an existing tensor where PyTorch reuses it."""
    import torch

    F = torch.nn.functional

    def focal(x: Any, t: Any) -> Any:
        entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        p = torch.sigmoid(x)
        return ((0.25 * t + 0.75 * (1 - t)) * entropy * (1 - (p * t + (1 - p) * (1 - t))) ** 2).mean()

    functions: dict[str, Callable[[Any, Any], Any]] = {
        "softmax_cross_entropy": F.cross_entropy,
        "multi_class_hinge": F.multi_margin_loss,
        "sigmoid_cross_entropy": F.binary_cross_entropy_with_logits,
        "mse": F.mse_loss,
        "huber": F.huber_loss,
        "hinge": lambda x, t: (1 - t * x).clamp(min=0).mean(),
        "squared_hinge": lambda x, t: (1 - t * x).clamp(min=0).square().mean(),
        "focal": focal,
    }
    torch.set_num_threads(1)
    logits, target = torch.tensor(x, requires_grad=True), torch.tensor(labels)

    def call() -> Any:
        logits.grad = None
        loss = functions[name](logits, target)
        loss.backward()
        return loss

    return call


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("kind", ["float32"])
@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, shapes in TASKS.items() for shape in shapes], ids=str)
@pytest.mark.benchmark(min_rounds=3, max_time=0.3, min_time=0.0005, warmup=True, warmup_iterations=1, disable_gc=True)
def test_loss_and_gradient(benchmark: Any, name: str, shape: tuple[int, ...], kind: str, contestant: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 3).astype(kind)
    labels = rng.integers(0, shape[1], shape[0]) if len(shape) == 2 else (rng.integers(0, 2, shape) * 2 - 1).astype(kind)
    if name in ("sigmoid_cross_entropy", "focal"):
        labels = np.maximum(labels, 0)
    benchmark.group = f"{name} {shape} {kind}"
    call = {"fastact": by_fastact, "torch": by_torch}[contestant](name, x, labels)
    benchmark(call)
    benchmark.extra_info |= {"elements": x.size, "bytes": 3 * x.nbytes, "contestant": contestant}
