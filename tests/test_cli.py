"""The ``fastact`` command, run as a user runs it, and the examples."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fastact
from fastact.cli import demo, formulas
from fastact.cli.commands import fastact as command

EXAMPLES = sorted(Path(__file__).parents[1].glob("examples/*.py"))


def run(*arguments: object, code: int = 0, **environment: str) -> Result:
    """Run ``fastact ...`` and expect the exit code."""
    result = CliRunner().invoke(command, list(map(str, arguments)), env=environment)
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu", "gelu", "tanh"])
def test_demo_learns_the_digits(name: str) -> None:
    output = run("demo", "--activation", name, "--epochs", 8).output
    ours, plain = map(float, re.findall(r"(?:accuracy|formulas) (0\.\d+|1\.0+)", output))
    assert ours >= 0.95
    assert plain >= 0.95
    assert re.search(r"cython served \d{3,} calls", output)


def test_demo_of_all() -> None:
    output = run("demo", "--activation", "all", "--epochs", 1, "--dtype", "float64", "--backend", "cython").output
    assert [line.split()[0] for line in output.splitlines()[-len(demo.KNOWN) :]] == demo.KNOWN


def test_demo_trains_learnable_parameters() -> None:
    race = demo.Race("prelu", demo.by_fastact("prelu"), demo.digits("float32"), "float32", 0)
    race.epoch()
    slopes = [layer[2] for layer in race.network.layers[:-1]]
    assert [s.shape for s in slopes] == [(n,) for n in demo.LAYERS[1:-1]]
    assert all((s != formulas.SLOPE).mean() > 0.9 for s in slopes)


def test_demo_runs_on_a_named_backend() -> None:
    output = run("demo", "-a", "relu", "--epochs", 1, "--backend", "numpy").output
    assert re.search(r"^numpy served \d+ calls$", output, re.MULTILINE)


def test_demo_names_the_activations() -> None:
    output = run("demo", "--activation", "gleu", code=2).output
    assert "'gleu' is not one of" in output
    assert all(f"'{name}'" in output for name in demo.CHOICES)


def test_demo_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install 'fastact[demo]'" in run("demo", code=1).output


def test_a_missing_backend_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastact.registry.available", {"numba": "not today"}.get)
    for name in ("demo", "bench"):
        assert "'numba' is missing: not today" in run(name, "--backend", "numba", code=2).output


@pytest.mark.parametrize("name", demo.CHOICES)
def test_formulas_are_those_of_the_functions(name: str) -> None:
    function, plain = fastact.ACTIVATIONS[name], formulas.formula(name)
    params = [formulas.SLOPE if p is None else p for p in function.definition.params.values()]
    x, one = np.linspace(-6, 6, 1001), np.ones(1001)
    close = {"rtol": 1e-9, "atol": 1e-12, "strict": True}
    np.testing.assert_allclose(plain.value(x, *params), function(x, *params), **close)
    np.testing.assert_allclose(plain.derivative(x, *params), function.derivative(x, *params), **close)
    assert tuple(plain.gradients) == function.learnable
    for p, gradient in plain.gradients.items():
        _, *found = function.backward(one, x, *params)
        np.testing.assert_allclose(gradient(x, *params).sum(), found[function.learnable.index(p)], rtol=1e-9, atol=1e-9)
    single = x.astype(np.float32)
    assert plain.value(single, *params).dtype == plain.derivative(single, *params).dtype == np.float32


def test_formulas_of_softmax() -> None:
    grad, x = np.random.default_rng(0).standard_normal((2, 5, 7))
    np.testing.assert_allclose(formulas.softmax(x), fastact.softmax(x), rtol=1e-12)
    np.testing.assert_allclose(formulas.softmax_backward(grad, x), fastact.softmax.backward(grad, x), rtol=1e-9)


def test_info() -> None:
    output = run("info", FASTACT_CACHE_DIR="/nowhere/at/all").output
    for name, backend in fastact.backends().items():
        assert re.search(rf"^ +{name} +{re.escape(backend.version or 'missing')}", output, re.MULTILINE)
    assert re.search(rf"numpy +{re.escape(np.__version__)}", output)
    assert re.search(r"FASTACT_CACHE_DIR +/nowhere/at/all", output)
    assert re.search(rf"threads +{fastact.get_num_threads()}, of \d+ cores", output)


@pytest.mark.parametrize("direction", ["value", "derivative", "backward"])
def test_bench(direction: str, tmp_path: Path) -> None:
    picture, data = tmp_path / "speed.png", tmp_path / "speed.json"
    arguments = ("prelu", "softmax", "--size", 256, "--seconds", 0, "--direction", direction)
    output = run("bench", *arguments, "--plot", picture, "--json", data).output
    height, width, _ = matplotlib.image.imread(picture).shape
    assert height > 200
    assert width > 400
    found = json.loads(data.read_text())
    functions = ["prelu", "softmax"] if direction != "derivative" else ["prelu"]
    assert list(dict.fromkeys(row["name"] for row in found["rows"])) == functions
    assert {"fastact", "fastact cython", "NumPy/SciPy"} <= {row["contestant"] for row in found["rows"]}
    assert all(0 < row["ns"] <= row["median_ns"] for row in found["rows"])
    assert ("left out: no derivative (softmax)" in output) == (direction == "derivative")
    assert "something else" not in output


def test_bench_of_one_backend() -> None:
    lines = run("bench", "relu", "--size", 100, "--seconds", 0, "--backend", "numpy", "--dtype", "bfloat16").output.splitlines()
    assert next(line.split()[1:3] for line in lines if line.startswith("relu")) == ["fastact", "numpy"]


def test_bench_knows_before_the_work_that_it_cannot_save() -> None:
    assert "there is no folder" in run("bench", "--plot", "/no/such/folder/speed.png", code=2).output
    assert "should end in .png" in run("bench", "--plot", "speed.xyz", code=2).output


def test_cache(tmp_path: Path) -> None:
    (tmp_path / "numba" / "__pycache__").mkdir(parents=True)
    (tmp_path / "numba" / "__pycache__" / "kernel.nbi").write_bytes(bytes(1024))
    other = tmp_path / "of_someone_else"
    other.touch()
    here = {"FASTACT_CACHE_DIR": str(tmp_path)}
    assert re.search(r"numba +1 +1.0 KiB", run("cache", "info", **here).output)
    assert f"1.0 KiB freed in {tmp_path}" in run("cache", "clear", **here).output
    assert list(tmp_path.iterdir()) == [other]
    assert "empty" in run("cache", "info", **here).output


def test_check_is_the_regression_check() -> None:
    assert "--tolerance" in run("check", "--help").output
    assert "no row matches" in run("check", "--select", "no such row", code=2).output


def test_help_lists_the_commands() -> None:
    output = run("--help").output
    assert all(f"  {name} " in output for name in ("bench", "cache", "check", "demo", "info"))
    assert fastact.__version__ in run("--version").output


@pytest.mark.parametrize("library", ["click", "tqdm"])
def test_without_the_libraries(library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; from fastact.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"the fastact command needs {library}: pip install 'fastact[cli]'"]


def test_the_entry_point() -> None:
    program = "import sys; sys.argv = ['fastact', 'cache', 'info']; from fastact.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"})
    assert "FASTACT_CACHE_DIR" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
