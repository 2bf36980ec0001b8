"""``fastact info``: what is here, for people and for bug reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import warnings
from collections.abc import Iterator, Mapping

import click

from ..machine import cores, processor
from .text import size

LIBRARIES = ("numpy", "scipy", "numba", "cupy", "torch", "ml_dtypes")


def versions() -> dict[str, str]:
    """The libraries that are installed, by import name; nothing is imported."""
    packages = importlib.metadata.packages_distributions()  # cupy's package has many names
    return {library: importlib.metadata.version(packages[library][0]) for library in LIBRARIES if library in packages}


def _environment() -> Iterator[tuple[str, str]]:
    from ..threads import VARIABLES

    own = {"FASTACT_BACKEND", "FASTACT_ACCURACY", "FASTACT_ISA", "FASTACT_CACHE_DIR", "FASTACT_POOL", *VARIABLES}
    for name in sorted({*own, *os.environ}):
        if name.startswith("FASTACT_") or name in own:
            yield name, os.environ.get(name) or "not set"


def _section(title: str, facts: Mapping[str, str]) -> str:
    width = max(map(len, facts))
    return "\n".join([title, *(f"  {name:{width}}  {fact}" for name, fact in facts.items())])


def _tuned() -> str:
    """From how many elements of float32 threads pay, and who says so; a table that cannot be used is reported here, too."""
    from .. import tuning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tuning.reload()
        used = tuning.current()
    sizes = ", ".join(f"{cost} {'never' if row['float32'] >= tuning.NEVER else row['float32']}" for cost, row in used.threads.items())
    problems = "".join(f"; {w.message}" for w in caught)
    return f"{sizes} elements of float32 ({used.source}){problems}"


@click.command()
def info() -> None:
    """Print backends, instruction sets, threads and versions."""
    from .. import __version__, cache
    from ..activation import ACTIVATIONS
    from ..dispatch import backends, named_accuracy, named_backend
    from ..kernels.cpu import compiled
    from ..memory import pool_stats
    from ..threads import get_num_threads, quota

    known = backends()
    folder = cache.root()
    runnable = ", ".join(name for name, runs in compiled.INSTRUCTION_SETS.items() if runs)
    held = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    here = {
        "fastact": f"{__version__}, {len(ACTIVATIONS)} activations",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "processor": f"{processor()}, {cores()} cores",
        "instruction set": f"{compiled.ISA} in use; this machine runs {runnable}",
        "threads": f"{get_num_threads()}, of {os.cpu_count()} cores" + (f"; quota {allowed}" if (allowed := quota()) else ""),
        "threads pay from": _tuned(),
        "choice": f"backend {named_backend(None) or 'automatic'}, accuracy {named_accuracy(None)}",
        "cache": f"{folder}, {size(held)}",
        "result memory": f"at most {size(limit)} kept" if (limit := pool_stats().limit) else "not kept",
    }
    click.echo("\n\n".join([
        _section("fastact", here),
        _section("backends", {name: str(b).removeprefix(name).strip() for name, b in known.items()}),
        _section("libraries", versions()),
        _section("environment", dict(_environment())),
    ]))  # fmt: skip
