"""What the package is made of: compiled for every processor, no stray flags, messages in the source tree, documents that are true."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastact
from fastact.kernels.cpu import compiled

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
@pytest.mark.skipif("x86-64-v3" not in compiled.INSTRUCTION_SETS, reason="one instruction set only")
def test_no_wide_instruction_outside_its_namespace() -> None:
    """Whatever is not in a namespace of its instruction set must run on every x86-64 processor."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", compiled.__file__], capture_output=True, text=True, check=True).stdout
    symbol, wide, seen = "", set(), {"baseline": 0, "v3": 0, "v4": 0}
    for line in listing.splitlines():
        if line.endswith(">:"):
            symbol = line.split("<", 1)[1][:-2]
            continue
        parts = line.split("\t")
        if len(parts) < 2:
            continue
        instruction = parts[-1]
        is_wide = re.match(r"v(?!err|mcall)", instruction) is not None or re.search("%[yz]mm", instruction) is not None
        for name in seen:
            if re.search(rf"fastact_(?:[a-z]+_)?{name}", symbol):
                seen[name] += is_wide
                break
        else:
            if is_wide:
                wide.add(symbol)
    assert not wide
    assert seen["baseline"] == 0
    assert seen["v3"] > 1000
    assert seen["v4"] > 1000
    assert "%zmm" in listing


def test_source_tree_says_what_it_is(tmp_path: Path) -> None:
    tree = tmp_path / "clone"
    shutil.copytree(ROOT / "fastact", tree / "fastact", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "setup.py").touch()
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import fastact"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
    )
    assert done.returncode == 1
    assert "this is fastact's source tree" in done.stderr
    assert "pip install -e ." in done.stderr


def test_docstring_examples() -> None:
    failures, count = doctest.testmod(fastact)
    assert failures == 0
    assert count > 3 * len(fastact.ACTIVATIONS)
    for module in ("activation", "catalogue", "dispatch", "names"):
        failures, count = doctest.testmod(importlib.import_module(f"fastact.{module}"))
        assert failures == 0
        assert count


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_documents_run(page: str) -> None:
    failures, count = doctest.testfile(str(ROOT / page), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failures == 0
    assert count or page != "README.md"


def test_every_folder_is_in_the_wheel() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in ROOT.glob("fastact/**/__init__.py")}
    folders |= {"fastact." + p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in ROOT.glob("kernels/**/__init__.py")}
    assert listed == folders


def test_versions_agree() -> None:
    assert re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M).group(1) == fastact.__version__
    assert fastact.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_without_a_compiler_one_clear_message(tmp_path: Path) -> None:
    tree = tmp_path / "clone"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "__pycache__", "*.so", ".*_cache"))
    environment = {"PATH": str(tmp_path), "CC": "no-such-compiler", "CXX": "no-such-compiler", "HOME": str(tmp_path)}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode != 0
    assert "fastact could not be built: its loops are C++ and need a compiler" in done.stderr
    assert "Traceback" not in done.stderr


PROVE = """
import runpy, sys
import numpy as np
import fastact
from fastact.verify import measure

name, root = sys.argv[1:]
f, x = getattr(fastact, name), np.linspace(-9, 9, 10_001)
wanted = np.tanh(x / 2), 0.5 / np.cosh(x / 2) ** 2, -0.5 * np.tanh(x / 2) / np.cosh(x / 2) ** 2
for backend in [b for b, info in fastact.backends().items() if info.available and b != "cupy"]:
    for dtype, close in (np.float64, 1e-14), (np.float32, 1e-6), (np.float16, 1e-3):
        v, options = x.astype(dtype), {"backend": backend}
        exact = [np.tanh(v.astype(float) / 2), 0.5 / np.cosh(v.astype(float) / 2) ** 2]
        exact.append(-exact[0] * exact[1])
        found = [f(v, **options), f.derivative(v, **options), f.derivative(v, order=2, **options)]
        found += f.value_and_derivative(v, **options)
        for got, right in zip(found, [*exact, *exact[:2]], strict=True):
            np.testing.assert_allclose(got.astype(float), right, atol=close)
        np.testing.assert_allclose(f.backward(2 * v, v, **options).astype(float), 2 * v.astype(float) * exact[1], atol=20 * close)
assert fastact.get("bipolar-sigmoid") is f
assert [facts.formula for facts in fastact.catalogue() if facts.name == name] == ["2 / (1 + exp(-x)) - 1"]
for case in measure.cases([name], ["float32", "float64", "bfloat16"], list(measure.DIRECTIONS)):
    (task,) = measure.tasks(case, ("fast",), 4099, None)
    assert measure.holds(case, "fast", measure.run(task)["fast"]), case
pages = runpy.run_path(root + "/tools/pages.py")["pages"]()
assert "Bipolar sigmoid" in pages[name + ".md"] and name in pages["index.md"]
print("proved")
"""


def test_adding_an_activation_touches_two_files(tmp_path: Path) -> None:
    """CONTRIBUTING.md's example, put where it says and nowhere else: built, it is there on every backend and in every list."""
    pytest.importorskip("Cython")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    tree, built = tmp_path / "clone", tmp_path / "built"
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "docs", "tests", "__pycache__", "*.so", ".*_cache", "compiled.cpp")
    )
    for folder in ("kernels/definitions", "fastact/reference"):  # one family is built in seconds
        family = {Path(file).stem for file, _ in blocks}
        keep = family | {"__init__", "language", "primitives", "oracle", "jets", "numerics", "rowwise"}
        keep |= {"losses", "product"} if folder == "fastact/reference" else set()
        for file in (tree / folder).glob("*.py"):
            if file.stem not in keep:
                file.unlink()
    for file, added in blocks:
        with (tree / file).open("a") as stream:
            stream.write("\n\n" + added)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(built), "--build-temp", str(tmp_path / "temp")]
    fewer = {**os.environ, "FASTACT_BUILD_ISA": "baseline"}  # in a third of the time
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, env=fewer)
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.copytree(tree / "fastact", built / "fastact", dirs_exist_ok=True)
    shutil.copytree(tree / "kernels", built / "fastact" / "kernels", dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(built), "FASTACT_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PROVE, re.search(r"^def (\w+)", blocks[0][1], re.M).group(1), str(ROOT)]  # type: ignore[union-attr]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.endswith("proved\n"), done.stderr[-3000:]


def test_the_pages_are_those_of_the_definitions() -> None:
    import runpy

    tool = runpy.run_path(str(ROOT / "tools" / "pages.py"))
    written = {file.name: file.read_text() for file in tool["FOLDER"].glob("*.md")}
    assert written == tool["pages"](), "run python tools/pages.py"
    assert {file.stem for file in tool["FOLDER"].glob("*.svg")} == {Path(name).stem for name in written} - {"index", "gated"}


def test_the_stub_lists_the_public_names() -> None:
    import runpy

    tool = runpy.run_path(str(ROOT / "tools" / "stubs.py"))
    assert tool["STUB"].read_text() == tool["text"](), "run python tools/stubs.py"
