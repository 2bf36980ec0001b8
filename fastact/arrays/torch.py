"""PyTorch's CUDA tensors: `serve` runs a function of fastact's on them, on PyTorch's current stream and with its memory.

Elementwise calls go to the kernel by tensors' addresses, and need nothing but PyTorch. All others run as on CuPy arrays, which here are
views of the tensors' memory; what CuPy allocates meanwhile comes from PyTorch. Gradients are the functions' own: nothing is recorded for
autograd, so tensors that require them are refused, as what is not recorded would be lost without a word.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ..backends.cupy import prepare
from ..kernels.cpu import compiled
from .common import KINDS


def library() -> Any:
    """PyTorch, if the program has imported it."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "Tensor") else None  # while it is being imported there is no such thing yet


def _each(args: Sequence[Any], kwargs: Mapping[str, Any], function: Any = None) -> Iterator[tuple[str, Any]]:
    """All arguments, and what stands in tuples and lists of them, by the names that `function` has for them."""
    names = list(inspect.signature(function).parameters) if function is not None else []
    names += [f"argument {i}" for i in range(len(names), len(args))]
    for name, value in (*zip(names, args, strict=False), *kwargs.items()):
        if isinstance(value, (tuple, list)):
            yield from ((f"{name}[{i}]", v) for i, v in enumerate(value))
        else:
            yield name, value


