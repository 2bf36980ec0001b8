"""``fastact info``: what is here, for people and for bug reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
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
    for name in sorted(
        {"FASTACT_BACKEND", "FASTACT_ACCURACY", "FASTACT_ISA", "FASTACT_CACHE_DIR", "FASTACT_POOL", "NUMBA_NUM_THREADS", *os.environ}
    ):
        if name.startswith("FASTACT_") or name == "NUMBA_NUM_THREADS":
            yield name, os.environ.get(name) or "not set"


def _section(title: str, facts: Mapping[str, str]) -> str:
    width = max(map(len, facts))
    return "\n".join([title, *(f"  {name:{width}}  {fact}" for name, fact in facts.items())])


@click.command()
def info() -> None:
    """Print backends, instruction sets, threads and versions."""
    from .. import __version__, cache
    from ..activation import ACTIVATIONS
    from ..dispatch import backends, named_accuracy, named_backend
    from ..kernels.cpu import compiled
    from ..memory import pool_stats

    known = backends()
    numba = known["numba"].details
    folder = cache.root()
    runnable = ", ".join(name for name, runs in compiled.INSTRUCTION_SETS.items() if runs)
    held = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    here = {
        "fastact": f"{__version__}, {len(ACTIVATIONS)} activations",
        "python": f"{platform.python_version()} on {platform.platform()}",
        "processor": f"{processor()}, {cores()} cores",
        "instruction set": f"{compiled.ISA} in use; this machine runs {runnable}",
        "threads": f"cython 1, numba {numba['threads']}" if numba else "cython 1",
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
