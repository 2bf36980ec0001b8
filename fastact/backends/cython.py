"""The compiled SIMD loops, on one core: NumPy arrays up to the size where threads pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.cpu import compiled
from .jobs import CompiledJobs

Array = np.ndarray[Any, Any]


class CythonBackend(CompiledJobs):
    """See `fastact.registry.Backend`."""

    name = "cython"
    arrays = "numpy"

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
            "threads": 1,
        }
        if not compiled.HARDWARE_FMA:
            found["note"] = "no fused multiply-add instruction: the same bits, some 40 times slower"
        return found

    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Callable[[list[Array], list[Any], list[Array]], None]:
        """The kernel of an activation in one direction, over one-dimensional contiguous arrays."""
        operation = f"{name}_{direction}"

        def run(arrays: list[Array], params: list[Any], outs: list[Array]) -> None:
            compiled.run_elementwise(operation, kind, wide, arrays, params, outs)

        return run

    def run_job(self, job: compiled.Job) -> None:
        """Run a compiled job, one band after the other."""
        job.run()
