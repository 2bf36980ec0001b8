"""What both backends of NumPy arrays do with compiled jobs; they differ in the threads that run them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.cpu import compiled
from ..rows import Rows

Array = np.ndarray[Any, Any]


class CompiledJobs(ABC):
    """Row-wise calls and losses as jobs."""

    @abstractmethod
    def run_job(self, job: compiled.Job) -> None:
        """Run all bands of a compiled job."""

    def loss(self, name: str, kind: str, wide: bool) -> Callable[..., float | None]:
        """An elementwise loss; see `fastact.registry.Backend`."""

        def run(
            x: Array, labels: Any, weight: Any, grad: Any, params: list[Any], scale: float, total: bool, loss: Any, dx: Any
        ) -> float | None:
            job = compiled.loss_job(name, kind, wide, x.shape, x, labels, params, weight, grad, dx, loss, scale, total)
            if job is None:
                return None
            self.run_job(job)
            return float(job.sums()[0]) if total else 0.0

        return run

    def rows(self, call: Rows) -> None:
        """A row-wise call."""
        job = compiled.RowsJob(call)
        self.run_job(job)
        job.finish()
