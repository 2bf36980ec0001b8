"""``fastact tune``: measure on this machine from which size on threads pay."""

from __future__ import annotations

import time

import click

from .text import table


@click.command()
@click.option("--reset", is_flag=True, help="Go back to the sizes that fastact ships.")
@click.option("--numba", is_flag=True, help="Compare Numba's threads, too: where they are faster, automatic choice takes them.")
@click.option("--dry-run", is_flag=True, help="Measure and print, but store nothing.")
def tune(reset: bool, numba: bool, dry_run: bool) -> None:
    """Measure from which size on threads pay, and store it.

    Takes less than a minute; leave the machine alone meanwhile. What was found is stored in the cache folder and used from the next large
    call on, by all processes of this user on this machine.
    """
    from tqdm import tqdm

    from .. import registry, tuning
    from ..threads import get_num_threads

    if reset:
        there = tuning.reset()
        click.echo(f"{tuning.path()} removed" if there else f"there is no {tuning.path()}: the shipped sizes are in force")
        return
    threads = get_num_threads()
    if threads < 2:
        raise click.ClickException("there is one thread for a call here, and nothing to compare (see fastact info)")
    if numba and (missing := registry.available("numba")):
        raise click.ClickException(missing)
    begin = time.perf_counter()
    with tqdm(total=len(tuning.tasks(numba)), unit="size") as progress:

        def step(task: str) -> None:
            progress.set_description(task)
            progress.update()

        found, gains = tuning.measure(threads, numba, step)
    click.echo(sizes(found))
    if numba:
        faster = [f"{c} {k}" for c, row in gains["numba"].items() for k in row if found.numba[c][k] < tuning.NEVER]
        click.echo(f"\nNumba's threads are faster than ours for {', '.join(faster) or 'nothing'}")
    click.echo(f"\n{threads} threads, {time.perf_counter() - begin:.0f} s; " + (
        "nothing stored" if dry_run else f"stored in {tuning.write(found, threads)}"
    ))  # fmt: skip


def sizes(found: object) -> str:
    """A table of sizes as text."""
    from ..arrays.common import KINDS
    from ..tuning import NEVER, Table

    assert isinstance(found, Table)
    rows = [
        (cost, *("never" if row[kind] >= NEVER else str(row[kind]) for kind in KINDS)) for cost, row in found.threads.items()
    ]  # fmt: skip
    return "threads pay from (elements)\n" + table(("cost class", *KINDS), rows)
