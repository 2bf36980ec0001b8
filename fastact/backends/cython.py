"""The compiled SIMD loops, on one thread or some of our own: NumPy arrays of any size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tuning
from ..kernels.cpu import compiled
from ..kernels.definitions import DEFINITIONS
from .jobs import CompiledJobs

Array = np.ndarray[Any, Any]


class CythonBackend(CompiledJobs):
    """See `fastact.registry.Backend`.

    Parameters
    ----------
    threads
        On how many threads a call runs at most.
    """

    name = "cython"
    arrays = "numpy"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def on(self, threads: int, may_wait: bool = True) -> CythonBackend:
        """The same on so many threads."""
        return _on(threads)

    def missing(self) -> str | None:
        """Why the backend cannot be used; None: it can. Without its loops the package does not import at all."""
        return None

    def version(self) -> str:
        """The instruction set in use."""
        return compiled.ISA

    def details(self) -> dict[str, object]:
        """Facts for `fastact.backends`."""
        found: dict[str, object] = {
            "instruction set": compiled.ISA,
            "vector bytes": compiled.VECTOR_BYTES,
            "runs here": [name for name, runs in compiled.INSTRUCTION_SETS.items() if runs],
            "threads": compiled.settled_threads(),
        }
        if not compiled.HARDWARE_FMA:
            found["note"] = "no fused multiply-add instruction: the same bits, some 40 times slower"
        return found

    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Callable[[list[Array], list[Any], list[Array]], None]:
        """The kernel of an activation in one direction, over one-dimensional contiguous arrays."""
        operation, threads = f"{name}_{direction}", self.threads
        pays = 0 if threads == 1 else tuning.current().threads[DEFINITIONS[name].cost][kind]

        def run(arrays: list[Array], params: list[Any], outs: list[Array]) -> None:
            # A large array that does not lie in one piece comes in blocks: too small for threads, one by one.
            compiled.run_elementwise(operation, kind, wide, arrays, params, outs, threads if arrays[0].size >= pays else 1)

        return run

    def run_job(self, job: compiled.Job) -> None:
        """Run a compiled job; the bits are the same for any number of threads."""
        job.run(self.threads)


@functools.cache
def _on(threads: int) -> CythonBackend:
    return CythonBackend(threads)
