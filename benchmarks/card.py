"""The device that benchmarks/gpu.py measures on: arrays, what PyTorch sees of them, and times.

Without a device `Host` stands in, with NumPy's arrays of a few elements, so that the script itself can be tried; it measures nothing.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any
Call = Callable[[], object]
#: Bytes that are copied to know the card's own speed.
COPIED = 1 << 30


class Card:
    """The current CUDA device through CuPy, with PyTorch beside it if that is installed. Both work on the null stream.

    Parameters
    ----------
    size
        Elements of a large array.
    """

    def __init__(self, size: int = 1 << 28) -> None:
        import cupy

        self.cupy, self.size = cupy, size
        try:
            import torch

            self.torch: Any = torch if torch.cuda.is_available() else None
        except ImportError:
            self.torch = None

    def random(self, shape: Any, kind: str, seed: int = 0) -> Array:
        """Normal numbers."""
        generator = self.cupy.random.default_rng(seed)
        x = generator.standard_normal(shape, dtype="float64" if kind == "float64" else "float32")
        if kind == "bfloat16":  # cut, without arithmetic that CuPy may not have
            import ml_dtypes

            return (x.view("uint32") >> 16).astype("uint16").view(ml_dtypes.bfloat16)
        return x.astype(kind, copy=False)

    def empty(self, shape: Any, kind: str) -> Array:
        if kind == "bfloat16":
            import ml_dtypes

            return self.cupy.empty(shape, "uint16").view(ml_dtypes.bfloat16)
        return self.cupy.empty(shape, kind)

    def asarray(self, values: Any) -> Array:
        """A NumPy array on the device."""
        if values.dtype.name == "bfloat16":
            return self.cupy.asarray(values.view("uint16")).view(values.dtype)
        return self.cupy.asarray(values)

    def numpy(self, a: Array) -> np.ndarray[Any, Any]:
        """An array's values on the host."""
        return self.cupy.asnumpy(a.view("uint16")).view(a.dtype) if a.dtype.name == "bfloat16" else self.cupy.asnumpy(a)

    def tensor(self, a: Array) -> Any:
        """The same memory as PyTorch sees it."""
        if a.dtype.name == "bfloat16":
            return self.torch.from_dlpack(a.view("int16")).view(self.torch.bfloat16)
        return self.torch.from_dlpack(a)

    def free(self) -> None:
        """Give unused memory back, ours and PyTorch's."""
        self.cupy.get_default_memory_pool().free_all_blocks()
        if self.torch:
            self.torch.cuda.empty_cache()

    def wait(self) -> None:
        self.cupy.cuda.runtime.deviceSynchronize()

    def seconds(self, calls: Sequence[Call], repeats: int = 7, each: int = 3) -> float:
        """The median of seconds a call, over groups of calls that go on through the list, whose arrays together are beyond the cache."""
        event, elapsed = self.cupy.cuda.Event, self.cupy.cuda.get_elapsed_time
        at = 0
        for call in calls:
            call()
        self.wait()
        found = []
        for _ in range(repeats):
            first, last = event(), event()
            first.record()
            for _ in range(each):
                calls[at % len(calls)]()
                at += 1
            last.record()
            last.synchronize()
            found.append(elapsed(first, last) / 1e3 / each)
        return statistics.median(found)

    def copy_speed(self) -> float:
        """Bytes a second, read and written, of the card's own copy."""
        given, taken = ([self.cupy.empty(COPIED, "uint8") for _ in range(2)] for _ in range(2))
        for a in given:
            a.fill(1)

        copy = self.cupy.cuda.runtime.memcpyAsync
        pointers = [(t.data.ptr, g.data.ptr) for t, g in zip(taken, given, strict=True)]
        speed = 2 * COPIED / self.seconds([functools.partial(copy, *both, COPIED, 3, 0) for both in pointers])  # 3: device to device
        del given, taken
        self.free()
        return speed

    def describe(self) -> str:
        """Device, driver, versions."""
        runtime = self.cupy.cuda.runtime
        found = runtime.getDeviceProperties(runtime.getDevice())
        driver = runtime.driverGetVersion()
        name, capability = found["name"].decode(), f"{found['major']}.{found['minor']}"
        size = f"{found['multiProcessorCount']} multiprocessors, {found['totalGlobalMem'] / 2**30:.0f} GiB"
        return f"{name}, compute capability {capability}, {size}; the driver knows CUDA {driver // 1000}.{driver % 1000 // 10}"


class Host:
    """NumPy's arrays of a few elements, in the place of a card: what is measured means nothing."""

    torch: Any = None
    cupy: Any = None

    def __init__(self, size: int = 1 << 12) -> None:
        self.size = size

    def random(self, shape: Any, kind: str, seed: int = 0) -> Array:
        return np.random.default_rng(seed).standard_normal(shape).astype(_dtype(kind))

    def empty(self, shape: Any, kind: str) -> Array:
        return np.zeros(shape, _dtype(kind))

    def asarray(self, values: Any) -> Array:
        return values

    def numpy(self, a: Array) -> np.ndarray[Any, Any]:
        return np.asarray(a)

    def tensor(self, a: Array) -> Any:
        raise LookupError("no tensors without a card")

    def free(self) -> None:
        pass

    def wait(self) -> None:
        pass

    def seconds(self, calls: Sequence[Call], repeats: int = 1, each: int = 1) -> float:
        start = time.perf_counter()
        for call in calls:
            call()
        return (time.perf_counter() - start) / len(calls)

    def copy_speed(self) -> float:
        return 1e9

    def describe(self) -> str:
        return "no card: a trial of the script, whose figures mean nothing"


def _dtype(kind: str) -> np.dtype[Any]:
    if kind == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(kind)
