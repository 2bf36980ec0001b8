"""The stored ratios, a JSON file: for each machine, a processor with an instruction set or a GPU, the ratio of each row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import registry
from ..kernels.cpu import compiled
from ..machine import cores, processor
from .suite import Row

#: Machine -> row -> ratio.
Tables = dict[str, dict[str, float]]


class BaselineError(ValueError):
    """The file is not a baseline."""


def machine(row: Row) -> str:
    """What a row runs on: ratios of different machines are not compared."""
    if row.library == "numpy":
        return f"{processor()}, {compiled.ISA}, {cores()} cores"
    devices: Any = registry.get(row.backend).details()["devices"]
    return str(devices[0])


def load(path: Path) -> Tables:
    """Read the file; no tables if there is none.

    Raises
    ------
    BaselineError
        If it cannot be read, or is not a baseline.
    """
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BaselineError(f"the baseline {path} cannot be read: {error}") from error
    for name, table in tables.items() if isinstance(tables, dict) else [("the file", tables)]:
        if not isinstance(table, dict) or not all(isinstance(ratio, float | int) and 0 < ratio < math.inf for ratio in table.values()):
            raise BaselineError(f"the baseline {path} is damaged: {name} should map rows to ratios above 0")
    return dict(tables)


def save(path: Path, tables: Tables) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tables, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def expected(tables: Tables, row: Row) -> float | None:
    """The stored ratio of a row on this machine."""
    return tables.get(machine(row), {}).get(str(row))


def updated(tables: Tables, ratios: Mapping[Row, float], keep: bool) -> Tables:
    """The tables with new ratios for the machines that they were measured on; with `keep` other rows of these machines stay."""
    found = dict(tables)
    for name in {machine(row) for row in ratios}:
        measured = {str(row): float(f"{ratio:.4g}") for row, ratio in ratios.items() if machine(row) == name}
        found[name] = (tables.get(name, {}) if keep else {}) | measured
    return found
