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
            if f"fastact_{name}" in symbol:
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


def test_contributing_recipe_adds_an_activation(tmp_path: Path) -> None:
    """CONTRIBUTING.md's example, put where it says, lowers to C++ and runs under Numba's spelling too."""
    from fastact.kernels import lower

    text = (ROOT / "CONTRIBUTING.md").read_text()
    definition = re.search(r"```python\n# kernels/definitions/(\w+)\.py\n(.*?)```", text, re.S)
    assert definition
    file = Path(lower.DEFINITIONS) / f"{definition.group(1)}.py"
    program = lower.parse()
    lower.parse_text(file.read_text() + "\n\n" + definition.group(2), file, program)
    added = [name for name in program.activations if name not in fastact.ACTIVATIONS]
    assert len(added) == 1
    source = lower.to_cxx(program) + lower.to_cxx_operations(program, list(program.operations))
    assert f"{added[0]}_backward_op" in source
    assert lower.to_numba(program, [f"{added[0]}_derivative"], "float32")


def test_the_stub_lists_the_public_names() -> None:
    import runpy

    tool = runpy.run_path(str(ROOT / "tools" / "stubs.py"))
    assert tool["STUB"].read_text() == tool["text"](), "run python tools/stubs.py"
