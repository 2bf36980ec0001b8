"""The stored ratios: a JSON file with a table for each machine, a machine being a processor and an instruction set, or a GPU."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from .. import registry
from ..kernels.cpu import compiled
from .suite import Row

#: Where the baseline is, from the root of a checkout.
DEFAULT = Path("benchmarks/baseline.json")

Tables = dict[str, dict[str, float]]


class BaselineError(ValueError):
    """The file is not a baseline."""


def processor() -> str:
    """The processor's name, family and model: in virtual machines the name alone says little."""
    import cpuinfo

    facts = cpuinfo.get_cpu_info()
    known = [f"{key} {facts[key]}" for key in ("family", "model") if key in facts]
    return f"{facts.get('brand_raw', facts['arch'])}" + (f" ({', '.join(known)})" if known else "")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(row: Row) -> str:
    """What the ratio of a row depends on."""
    if row.library != "numpy":
        devices: Any = registry.get(row.backend).details()["devices"]
        return str(devices[0])
    return f"{_processor()}, {compiled.ISA}, {cores()} cores"
