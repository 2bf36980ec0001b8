"""The check itself: measure, measure again what looks slow, and judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .. import ACTIVATIONS
from . import suite
from .suite import AUTOMATIC, SIZES, Row
from .yardstick import ROUNDS, measure, until_quiet

#: What may be lost before a row is called slower.
TOLERANCE = 0.25
#: Times that for rows on several threads: these wait for each other, so that whoever uses one core delays all.
THREADED = 2
#: How often a row that looks slow is measured before it is called slower.
ATTEMPTS = 8
#: Seconds before each of these attempts, and how many more to wait for other processes to leave the cores alone.
PAUSE, PATIENCE = 2.0, 10.0
#: How often all rows are measured for the baseline.
PASSES = 4
#: The reference is not there to be fast.
ORACLE = "numpy"

#: Iterates over rows, showing progress.
Progress = Callable[[Sequence[Row], str], Iterable[Row]]


@dataclass(frozen=True)
class Finding:
    """A row and what became of it."""

    row: Row
    ratio: float
    baseline: float | None
    tolerance: float

    @property
    def change(self) -> float:
        """The relative change: 0.5 is half as slow again."""
        return 0.0 if self.baseline is None else self.ratio / self.baseline - 1

    @property
    def verdict(self) -> str:
        """ "ok", "slower", "faster", or "new"."""
        if self.baseline is None:
            return "new"
        if self.change > self.tolerance:
            return "slower"
        return "faster" if self.change < 1 / (1 + self.tolerance) - 1 else "ok"


def rows() -> Iterator[Row]:
    """What is checked: of the functions that most models are made of the cost of a call and every backend in cache and beyond it; of
    all others the value in float32, in cache.
    """
    known = suite.mainstream()
    yield from suite.rows([AUTOMATIC], known, sizes=SIZES[:1])
    backends = [name for name in suite.backends() if name not in (AUTOMATIC, ORACLE)]
    yield from suite.rows(backends, known, sizes=SIZES[1:3])
    others = [name for name in ACTIVATIONS if name not in known]
    yield from (row for row in suite.rows(backends, others, ["float32"], SIZES[1:2]) if row.direction == "value")


def baseline_ratios(rows: Sequence[Row], progress: Progress, passes: int = PASSES) -> dict[Row, float]:
    """The ratios to store: of the best times of all passes, which are minutes apart."""
    passed = [{row: measure(row) for row in progress(rows, f"pass {i + 1} of {passes}")} for i in range(passes)]
    return {row: min(p[row][0] for p in passed) / min(p[row][1] for p in passed) for row in rows}


def measure_ratio(row: Row, rounds: int = ROUNDS) -> float:
    """The time of a row as a multiple of its yardstick's."""
    seconds, unit = measure(row, rounds)
    return seconds / unit


def check(
    rows: Sequence[Row],
    baselines: Mapping[Row, float | None],
    progress: Progress,
    tolerance: float = TOLERANCE,
    attempts: int = ATTEMPTS,
) -> list[Finding]:
    """Measure rows and compare them with their baselines.

    A row that looks slow is measured up to `attempts` times, at intervals, and its least ratio counts: another process can make a
    good kernel look slow, but nothing makes a slow one look good.
    """
    allowed = {row: tolerance * (THREADED if row.threads > 1 else 1) for row in rows}
    found = {row: Finding(row, measure_ratio(row), baselines[row], allowed[row]) for row in progress(rows, "measuring")}
    for attempt in range(1, attempts):
        slow = [row for row, finding in found.items() if finding.verdict == "slower"]
        if not slow:
            break
        time.sleep(PAUSE)
        until_quiet(time.monotonic() + PATIENCE)
        for row in progress(slow, f"slow rows again, {attempt} of {attempts - 1}"):
            ratio = min(found[row].ratio, measure_ratio(row, rounds=2 * ROUNDS))
            found[row] = Finding(row, ratio, baselines[row], allowed[row])
    return list(found.values())
