"""The catalogue: complete, and true of the functions it describes."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import ELEMENTWISE

import fastact
from fastact import catalogue as function
from fastact.kernels.definitions import DEFINITIONS
from fastact.kernels.definitions.language import sixth
from fastact.names import SPELLINGS

MODULE = importlib.import_module("fastact.catalogue")  # whose name in the package the function has taken
FACTS = {facts.name: facts for facts in function()}
#: Dense where things happen, wide enough for limits that come slowly; kinks are not among them.
STEPS = np.concatenate([np.linspace(1e-5, 40, 40_001), np.geomspace(40.1, 1e5, 200)])
POINTS = np.concatenate([-STEPS[::-1], STEPS])


def parameters(name: str) -> dict[str, float]:
    """The defaults, or what tests try where there are none."""
    definition = DEFINITIONS[name]
    values = definition.examples[0] if None in definition.params.values() and definition.examples else definition.params.values()
    return {n: 0.25 if value is None else value for n, value in zip(definition.params, values, strict=True)}


def finite(name: str, direction: str = "") -> np.ndarray[Any, Any]:
    f = getattr(fastact, name)
    with np.errstate(all="ignore"):
        y = (getattr(f, direction) if direction else f)(POINTS, **parameters(name), backend="cython")  # Numba would compile for each
    return y[np.isfinite(y)]


def test_it_has_every_function() -> None:
    assert [facts.name for facts in function()] == list(DEFINITIONS)
    assert set(function().to_dict()) == set(DEFINITIONS)


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_given(name: str) -> None:
    facts = FACTS[name]
    for text in (facts.formula, facts.derivative_formula, facts.value_range, facts.source, facts.cost):
        assert text
    assert facts.limits or facts.family == "rowwise"
    assert facts.peers == {peer: tuple(table[name].split()) for peer, table in SPELLINGS.items() if name in table}


def number(expression: str, name: str) -> Any:
    """An expression in the parameters, for their defaults."""
    known = {**vars(math), "abs": abs, "min": min, "max": max, "sixth": sixth, **parameters(name)}
    return eval(expression, {"__builtins__": {}}, known)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_monotonicity(name: str) -> None:
    y = finite(name)
    step, noise = np.diff(y), 8 * np.spacing(np.maximum(np.abs(y[1:]), np.abs(y[:-1])))
    up, down = bool((step > noise).any()), bool((step < -noise).any())
    assert FACTS[name].monotonicity == {(True, True): "none", (True, False): "increasing", (False, True): "decreasing"}.get(
        (up, down), "constant"
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_lipschitz(name: str) -> None:
    """The largest slope; of a function that jumps it is left open whether that counts as infinite."""
    largest, stated = float(np.abs(finite(name, "derivative")).max()), FACTS[name].lipschitz
    if math.isfinite(stated):
        assert 0.995 * stated <= largest <= 1.0005 * stated
    elif FACTS[name].continuity != "discontinuous":
        assert largest > 100


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_kinks(name: str) -> None:
    """With the default parameters the derivative jumps somewhere just where the function is continuous and no more."""
    jumps = [number(left, name) != number(right, name) for left, right in FACTS[name].kinks.values()]
    if name == "clipped_gelu":  # its kinks are where gelu reaches a bound, which no expression says
        assert not jumps
        return
    assert FACTS[name].continuity == "discontinuous" or any(jumps) == (FACTS[name].continuity == "C0")


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if FACTS[name].value_range[0] in "[("])
def test_value_range(name: str) -> None:
    text, y = FACTS[name].value_range, finite(name)
    low, high = number(text[1:-1], name)
    reached = None not in FACTS[name].parameters.values()  # without defaults, the range is that of all parameters
    for bound, found in (low, float(y.min())), (-high, -float(y.max())):
        assert found >= bound - 1e-4 * max(1.0, abs(bound)), text
        assert not math.isfinite(bound) or not reached or found <= bound + 1e-3 * max(1.0, abs(bound)), text
        assert math.isfinite(bound) or found < -10, text


def test_it_prints_as_a_table() -> None:
    lines = repr(function()).splitlines()
    assert lines[0].split() == ["name", "formula", "range", "error"]
    assert len(lines) == 1 + len(DEFINITIONS)
    for line, facts in zip(lines[1:], function(), strict=True):
        assert line.startswith(facts.name)
        assert line.index(facts.value_range, lines[0].index("range") - 1) == lines[0].index("range")


def test_markdown() -> None:
    lines = function().to_markdown().splitlines()
    assert len(lines) == 2 + len(DEFINITIONS)
    assert {line.replace("\\|", "").count("|") for line in lines} == {lines[0].count("|")}


def test_it_can_be_filtered() -> None:
    found = [facts.name for facts in function() if "jax" in facts.peers and not facts.parameters]
    assert "sigmoid" in found
    assert "leaky_relu" not in found


def test_measured_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {
        "functions": {"gelu": {"float32": {"value": {"fastact": 2.375, "torch": 1e7, "jax": None}, "derivative": {"fastact": None}}}}
    }
    (tmp_path / "accuracy.json").write_text(json.dumps(measured))
    monkeypatch.setattr(MODULE, "ACCURACY", tmp_path / "accuracy.json")
    found = {facts.name: facts.error for facts in function()}
    assert found["gelu"] == {"float32": {"value": 2.375}}
    assert found["relu"] == {}
    assert "2.38 ULP" in repr(function())
    monkeypatch.setattr(MODULE, "ACCURACY", tmp_path / "none.json")
    assert all(not facts.error for facts in function())
