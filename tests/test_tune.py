"""The tuned table: how it is found from measurements, stored, read, refused, and what follows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fastact
from fastact import tuning
from fastact.arrays.common import KINDS
from fastact.cli.commands import fastact as command
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS
from fastact.kernels.definitions.language import COSTS

NEVER = {cost: dict.fromkeys(KINDS, tuning.NEVER) for cost in COSTS}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    fastact.get_num_threads()  # the user's own table, if there is one, has been read
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path))
    yield tmp_path
    tuning.use(tuning.SHIPPED)


def sizes(first: int) -> dict[str, dict[str, int]]:
    """Another size for every cost class and storage type."""
    return {cost: {kind: first + 1000 * i + 10 * k for k, kind in enumerate(KINDS)} for i, cost in enumerate(COSTS)}


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def threads(kind: str, cost: str, size: int) -> int:
    return compiled.threads_of(COSTS.index(cost), kind, size)


def test_what_is_stored_is_read_and_followed(folder: Path) -> None:
    stored = tuning.write(tuning.Table(sizes(20_000), sizes(90_000), "measured"), 2)
    assert stored == folder / "tuned.json"
    tuning.use(tuning.SHIPPED)
    tuning.reload()
    assert tuning.current().source == str(stored)
    assert tuning.current().threads == sizes(20_000)
    most = fastact.get_num_threads()
    for cost in COSTS:
        for kind in KINDS:
            at, numba = sizes(20_000)[cost][kind], sizes(90_000)[cost][kind]
            assert [threads(kind, cost, n) for n in (at - 1, at, numba - 1, numba)] == [1, most, most, 0]
    x = np.zeros(sizes(20_000)["erf"]["float32"], np.float32)
    said = fastact.explain(fastact.gelu, x)
    assert (said.backend, said.threads) == ("cython", most)
    assert fastact.explain(fastact.gelu, x[1:]).threads == 1
    assert tuning.reset()
    assert not stored.exists()
    assert tuning.current() is tuning.SHIPPED
    assert threads("float32", "erf", 90_000_000) == most
    assert not tuning.reset()


def damaged(folder: Path) -> dict[str, Any]:
    tuning.write(tuning.Table(sizes(20_000), NEVER, "measured"), 2)
    return json.loads((folder / "tuned.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t["machine"].update(processor="abacus"), r"was measured on another machine .*abacus"),
    (lambda t: t["machine"].update(cores=999), "was measured on another machine"),
    (lambda t: t["machine"].update(fastact="0.0.0"), "was measured on another machine"),
    (lambda t: t.update(format=99), "is not a table of this version"),
    (lambda t: t["threads"].pop("exp"), "has no size for every cost class and storage type in 'threads'"),
    (lambda t: t["threads"]["erf"].update(float32=-1), "in 'threads'"),
    (lambda t: t["numba"]["erf"].update(float32="many"), "in 'numba'"),
])  # fmt: skip
def test_what_cannot_be_used_is_reported_and_left_alone(change: Any, message: str, folder: Path) -> None:
    table = damaged(folder)
    change(table)
    text = json.dumps(table)
    (folder / "tuned.json").write_text(text)
    with pytest.warns(RuntimeWarning, match=message):
        tuning.reload()
    assert tuning.current() is tuning.SHIPPED
    assert (folder / "tuned.json").read_text() == text


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe\x00"])
def test_what_cannot_be_read_is_reported(data: bytes, folder: Path) -> None:
    (folder / "tuned.json").write_bytes(data)
    with pytest.warns(RuntimeWarning, match=r"tuned.json (cannot be read|is not a table).*it is not used: run `fastact tune`"):
        tuning.reload()
    assert tuning.current() is tuning.SHIPPED


def test_a_process_reads_it_at_its_first_large_call_and_warns_once(folder: Path) -> None:
    (folder / "tuned.json").write_text("{")
    code = """
import sys, numpy as np, fastact
small, large = np.ones(1000, np.float32), np.ones(1 << 20, np.float32)
fastact.gelu(small)
print("small", file=sys.stderr)
for _ in range(3): fastact.gelu(large); fastact.softmax(large); fastact.gelu(large[::2])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True)
    before, _, after = done.stderr.partition("small\n")
    assert before == ""
    assert after.count("RuntimeWarning") == after.count("cannot be read") == 1


@pytest.mark.parametrize(("gains", "size"), [
    ({1: 0.5, 2: 0.9, 4: 1.5, 8: 1.9}, 4),
    ({1: 1.5, 2: 1.6, 4: 1.7}, 1),
    ({1: 0.5, 2: 0.9, 4: 1.0}, tuning.NEVER),
    ({1: 0.5, 2: 1.3, 4: 0.9, 8: 1.9}, 2),  # one bad sample in the middle
    ({1: 1.3, 2: 0.4, 4: 0.9, 8: 1.9}, 8),  # one good one at the beginning
    ({1: 1.04, 2: 1.04}, tuning.NEVER),  # in a draw the other cores are left to others
])  # fmt: skip
def test_the_size_that_gains_most(gains: dict[int, float], size: int) -> None:
    assert tuning.best(gains, tuning.MARGIN) == size


def test_who_speaks_for_a_cost_class_belongs_to_it() -> None:
    assert list(tuning.VOTERS) == list(COSTS)
    for cost, names in tuning.VOTERS.items():
        assert {DEFINITIONS[name].cost for name in names} == {cost}


def test_measuring_and_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Really measured, on few sizes; what was found is in force, shown, and gone after a reset."""
    monkeypatch.setattr(tuning, "SIZES", (1 << 14, 1 << 15))
    monkeypatch.setattr(tuning, "ROUNDS", 2)
    monkeypatch.setattr("fastact.threads.get_num_threads", lambda: 2)
    assert "nothing stored" in run("tune", "--dry-run")
    assert not (folder / "tuned.json").exists()
    output = run("tune")
    assert f"stored in {folder / 'tuned.json'}" in output
    assert [line.split()[0] for line in output.splitlines() if line.split()[:1] and line.split()[0] in COSTS] == list(COSTS)
    stored = json.loads((folder / "tuned.json").read_text())
    assert stored["machine"] == tuning.machine()
    assert {size for row in stored["threads"].values() for size in row.values()} <= {1 << 14, 1 << 15, tuning.NEVER}
    assert tuning.current().source == str(folder / "tuned.json")
    assert str(folder / "tuned.json") in run("info")
    assert "removed" in run("tune", "--reset")
    assert "the shipped sizes are in force" in run("tune", "--reset")
    assert "shipped with fastact" in run("info")


def test_info_reports_a_table_that_cannot_be_used(folder: Path) -> None:
    (folder / "tuned.json").write_text("{")
    assert "cannot be read" in run("info")


def test_one_thread_has_nothing_to_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastact.threads.get_num_threads", lambda: 1)
    assert "there is one thread for a call here" in run("tune", code=1)


def test_measuring_numba(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fastact.backends()["numba"].available:
        pytest.skip("numba is missing")
    monkeypatch.setattr(tuning, "KINDS", ("float32",))
    monkeypatch.setattr(tuning, "COSTS", ("move",))
    monkeypatch.setattr(tuning, "SIZES", ())
    monkeypatch.setattr(tuning, "LARGE", (1 << 16,))
    table, gains = tuning.measure(2, True)
    assert gains["numba"]["move"]["float32"][1 << 16] > 0
    assert table.threads["move"]["float32"] == tuning.NEVER
