"""``fastact verify`` measures, finds what is wrong, and keeps its record in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastact
from fastact.cli.verify import verify
from fastact.ulp import Worst
from fastact.verify import measure, report
from fastact.verify.measure import Case, Found

QUICK = ["--step", "1000003", "--no-peers"]


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(verify, [*arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "RECORD", tmp_path / "accuracy.json")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    return tmp_path / "accuracy.json"


def test_it_measures_every_type_and_direction(record: Path) -> None:
    output = run("silu", "hard_tanh", *QUICK)
    assert "BROKEN" not in output
    found = json.loads(record.read_text())["functions"]
    assert set(found) == {"silu", "hard_tanh"}
    assert set(found["silu"]) == {"float32", "float64", "float16", "bfloat16"}
    assert all(set(of) == {"value", "derivative", "second_derivative"} for of in found["silu"].values())
    assert set(found["hard_tanh"]["float32"]) == {"value", "derivative"}
    assert 0.3 < found["silu"]["float32"]["value"]["precise"] <= 0.51
    page = (record.parent / "docs" / "accuracy.md").read_text()
    assert "| silu | second derivative | 0.51 |" in page


def test_a_broken_promise_is_found(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = measure._function

    def wrong(case: Case, column: str, backend: str | None) -> Any:
        right = original(case, column, backend)
        return right and (lambda x: np.where(x > 3, right(x) * x.dtype.type(1.000001), right(x)))

    monkeypatch.setattr(measure, "_function", wrong)
    output = run("tanh", *QUICK, "--dtype", "float32", "--direction", "value", code=1)
    assert "BROKEN, fast, promised 3.0" in output
    assert "BROKEN, precise, promised 0.51" in output


def test_signs_of_zeros_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("silu", "float32", "value")
    monkeypatch.setattr(measure, "_function", lambda *_: lambda x: np.abs(fastact.silu(x)) * np.sign(fastact.silu(x)))
    (task,) = measure.tasks(case, ("fast",), 1_000_003, None)
    found = measure.run(task)["fast"]
    assert found.zeros > 0
    assert not measure.holds(case, "fast", found)


def test_the_record_keeps_what_was_measured_better() -> None:
    case, kept = Case("gelu", "float32", "value"), {"functions": {}}
    report.add(kept, case, {"fast": Found(Worst(2.5)), "torch": Found(Worst(1e7))}, 101)
    report.add(kept, case, {"fast": Found(Worst(2.1))}, 1021)  # coarser
    row = kept["functions"]["gelu"]["float32"]["value"]
    assert (row["fastact"], row["torch"], row["step"]) == (2.5, 1e7, 101)
    report.add(kept, case, {"fast": Found(Worst(2.75)), "jax": Found(Worst(float("inf")))}, 1)
    assert (row := kept["functions"]["gelu"]["float32"]["value"]) == {"fastact": 2.75, "torch": 1e7, "jax": "inf", "step": 1}
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert "| gelu | value | 3 | 2.75 |  | 1.0e+07 | inf | 1 |" in report.page(kept)


def test_bad_options() -> None:
    assert "'rleu' is not one of" in run("rleu", code=2)
    assert "'gpu' is not one of" in run("relu", "--backend", "gpu", code=2)
    assert "0 is not in the range" in run("relu", "--step", "0", code=2)


def test_peers_are_measured_on_the_same_inputs() -> None:
    pytest.importorskip("torch")
    (task,) = measure.tasks(Case("mish", "float32", "derivative"), measure.COLUMNS, 1_000_003, None)
    found = measure.run(task)
    assert found["fast"].error.error < 4 < found["torch"].error.error


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_peers_functions_are_ours(library: str) -> None:
    """Every expression, at ordinary inputs, where peers keep their digits."""
    from fastact.verify import peers

    pytest.importorskip(library)
    x = np.linspace(0.1, 3, 50)
    for name in [name for name, of in peers.EXPRESSIONS.items() if library in of]:
        ours = getattr(fastact, name)(x, *measure.parameters(name, x.dtype))
        np.testing.assert_allclose(peers.peer(name, library)["value"](x), ours, rtol=1e-6, atol=1e-9, err_msg=name)
