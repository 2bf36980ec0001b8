"""From how many elements on numba's threads are faster than cython's one core; writes ``fastact/thresholds.py``.

    python benchmarks/crossover.py
    python benchmarks/crossover.py --directions value --output thresholds.py

Both are timed in turns, called as a program would reach them: cython through the compiled fast path where there is one. At each size
the median function of a cost class speaks for the class, and its threshold is the power of two that gains most over all sizes.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from pathlib import Path

import click
from tqdm import tqdm

import fastact
from fastact.activation import INPUTS
from fastact.kernels.definitions.language import COSTS
from fastact.machine import cores, processor
from fastact.regression import suite
from fastact.regression.suite import AUTOMATIC, Row
from fastact.regression.yardstick import best, repeat
from fastact.thresholds import CROSSOVER

#: Elements tried.
SIZES = [1 << power for power in range(12, 23)]
#: What is written where threads do not pay at any size tried.
NEVER = 1 << 62
#: How much faster threads have to be: in a draw the other core is left to others.
MARGIN = 1.05
ROUNDS = 9
OUTPUT = Path(fastact.__file__).with_name("thresholds.py")
TEXT = '''"""From how many elements on numba's threads are faster than cython's one core, by cost class and storage type.

Generated: written by ``benchmarks/crossover.py`` on {machine}.
"""

CROSSOVER: dict[str, dict[str, int]] = {{
{lines}
}}
'''


def cython_always() -> None:
    """Let automatic choice take cython at any size, by the path that a program's calls take."""
    for table in CROSSOVER.values():
        table.update(dict.fromkeys(table, NEVER))
    for function in fastact.ACTIVATIONS.values():
        for entry in (function, *(getattr(function, direction, None) for direction in INPUTS)):
            if hasattr(entry, "limit"):
                entry.limit = NEVER


def gain(function: str, direction: str, kind: str, size: int) -> float:
    """How many times as fast numba's threads are."""
    one, threads = best([repeat(Row(backend, function, direction, kind, size).prepare()) for backend in (AUTOMATIC, "numba")], ROUNDS)
    return one / threads


def threshold(gains: Mapping[int, float]) -> int:
    """The size that, with cython below it and numba from it on, gains most."""
    return max([NEVER, *gains], key=lambda limit: sum(math.log(g / MARGIN) for size, g in gains.items() if size >= limit))


@click.command()
@click.option("--directions", default="value,backward", show_default=True, help="Whose median counts, separated by commas.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(fastact.__file__).with_name("thresholds.py"), help="The file to write."
)
def main(directions: str, output: Path) -> None:
    """Measure the crossover for each cost class and storage type, and write the thresholds."""
    if reason := fastact.backends()["numba"].reason:
        raise click.ClickException(f"there is nothing to compare: {reason}")
    cython_always()
    wanted = directions.split(",")
    one_each = [row for row in suite.rows([AUTOMATIC], kinds=["float32"], sizes=SIZES[:1]) if row.direction in wanted]
    voters = {cost: [(r.function, r.direction) for r in one_each if r.cost == cost] for cost in COSTS}
    tasks = [(cost, kind, size) for cost in COSTS for kind in suite.kinds() for size in SIZES if voters[cost]]
    gains: dict[str, dict[str, dict[int, float]]] = {cost: {kind: {} for kind in suite.kinds()} for cost in COSTS}
    with tqdm(total=sum(len(voters[cost]) for cost, _, _ in tasks), unit="row") as progress:
        for cost, kind, size in tasks:
            progress.set_description(f"{cost} {kind} {size}")
            votes = []
            for function, direction in voters[cost]:
                votes.append(gain(function, direction, kind, size))
                progress.update()
            gains[cost][kind][size] = statistics.median(votes)
    found = {cost: {kind: threshold(row) for kind, row in table.items()} for cost, table in gains.items()}
    for cost, table in gains.items():
        for kind, row in table.items():
            click.echo(f"{cost:5} {kind:9} {found[cost][kind]:>20}  " + " ".join(f"{size}:{g:.2f}" for size, g in row.items()))
    lines = "\n".join(f'    "{cost}": {json.dumps(table)},' for cost, table in found.items())
    machine = f"{processor()}, {cores()} cores, numba {fastact.backends()['numba'].version}"
    output.write_text(TEXT.format(machine=machine, lines=lines), encoding="utf-8")
    click.echo(f"written to {output}")


if __name__ == "__main__":
    main()
