"""The record of measured errors, ``fastact/accuracy.json``, and the table that is written from it."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..catalogue import ACCURACY
from ..kernels.definitions import DEFINITIONS
from .measure import COLUMNS, DIRECTIONS, KINDS, Case, Found, bound

#: Beside the code that it describes; the catalogue reads it.
RECORD = ACCURACY

HEAD = """# Accuracy

Written by `fastact verify`; do not edit. The largest errors that were met, in units in the last place (ULP) of the result's type: fastact's
(`fast`, and `precise` in brackets where it is another computation), and on the same inputs PyTorch's and JAX's on the CPU, where they have
the function. float32 inputs are bit patterns across the whole range, in the stated steps (1: every float32 there is); halves are all 65,536
inputs; float64 is judged by mpmath on some hundred points: the middle, tails, subnormal results, huge arguments. Next to roots (where the
value is below 0.1 and relative errors mean nothing) errors count in the column "at roots", in units of 2^-24 (float32) or 2^-53 (float64).
Periodic functions are measured within their stated reach. An error of 1.7e+07 ULP means: no digit is right;
8.4e+06 that a subnormal result is 0 (XLA computes without them on the CPU); inf that one of both is NaN or infinite, at NaN too.
"""


def number(value: float | None) -> str:
    """An error as the table has it."""
    return "" if value is None else "inf" if value == float("inf") else f"{value:.2f}" if value < 1000 else f"{value:.1e}"


def load() -> dict[str, Any]:
    """The record, empty if there is none."""
    if not RECORD.exists():
        return {"functions": {}}
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


def add(record: dict[str, Any], case: Case, found: dict[str, Found], step: int) -> None:
    """Note what was found for a case, beside what is noted of other columns, unless finer steps have been taken before."""
    of_kind = record["functions"].setdefault(case.name, {}).setdefault(case.kind, {})
    row: dict[str, Any] = dict(of_kind.get(case.direction, {}))
    if case.kind == "float32":
        if row.get("step", step) < step:
            return
        row["step"] = step
    for column in COLUMNS:
        if column in found:
            row["fastact" if column == "fast" else column] = _plain(found[column].error.error)
    if DEFINITIONS[case.name].roots.get(case.direction) and "fast" in found:
        row["root"] = _plain(found["fast"].root.error)
    record["version"] = __version__
    of_kind[case.direction] = row


def _plain(error: float) -> float | str:
    """Infinities as text, which JSON has no number for."""
    return "inf" if error == float("inf") else round(error, 4)


def save(record: dict[str, Any]) -> None:
    """Write the record, functions in the order of definition."""
    order = [name for name in DEFINITIONS if name in record["functions"]]
    record["functions"] = {name: record["functions"][name] for name in order}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def page(record: dict[str, Any]) -> str:
    """The record as a page of Markdown."""
    out = [HEAD]
    for kind in KINDS[2:] + KINDS[:2]:
        rows = [
            (name, direction, found[kind][direction])
            for name, found in record["functions"].items()
            for direction in DIRECTIONS
            if direction in found.get(kind, {})
        ]
        if not rows:
            continue
        out += [
            f"## {kind}",
            "",
            "| function | direction | promise | fastact | at roots | PyTorch | JAX | step |",
            "|---|---|--:|--:|--:|--:|--:|--:|",
        ]
        for name, direction, row in rows:
            ours = number(float(row.get("fastact", "nan"))) + (f" ({number(float(row['precise']))})" if "precise" in row else "")
            peers = [number(float(row[p])) if p in row else "" for p in ("torch", "jax")]
            promise = f"{bound(Case(name, kind, direction), 'fast'):g}"
            root = number(float(row["root"]) if "root" in row else None)
            cells = [name, direction.replace("_", " "), promise, ours, root, *peers, str(row.get("step", ""))]
            out.append(f"| {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out)
