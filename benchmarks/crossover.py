"""From how many elements on threads pay: writes ``fastact/thresholds.py``, what is in force where nobody has run ``fastact tune``.

    taskset -c 0,1 python benchmarks/crossover.py
    python benchmarks/crossover.py --runs 1 --output thresholds.py

The measuring is that of ``fastact tune``, some times over. What is shipped is for machines that nobody has measured: the largest size
that any run found, doubled; nowhere for Numba, which is faster only by chance (`benchmarks/threads.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

import fastact
from fastact import tuning
from fastact.machine import processor
from fastact.thresholds import CROSSOVER

TEXT = '''"""From how many elements on threads pay, by cost class and storage type, where nobody has run ``fastact tune``.

Generated: written by ``benchmarks/crossover.py`` on {machine}.
"""

CROSSOVER: dict[str, dict[str, int]] = {{
{lines}
}}
#: From how many on Numba's threads are faster than ours: nowhere.
NUMBA: dict[str, dict[str, int]] = {{cost: dict.fromkeys(row, 1 << 62) for cost, row in CROSSOVER.items()}}
'''


@click.command()
@click.option("--runs", default=3, show_default=True, help="The largest size that any of so many finds is taken.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(fastact.__file__).with_name("thresholds.py"), help="The file to write."
)
def main(runs: int, output: Path) -> None:
    """Measure the crossover for each cost class and storage type, and write the thresholds."""
    threads = fastact.get_num_threads()
    if threads < 2:
        raise click.ClickException("there is one thread for a call here, and nothing to compare")
    found: list[tuning.Table] = []
    gains: dict[str, Any] = {}
    with tqdm(total=runs * len(tuning.tasks(False)), unit="size") as progress:

        def step(task: str) -> None:
            progress.set_description(task)
            progress.update()

        for _ in range(runs):
            table, gains = tuning.measure(threads, False, step)
            found.append(table)
            for cost, rows in gains["threads"].items():
                for kind, row in rows.items():
                    tqdm.write(f"{cost:5} {kind:9} " + " ".join(f"{size}:{gain:.2f}" for size, gain in row.items()))
    # A run that was disturbed finds nothing: the size of before, if that is larger, is as careful as need be.
    most = {cost: {kind: max(_sizes(found, cost, kind) or [before]) * 2 for kind, before in row.items()} for cost, row in CROSSOVER.items()}
    lines = "\n".join(f'    "{cost}": {json.dumps(row)},' for cost, row in most.items())
    output.write_text(TEXT.format(machine=f"{processor()}, {threads} threads", lines=lines), encoding="utf-8")
    click.echo(f"written to {output}")


def _sizes(found: list[tuning.Table], cost: str, kind: str) -> list[int]:
    return [table.threads[cost][kind] for table in found if table.threads[cost][kind] < tuning.NEVER]


if __name__ == "__main__":
    main()
