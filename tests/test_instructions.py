"""No kernel needs more instructions an element than the stored table says. Counted by callgrind: the same numbers every day."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastact.kernels.cpu import compiled
from fastact.regression import instructions
from fastact.regression.__main__ import SLOWER, UNKNOWN, main
from fastact.regression.baseline import BaselineError

STORED = Path(__file__).parent.parent / "benchmarks" / "instructions.json"
MISSING = instructions.missing()
COUNTED = pytest.mark.skipif(bool(MISSING), reason=f"instructions cannot be counted: {MISSING}")


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> instructions.Counts:
    """Of every kernel; counted once, by whichever of xdist's workers comes first."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / "instructions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "instructions.json"
        if not path.exists():
            instructions.save(path, instructions.count())
        return instructions.load(path).counts


@pytest.fixture
def run(counts: instructions.Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on these counts and a table of its own."""
    monkeypatch.setattr(instructions, "count", lambda: counts)
    options = ["--instructions", "--baseline", str(tmp_path / "table.json")]
    return lambda *more: CliRunner().invoke(main, [*options, *more])


@COUNTED
def test_no_kernel_has_become_slower(counts: instructions.Counts) -> None:
    table = instructions.load(STORED)
    if reason := table.comparable():
        pytest.skip(f"nothing to compare with: {reason}")
    slower = [str(c) for c in instructions.compare(table.counts, counts) if c.verdict != "ok" and c.verdict != "faster"]
    assert slower == [], "if that is meant: python -m fastact.regression --instructions --update"


@COUNTED
def test_every_kernel_is_counted(counts: instructions.Counts) -> None:
    assert set(compiled.OPERATIONS) <= set(counts)
    assert {name.partition("_rows_of_")[2] for name in set(counts) - set(compiled.OPERATIONS)} == {"8", "64", "256"}
    assert all(row.keys() >= {"float64", "precise"} for name, row in counts.items() if name in compiled.OPERATIONS)


@COUNTED
def test_counts_are_what_the_loops_must_execute(counts: instructions.Counts) -> None:
    """A load, or an operation from memory, and a store for each vector of eight at least; float64 has half as many in a vector."""
    relu, gelu = counts["relu_value"], counts["gelu_value"]
    assert 2 / 8 <= relu["float32"] < 2
    assert 2 / 4 <= relu["float64"] < 4
    assert relu["float32"] < relu["float16"] < relu["bfloat16"] + 4
    assert gelu["float32"] > 3 * relu["float32"]
    assert gelu["float64"] > gelu["precise"] > 1.5 * gelu["float32"]  # which has shorter polynomials than float64


@COUNTED
def test_counts_are_repeatable_and_a_slower_kernel_is_caught(counts: instructions.Counts) -> None:
    kernels = ["gelu_value", "relu_value", "tanh_backward", "softmax_value_rows_of_64"]
    assert instructions.count(kernels) == {kernel: counts[kernel] for kernel in kernels}
    slow = instructions.count(["relu_value"], build="baseline")  # the same kernels by another build, without vectors
    changes = instructions.compare(counts, counts | slow)
    assert {c.kernel for c in changes if c.verdict == "slower"} == {"relu_value"}


@COUNTED
def test_the_command_names_what_is_slower(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("--update").exit_code == 0
    result = run()
    assert (result.exit_code, "slower:" in result.output) == (0, False), result.output
    path = tmp_path / "table.json"
    table = json.loads(path.read_text())
    table["counts"]["gelu_value"]["float32"] *= 0.96
    table["counts"]["tanh_value"]["float32"] *= 0.98  # within the tolerance
    path.write_text(json.dumps(table))
    result = run()
    assert result.exit_code == SLOWER
    assert [line.partition(",")[0] for line in result.output.splitlines()[:-1]] == ["slower: gelu_value float32"]
    assert run("--select", "tanh").exit_code == 0
    assert run("--tolerance", "0.05").exit_code == 0


@COUNTED
def test_another_compilers_counts_are_not_used(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("--update", "--select", "gelu").exit_code == 0
    path = tmp_path / "table.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compiler": "GCC: (Another) 1.2.3"}))
    result = run()
    assert result.exit_code == UNKNOWN
    assert "GCC: (Another) 1.2.3" in result.output
    assert instructions.compiler() in result.output


@COUNTED
def test_no_such_kernel_is_an_error(run: Callable[..., Result]) -> None:
    result = run("--select", "no_such_kernel")
    assert result.exit_code == 2
    assert "no_such_kernel" in result.output


def test_what_cannot_be_counted_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="cannot be counted"):
        instructions.count()
    result = CliRunner().invoke(main, ["--instructions"])
    assert result.exit_code == UNKNOWN
    assert "cannot be counted" in result.output


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"compiler": "x", "counts": {"a": {"float32": -1}}}', '{"compiler": "x", "counts": {"a": 1}}']
)
def test_a_damaged_table_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"table\.json"):
        instructions.load(path)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [(10.0, 10.3, "ok"), (10.0, 10.31, "slower"), (10.0, 9.7, "ok"), (10.0, 9.6, "faster"), (None, 1.0, "new"), (1.0, None, "gone")],
)
def test_verdicts(before: float | None, now: float | None, verdict: str) -> None:
    assert instructions.Change("gelu_value", "float32", before, now, instructions.TOLERANCE).verdict == verdict