def among(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether there is a CUDA tensor among the arguments of a call."""
    tensor = library().Tensor
    return any(isinstance(value, tensor) and value.is_cuda for _, value in _each(args, kwargs))


def serve(function: Callable[..., Any], called: Any, label: str, args: tuple[Any, ...], kwargs: dict[str, Any], entry: Any = None) -> Any:
    """Call `function` on CUDA tensors; the results are tensors.

    Parameters
    ----------
    function
        Takes CuPy arrays for them.
    called, label
        What was called, and its name in messages.
    args, kwargs
        Its arguments.
    entry : compiled.Entry, optional
        One that may serve the call without CuPy.

    Raises
    ------
    TypeError
        If a tensor requires a gradient while gradients are recorded, stands for others, or there are arrays of other kinds as well.
    ValueError
        If the tensors are on different devices.
    RuntimeError
        If the call needs CuPy, and it is not there.
    """
    torch = library()
    device = _checked(torch, called, label, args, kwargs)
    compiled.cuda_arrays(prepare, torch=_facts(torch))
    if entry is not None and (found := _elementwise(torch, entry, args, kwargs)) is not None:
        return found
    return _on_views(torch, function, label, args, kwargs, device)


def _facts(torch: Any) -> tuple[Any, ...]:
    """What the compiled fast path needs to know of PyTorch."""

    def stream(device: int) -> int:
        return int(torch.cuda.current_stream(device).cuda_stream)

    # Both give the same; the public one makes an object for it, which takes longer than the launch.
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", stream)
    kinds = {kind: getattr(torch, kind) for kind in KINDS}
    return torch.Tensor, kinds, torch.empty_like, raw, torch.is_grad_enabled, torch.autograd.graph.increment_version


def _checked(torch: Any, called: Any, label: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """The device of all tensors."""
    devices = {}
    for name, value in _each(args, kwargs, called):
        if isinstance(value, torch.Tensor):
            if not value.is_cuda:
                raise TypeError(f"{label}: arrays of different kinds: {name} is a tensor on {value.device}, others are on CUDA devices")
            if value.requires_grad and torch.is_grad_enabled():
                raise TypeError(
                    f"{label}: {name} requires a gradient, which would be lost, as fastact does not record for autograd: "
                    "pass x.detach(), or call under torch.no_grad()"
                )
            if value.numel() and not value.data_ptr():
                raise TypeError(
                    f"{label}: {name} is a {type(value).__name__} without memory of its own; pass the tensors that it stands for"
                )
            devices[name] = value.get_device()
        elif (hasattr(value, "__array_interface__") and value.ndim > 0) or hasattr(value, "__cuda_array_interface__"):
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise TypeError(
                f"{label}: arrays of different kinds: {name} is a {kind}, others are CUDA tensors; convert them to one kind first"
            )
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"{label}: the tensors are on different devices: {listed}; move them to one")
    return int(next(iter(devices.values())))


def _same(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and a.dtype == b.dtype)


def _elementwise(torch: Any, entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an elementwise call by compiled code, tensors laid in order where they are not; None if it takes more than that."""
    out = kwargs.get("out")
    outs = out if isinstance(out, tuple) else (out,)
    x = next((a for a in reversed(args) if isinstance(a, torch.Tensor)), None)
    if x is None or not all(o is None or (isinstance(o, torch.Tensor) and _same(o, x)) for o in outs):
        return None
    axes = sorted(range(x.ndim), key=lambda axis: -x.stride(axis))
    back = sorted(range(x.ndim), key=axes.__getitem__)

    def lined(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.ndim != x.ndim:
            return value
        return value.detach().as_subclass(torch.Tensor).resolve_neg().permute(axes).contiguous()

    def spread(value: Any) -> Any:
        return value.permute(back)

    rest = {name: value for name, value in kwargs.items() if name != "out"}
    given = tuple(map(lined, args))
    results: list[Any] = [None if o is None else lined(o) for o in outs]
    # Not every result lies as it has to: those that had to be copied are filled at the end.
    there = [o is not None and o.data_ptr() == r.data_ptr() for o, r in zip(outs, results, strict=True)]
    wanted = tuple(r if t else None for r, t in zip(results, there, strict=True))
    found = entry.attempt(given, {**rest, "out": wanted if isinstance(out, tuple) else wanted[0]} if any(there) else rest)
    if found is None and any(there):  # it overlaps an input without being it
        there = [False] * len(outs)
        found = entry.attempt(given, rest)
    if found is None:
        return None
    made = found if isinstance(found, tuple) else (found,)
    finished = []
    for o, t, value in zip(outs if len(outs) == len(made) else (None,) * len(made), (*there, *[False] * len(made)), made, strict=False):
        finished.append(spread(value) if o is None else o if t else o.copy_(spread(value)))
    return tuple(finished) if isinstance(found, tuple) else finished[0]


# ---------------------------------------------------------------- through CuPy


def _on_views(torch: Any, function: Callable[..., Any], label: str, args: tuple[Any, ...], kwargs: dict[str, Any], device: int) -> Any:
    """Call `function` on CuPy's views of tensors."""
    try:
        import cupy
    except ImportError as problem:
        raise RuntimeError(
            f"{label}: this call on CUDA tensors needs CuPy beside PyTorch: pip install cupy-cuda13x ({problem}); without it there are "
            "elementwise functions of one or two tensors and numbers"
        ) from None
    lent: WeakValueDictionary[int, Any] = WeakValueDictionary()  # what CuPy was given, by its address, while CuPy holds it
    originals: dict[int, Any] = {}

    def pointer(tensor: Any, size: int) -> Any:
        return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(tensor.data_ptr(), size, tensor, device), 0)

    def allocate(size: int) -> Any:
        tensor = torch.empty(max(size, 1), dtype=torch.uint8, device=f"cuda:{device}")
        lent[tensor.data_ptr()] = tensor
        return pointer(tensor, size)

    def view(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(map(view, value))
        if not isinstance(value, torch.Tensor):
            return value
        tensor = value.detach().resolve_neg()
        step = tensor.element_size()
        strides = tuple(s * step for s in tensor.stride())
        size = 0 if not tensor.numel() else step + sum((n - 1) * s for n, s in zip(tensor.shape, strides, strict=True))
        made = cupy.ndarray(tuple(tensor.shape), _dtype(tensor.dtype), pointer(tensor, size), strides)
        originals[id(made)] = (made, value)
        return made

    def tensor(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(tensor, value))
        if not isinstance(value, cupy.ndarray):
            return value
        if id(value) in originals:  # `out`
            torch.autograd.graph.increment_version(originals[id(value)][1])
            return originals[id(value)][1]
        if any(s < 0 for s in value.strides):
            value = cupy.ascontiguousarray(value)
        owner = lent.get(value.data.mem.ptr)
        if owner is None:  # a view of an argument, or of memory that somebody else's allocator gave
            wanted = getattr(torch, value.dtype.name)
            found = torch.as_tensor(value.view("int16") if value.dtype.name == "bfloat16" else value, device=f"cuda:{device}")
            return found.view(wanted) if wanted is torch.bfloat16 else found
        step = value.dtype.itemsize
        first, strides = (value.data.ptr - owner.data_ptr()) // step, tuple(s // step for s in value.strides)
        made = torch.empty(0, dtype=getattr(torch, value.dtype.name), device=owner.device)
        return made.set_(owner.untyped_storage(), first, value.shape, strides)

    stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream, device)
    with cupy.cuda.Device(device), stream, cupy.cuda.using_allocator(allocate):
        return tensor(function(*map(view, args), **{name: view(value) for name, value in kwargs.items()}))


def _dtype(dtype: Any) -> Any:
    """NumPy's name for one of PyTorch's dtypes."""
    name = str(dtype).removeprefix("torch.")
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)
