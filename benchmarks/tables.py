"""The tables that benchmarks make, with the bars that they were to reach: shown in a terminal, written as a page of the docs."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

import click


@dataclass
class Table:
    """One table of a section: rows of cells, and what was to be reached."""

    title: str
    text: str
    head: list[str]
    rows: list[list[str]]
    bars: list[tuple[str, float, str, float]] = field(default_factory=list)  #: what, its figure, ">=" or "<=", the bar

    def verdicts(self) -> list[list[str]]:
        """The bars, and whether they are met; a figure that is not a number meets none."""
        found = []
        for what, figure, relation, bar in self.bars:
            met = figure >= bar if relation == ">=" else figure <= bar
            found.append([what, f"{figure:.2f}", f"{'at least' if relation == '>=' else 'at most'} {bar:g}", "met" if met else "MISSED"])
        return found

    def show(self) -> None:
        """Print it."""
        click.echo(f"\n{self.title}\n")
        if not self.rows:
            click.echo(self.text)
        lines = [self.head, *self.rows] if self.rows else []
        widths = [min(40, max(map(len, column))) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))
        for verdict in self.verdicts():
            click.echo("  ".join(verdict))


def geometric_mean(numbers: Sequence[float]) -> float:
    """NaN of nothing."""
    return math.exp(sum(map(math.log, numbers)) / len(numbers)) if numbers else math.nan


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: text to the left, numbers to the right."""
    numbers = [all(not cell or cell == "-" or cell[:1].isdigit() for cell in column[1:]) for column in zip(*rows, strict=True)]
    rule = ["--:" if number and i else "---" for i, number in enumerate(numbers)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def versions(**packages: str) -> str:
    """What was compared: ``name=package`` for each."""
    found = []
    for name, package in {"fastact": "fastact", **packages}.items():
        try:
            found.append(f"{name} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} (source tree)" if package == "fastact" else f"no {name}")
    return ", ".join([f"Python {platform.python_version()}", *found])


def page(title: str, opening: Sequence[str], tables: Sequence[Table]) -> str:
    """A page in Markdown: how it was made, how many bars are met, the tables."""
    bars = [verdict for table in tables for verdict in table.verdicts()]
    met = sum(verdict[-1] == "met" for verdict in bars)
    parts = [f"# {title}", *opening, f"{met} of {len(bars)} bars are met."]
    for table in tables:
        parts += [f"## {table.title}", table.text]
        if table.rows:
            parts.append(markdown(table.head, table.rows))
        if verdicts := table.verdicts():
            parts.append(markdown(["bar", "measured", "wanted", ""], verdicts))
    return "\n\n".join(part for part in parts if part) + "\n"
