"""What is known of every activation, as data: `catalogue`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import names
from .kernels.definitions import DEFINITIONS, Definition

#: Written by ``fastact verify``: {"functions": {function: {dtype: {direction: {"fastact": ULP, ...}}}}}.
ACCURACY = Path(__file__).with_name("accuracy.json")


class Facts(NamedTuple):
    """What is known of an activation. Facts of the function as a whole hold for its default parameters."""

    name: str
    family: str  #: "elementwise" or "rowwise"
    formula: str
    derivative_formula: str
    parameters: dict[str, float | None]  #: with their defaults; None where there is none
    value_range: str
    monotonicity: str  #: "increasing", "decreasing", not strictly; "constant", "none"
    continuity: str  #: how often it can be differentiated: "discontinuous", "C0", "C1", "C2", "smooth"
    kinks: dict[str, tuple[str, str]]  #: where the derivative jumps -> its limits from the left and from the right
    lipschitz: float  #: the largest magnitude of the derivative
    limits: dict[float, float]  #: its value at special arguments
    learnable: tuple[str, ...]  #: the parameters whose gradients ``backward`` returns
    from_output: bool  #: whether there is ``backward_from_output``
    second_derivative: bool
    peers: dict[str, tuple[str, ...]]  #: the frameworks that have it, with their names for it
    cost: str  #: the arithmetic of an element: "move", "exp", "erf", cheapest first
    aliases: tuple[str, ...]
    source: str
    error: dict[str, dict[str, float]]  #: the largest error measured, in ULP, by dtype and direction


class Catalogue(list[Facts]):
    """A list of `Facts` that prints as a table."""

    def __repr__(self) -> str:
        rows = [("name", "formula", "range", "error"), *((f.name, _short(f.formula), f.value_range, _error(f)) for f in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The facts by name, as plain dictionaries."""
        return {facts.name: facts._asdict() for facts in self}

    def to_markdown(self) -> str:
        """A table in Markdown, with more columns than there is room for on a screen."""
        rows = [tuple(_COLUMNS), ("---",) * len(_COLUMNS)]
        rows += [tuple(cell(facts).replace("|", "\\|") for cell in _COLUMNS.values()) for facts in self]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def catalogue() -> Catalogue:
    """What is known of every function: formulas, parameters, properties, the peers that have it, the error measured.

    Returns
    -------
    Catalogue
        A list, in the order of definition, of records with the attributes ``name``, ``family``, ``formula``,
        ``derivative_formula``, ``parameters``, ``value_range``, ``monotonicity``, ``continuity``, ``kinks``, ``lipschitz``,
        ``limits``, ``learnable``, ``from_output``, ``second_derivative``, ``peers``, ``cost``, ``aliases``, ``source`` and
        ``error``. It prints as a table and has ``to_dict()`` and ``to_markdown()``. The error printed is that of values in float32.

    Examples
    --------
    >>> import fastact
    >>> facts = {f.name: f for f in fastact.catalogue()}
    >>> facts["sigmoid"].formula, facts["silu"].peers["jax"]
    ('1 / (1 + exp(-x))', ('silu', 'swish'))
    >>> "gelu" in [f.name for f in fastact.catalogue() if "onnx" in f.peers and not f.parameters]
    True
    """
    import json

    measured: dict[str, Any] = json.loads(ACCURACY.read_text())["functions"] if ACCURACY.exists() else {}
    return Catalogue(_facts(definition, measured.get(name, {})) for name, definition in DEFINITIONS.items())


def _facts(d: Definition, measured: dict[str, dict[str, dict[str, Any]]]) -> Facts:
    ours = {
        dtype: {to: float(row["fastact"]) for to, row in of.items() if row.get("fastact") is not None} for dtype, of in measured.items()
    }
    return Facts(
        d.name, d.family, d.display, d.derivative_formula, dict(d.params), d.value_range, d.monotonicity, d.continuity, dict(d.kinks),
        d.lipschitz, dict(d.limits), d.learnable, "derivative_from_output" in d.roles or d.family == "rowwise", d.smooth,
        names.peers(d.name), d.cost, d.aliases, d.source, ours,
    )  # fmt: skip


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _error(facts: Facts) -> str:
    ulp = facts.error.get("float32", {}).get("value")
    return "" if ulp is None else f"{ulp:.2f} ULP"


#: The columns of `Catalogue.to_markdown`.
_COLUMNS: dict[str, Callable[[Facts], str]] = {
    "name": lambda f: f"`{f.name}`",
    "formula": lambda f: f"`{f.formula}`",
    "parameters": lambda f: ", ".join(n if d is None else f"{n} = {d:.7g}" for n, d in f.parameters.items()),
    "range": lambda f: f.value_range,
    "monotonicity": lambda f: f.monotonicity,
    "continuity": lambda f: f.continuity,
    "Lipschitz": lambda f: f"{f.lipschitz:.4g}",
    "peers": lambda f: ", ".join(f.peers),
    "cost": lambda f: f.cost,
    "error": _error,
}
