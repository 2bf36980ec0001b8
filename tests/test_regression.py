"""The regression check finds a kernel that was slowed on purpose, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastact.regression import baseline, check, suite
from fastact.regression.__main__ import UNKNOWN, main
from fastact.regression.suite import Row

SLOWED, UNTOUCHED = (Row("cython", function, "value", "float32", 1 << 20) for function in ("gelu", "tanh"))
ROWS = f"^({SLOWED}|{UNTOUCHED})$"
#: Wide: what is shown here is the check, on any machine, and the kernel is slowed threefold.
TOLERANCE = "0.6"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PAUSE", 0.1)
    monkeypatch.setattr(check, "PATIENCE", 0.3)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    def invoke(*options: str) -> Result:
        return CliRunner().invoke(main, ["--select", ROWS, "--baseline", str(tmp_path / "baseline.json"), *options])

    return invoke


@pytest.fixture
def stored(run: Callable[..., Result], tmp_path: Path) -> Path:
    assert run("--update").exit_code == 0
    return tmp_path / "baseline.json"


@pytest.fixture
def slow_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `SLOWED` do its work ten times over: more than what a busy machine adds to the others."""
    prepare = Row.prepare

    def prepare_slower(self: Row) -> Callable[[], object]:
        call = prepare(self)
        return (lambda: [call() for _ in range(10)]) if self == SLOWED else call

    monkeypatch.setattr(Row, "prepare", prepare_slower)


def verdicts(result: Result) -> dict[str, str]:
    """The last column of the table, by row."""
    lines = [line.split() for line in result.output.splitlines() if line.startswith("cython-")]
    return {line[0]: line[-1] for line in lines}


def test_an_unchanged_kernel_passes(run: Callable[..., Result], stored: Path) -> None:
    result = run("--tolerance", TOLERANCE)
    assert result.exit_code == 0, result.output
    assert set(verdicts(result)) == {str(SLOWED), str(UNTOUCHED)}
    assert "SLOWER" not in verdicts(result).values()


@pytest.mark.usefixtures("stored")
def test_a_slower_kernel_fails_and_is_named(run: Callable[..., Result], request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("slow_kernel")
    result = run("--tolerance", TOLERANCE)
    assert result.exit_code == 1, result.output
    assert verdicts(result)[str(SLOWED)] == "SLOWER"
    assert verdicts(result)[str(UNTOUCHED)] != "SLOWER"
    assert f"slower: {SLOWED}, +" in result.output
    assert f"slower: {UNTOUCHED}" not in result.output


def test_another_processors_baseline_is_not_used(run: Callable[..., Result], stored: Path) -> None:
    [table] = json.loads(stored.read_text()).values()
    stored.write_text(json.dumps({"Another Processor, x86-64-v9, 3 cores": dict.fromkeys(table, 1e-6)}))
    result = run()
    assert result.exit_code == UNKNOWN
    assert baseline.machine(SLOWED) in result.output
    assert "Another Processor" in result.output
    assert not verdicts(result)
    assert run("--update").exit_code == 0
    assert set(json.loads(stored.read_text())) == {"Another Processor, x86-64-v9, 3 cores", baseline.machine(SLOWED)}


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", '{"machine": 1}', '{"machine": {"row": "fast"}}', '{"machine": {"row": -1}}', '{"m": {"r": NaN}}']
)
def test_a_damaged_baseline_is_an_error(run: Callable[..., Result], tmp_path: Path, text: str) -> None:
    (tmp_path / "baseline.json").write_text(text)
    result = run()
    assert result.exit_code == 2
    assert "baseline.json" in result.output
    assert "Traceback" not in result.output


def test_no_such_row_is_an_error(run: Callable[..., Result]) -> None:
    result = run("--select", "no-such-row")
    assert result.exit_code == 2
    assert "no-such-row" in result.output


def test_an_update_of_some_rows_keeps_the_others(run: Callable[..., Result], stored: Path) -> None:
    before = baseline.load(stored)
    assert run("--update", "--select", f"^{SLOWED}$").exit_code == 0
    assert baseline.expected(baseline.load(stored), UNTOUCHED) == baseline.expected(before, UNTOUCHED)


def test_a_row_without_a_baseline_is_new_and_passes() -> None:
    found = check.Finding(SLOWED, 1.0, None, 0.25)
    assert (found.verdict, found.change) == ("new", 0.0)


@pytest.mark.parametrize(("ratio", "verdict"), [(1.2, "ok"), (1.3, "slower"), (0.85, "ok"), (0.75, "faster")])
def test_verdicts(ratio: float, verdict: str) -> None:
    assert check.Finding(SLOWED, ratio, 1.0, 0.25).verdict == verdict


def test_rows_come_from_the_registries() -> None:
    rows = list(check.rows())
    assert {row.function for row in rows} == set(suite.ACTIVATIONS)
    assert {row.backend for row in rows} == set(suite.backends()) - {check.ORACLE}
    assert len({str(row) for row in rows}) == len(rows)
