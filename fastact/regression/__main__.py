"""``python -m fastact.regression``: exits with 1 if a kernel has become slower, 3 if there is nothing to compare with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from tqdm import tqdm

from . import check as checks
from . import instructions
from .baseline import BaselineError, expected, load, machine, save, updated
from .suite import Row

#: From the root of a checkout.
DEFAULT, INSTRUCTIONS = Path("benchmarks/baseline.json"), Path("benchmarks/instructions.json")
#: Exit statuses.
SLOWER, UNKNOWN = 1, 3


def progress(rows: Sequence[Row], title: str) -> Iterable[Row]:
    """A progress bar, where somebody looks."""
    bar: Iterable[Row] = tqdm(rows, title, unit="row", leave=False, disable=not sys.stderr.isatty())
    return bar


def table(findings: Sequence[checks.Finding]) -> str:
    """The findings, one a line."""
    width = max(len(str(f.row)) for f in findings)
    lines = [f"{'row':{width}}  {'now':>9}  {'baseline':>9}  {'change':>8}  verdict"]
    for f in findings:
        before, change = ("-", "-") if f.baseline is None else (f"{f.baseline:.4g}", f"{f.change:+.1%}")
        verdict = f.verdict.upper() if f.verdict == "slower" else f.verdict
        lines.append(f"{f.row!s:{width}}  {f.ratio:9.4g}  {before:>9}  {change:>8}  {verdict}")
    return "\n".join(lines)


@click.command(name="python -m fastact.regression")
@click.option("--select", metavar="REGEX", default="", help="Only rows whose name matches, such as 'cython-gelu|softmax.*float32'.")
@click.option("--baseline", type=click.Path(path_type=Path), help=f"The stored file; default: {DEFAULT}, or {INSTRUCTIONS}.")
@click.option("--update", is_flag=True, help="Store what is measured instead of comparing with it.")
@click.option("--tolerance", type=click.FloatRange(min=0), help=f"Default: {checks.TOLERANCE}; of instructions {instructions.TOLERANCE}.")
@click.option("--attempts", type=click.IntRange(min=1), default=checks.ATTEMPTS, show_default=True, help="How often to time a slow row.")
@click.option("--instructions", "counted", is_flag=True, help="Count instructions under Valgrind instead of taking times.")
def main(select: str, baseline: Path | None, update: bool, tolerance: float | None, attempts: int, counted: bool) -> None:
    """Time every kernel against a yardstick and compare with the stored baseline.

    A row is the time of a call as a multiple of a copy's (where memory is the limit) or of a fixed loop of arithmetic (elsewhere),
    timed in turns with it. Rows on several threads are allowed twice the tolerance.

    With --instructions a row is a kernel of the AVX2 build, and counts are compared, which are the same every time; they depend on
    the compiler.

    Exit status: 0, nothing is slower than the tolerance allows; 1, some row is; 3, there is no baseline for this processor and
    instruction set, or for this compiler.
    """
    try:
        pattern = re.compile(select)
    except re.error as error:
        raise click.UsageError(str(error)) from None
    try:
        if counted:
            status = count(pattern, baseline or INSTRUCTIONS, update, instructions.TOLERANCE if tolerance is None else tolerance)
        else:
            status = clock(pattern, baseline or DEFAULT, update, checks.TOLERANCE if tolerance is None else tolerance, attempts)
    except BaselineError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


def count(pattern: re.Pattern[str], path: Path, update: bool, tolerance: float) -> int:
    """The check of instructions; the exit status."""
    if reason := instructions.missing():
        click.echo(f"instructions cannot be counted: {reason}", err=True)
        return UNKNOWN
    counts = {name: row for name, row in instructions.count().items() if pattern.search(name)}
    if not counts:
        raise click.UsageError(f"no kernel matches {pattern.pattern!r}; a kernel is called, for example, gelu_backward")
    if update:
        kept = instructions.load(path).counts if pattern.pattern and path.exists() else {}
        instructions.save(path, kept | counts)
        click.echo(f"stored {len(counts)} kernels of {instructions.compiler()} in {path}")
        return 0
    table = instructions.load(path)
    if reason := table.comparable():
        click.echo(f"nothing to compare with: {reason}; store counts of this one with --update", err=True)
        return UNKNOWN
    changes = instructions.compare({k: row for k, row in table.counts.items() if pattern.search(k)}, counts, tolerance)
    for change in changes:
        if change.verdict != "ok":
            click.echo(str(change))
    verdicts = [change.verdict for change in changes]
    numbers = ", ".join(f"{verdicts.count(v)} {v}" for v in ("ok", "faster", "new", "gone", "slower"))
    click.echo(f"{instructions.INSTRUCTION_SET}, {table.compiler}: {numbers} (tolerance {tolerance:.0%})")
    return SLOWER if "slower" in verdicts else 0


def clock(pattern: re.Pattern[str], baseline: Path, update: bool, tolerance: float, attempts: int) -> int:
    """The check of times; the exit status."""
    tables = load(baseline)
    rows = [row for row in checks.rows() if pattern.search(str(row))]
    if not rows:
        raise click.UsageError(f"no row matches {pattern.pattern!r}; a row is called, for example, {next(checks.rows())}")
    machines = sorted({machine(row) for row in rows})
    if update:
        ratios = checks.baseline_ratios(rows, progress)
        save(baseline, updated(tables, ratios, keep=bool(pattern.pattern)))
        click.echo(f"stored {len(rows)} rows for {'; '.join(machines)} in {baseline}")
        return 0
    before = {row: expected(tables, row) for row in rows}
    if not any(before.values()):
        known = "; ".join(sorted(tables)) or "no machine"
        click.echo(f"nothing to compare with: {baseline} has no baseline for {'; '.join(machines)}", err=True)
        click.echo(f"it has one for {known}; store one for this machine with --update", err=True)
        return UNKNOWN
    findings = checks.check(rows, before, progress, tolerance, attempts)
    click.echo(table(findings))
    slower = [f for f in findings if f.verdict == "slower"]
    counts = ", ".join(f"{sum(f.verdict == v for f in findings)} {v}" for v in ("ok", "faster", "new", "slower"))
    click.echo(f"\n{'; '.join(machines)}: {counts} (tolerance {tolerance:.0%}, on threads {tolerance * checks.THREADED:.0%})")
    for f in slower:
        click.echo(f"slower: {f.row}, {f.change:+.1%}")
    return SLOWER if slower else 0


if __name__ == "__main__":
    main()
