"""``fastact verify``: the largest errors, measured."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
from tqdm import tqdm

from ..kernels.definitions import DEFINITIONS
from ..registry import REGISTRY
from . import options

ELEMENTWISE = [name for name, d in DEFINITIONS.items() if d.family == "elementwise"]
KINDS = ("float32", "float64", "float16", "bfloat16")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ELEMENTWISE), metavar="[NAMES]...")
@click.option("--exhaustive", is_flag=True, help="Every float32 there is: some minutes a function and core.")
@click.option("--step", type=click.IntRange(1), default=1021, help="Through the float32 bit patterns; better a prime.")
@click.option("--dtype", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS, help="Only this one; may be repeated.")
@click.option("--direction", "directions", multiple=True, type=click.Choice(["value", "derivative", "second_derivative"]),
              default=["value", "derivative", "second_derivative"], help="Only this one; may be repeated.")  # fmt: skip
@click.option(
    "--accuracy", "accuracies", multiple=True, type=click.Choice(["fast", "precise"]), default=["fast", "precise"], help="Only this one."
)
@click.option("--peers/--no-peers", default=True, help="Measure PyTorch and JAX too, where they are installed.")
@click.option(
    "--backend", type=click.Choice([n for n in REGISTRY if n != "cupy"]), callback=options.there, help="Instead of automatic choice."
)
@click.option("--jobs", type=click.IntRange(1), default=1, help="Processes.")
@click.option("--write/--no-write", default=True, help="Write the record and, where there is a folder docs, docs/accuracy.md.")
def verify(
    names: tuple[str, ...],
    exhaustive: bool,
    step: int,
    kinds: tuple[str, ...],
    directions: tuple[str, ...],
    accuracies: tuple[str, ...],
    peers: bool,
    backend: str | None,
    jobs: int,
    write: bool,
) -> None:
    """Measure the largest errors, in units in the last place, and compare them with what is promised.

    float32 is judged by a float64 oracle across all bit patterns, float64 by mpmath, halves on every input. Exits with 1 if a promise
    is broken.
    """
    try:
        from ..verify import measure, report
        from ..verify import truth as _truth  # noqa: F401  (mpmath is missed now, not after minutes)
    except ImportError as error:
        raise click.ClickException(f"fastact verify needs {error.name}: pip install 'fastact[verify]'") from None
    step = 1 if exhaustive else step
    columns = (*accuracies, *(("torch", "jax") if peers else ()))
    groups = [
        (case, measure.tasks(case, columns, step, backend))
        for case in measure.cases(list(names or ELEMENTWISE), list(kinds), list(directions))
    ]
    write = write and backend is None  # the record is of automatic choice
    if write and not os.access(report.RECORD.parent, os.W_OK):
        raise click.ClickException(f"the record {report.RECORD} cannot be written; --no-write measures without it")
    record, broken = report.load(), 0
    progress = tqdm(
        total=sum(-(-(t.stop - t.offset) // t.step) for _, group in groups for t in group), unit="x", unit_scale=True, smoothing=0.02
    )
    with progress, ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        progress.write(f"{'function':<18}{'direction':<18}{'dtype':<9} largest error in ULP")
        for case, group in groups:
            progress.set_description(f"{case.name} {case.direction} {case.kind}")
            found: dict[str, measure.Found] = {}
            for task, part in zip(group, pool.map(measure.run, group) if jobs > 1 else map(measure.run, group), strict=True):
                found = {column: found.get(column, measure.Found()).merged(f) for column, f in part.items()}
                progress.update(-(-(task.stop - task.offset) // task.step))
            bad = [column for column in accuracies if column in found and not measure.holds(case, column, found[column])]
            broken += len(bad)
            errors = ", ".join(f"{column} {report.number(f.error.error)}" for column, f in found.items())
            progress.write(f"{case.name:<18}{case.direction:<18}{case.kind:<9} {errors}")
            for column in bad:
                f = found[column]
                progress.write(
                    f"  BROKEN, {column}, promised {measure.bound(case, column)}: {f.error}; {f.root}; {f.zeros} zeros of the wrong sign"
                )
            if write:
                report.add(record, case, found, step)
                report.save(record)
    if write:
        docs = Path("docs")
        if docs.is_dir():
            (docs / "accuracy.md").write_text(report.page(record))
    if broken:
        raise SystemExit(1)
