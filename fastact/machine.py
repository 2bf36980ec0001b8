"""The machine, for reports."""

from __future__ import annotations

import functools
import os


@functools.cache
def processor() -> str:
    """The processor's name, family and model: in a virtual machine the name alone says little."""
    import cpuinfo

    facts = cpuinfo.get_cpu_info()
    known = ", ".join(f"{key} {facts[key]}" for key in ("family", "model") if key in facts)
    return str(facts.get("brand_raw") or facts.get("arch_string_raw", "unknown")) + f" ({known})" * bool(known)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
