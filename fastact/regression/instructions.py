"""Instructions an element of every compiled kernel, counted by callgrind: repeatable where times are not.

A small C++ driver (``driver.cpp``) runs each kernel of the AVX2 build, the widest that Valgrind knows, over two sizes; the difference
of the counts is free of what a call costs. Counts depend on the compiler, which is therefore stored with them.
"""

from __future__ import annotations

import functools
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..kernels.cpu import compiled
from .baseline import BaselineError

#: What a kernel may gain before it is called slower.
TOLERANCE = 0.03
#: The build that is counted; its name in the compiled module, and in `compiled.INSTRUCTION_SETS`.
BUILD, INSTRUCTION_SET = "v3", "x86-64-v3"
#: The compiled module.
MODULE = Path(compiled.__file__)
#: Kernel -> storage -> instructions an element. Storage: a dtype, or "precise", which is float32 computed in float64.
Counts = dict[str, dict[str, float]]

# A bare interpreter, as what the compiled module needs to be loaded; it imports neither NumPy nor fastact.
HOST = """
import ctypes, sys
module, driver, isa, names = sys.argv[1:]
table = ctypes.c_char.in_dll(ctypes.CDLL(module), "fastact_isa_" + isa)
ctypes.CDLL(driver).fastact_count(ctypes.byref(table), names.encode())
"""


def missing() -> str | None:
    """Why instructions cannot be counted here; None if they can."""
    if INSTRUCTION_SET not in compiled.INSTRUCTION_SETS:
        return f"this build has no {INSTRUCTION_SET} loops"
    if not shutil.which("valgrind"):
        return "valgrind is not installed (Debian, Ubuntu: apt install valgrind)"
    if not shutil.which("g++"):
        return "there is no g++ to compile the driver with"
    source = "#include <valgrind/callgrind.h>"
    if subprocess.run(["g++", "-E", "-x", "c++", "-"], input=source, capture_output=True, text=True, check=False).returncode:
        return "valgrind/callgrind.h, Valgrind's header, is not installed"
    return None


@functools.cache
def compiler() -> str:
    """The compiler that the module's objects say they are from."""
    found = re.findall(rb"GCC: \([ -~]+|clang version [ -~]+", MODULE.read_bytes())
    return ", ".join(sorted({text.decode() for text in found})) or "unknown"


def count(names: Sequence[str] = (), build: str = BUILD) -> Counts:
    """Instructions an element.

    Parameters
    ----------
    names : sequence of str
        Kernels, such as ``gelu_backward`` or ``softmax_value_rows_of_256``; all of them by default.
    build : str
        The instruction set: v3 or baseline.

    Returns
    -------
    dict
        For each kernel its count by storage.
    """
    if reason := missing():
        raise RuntimeError(f"instructions cannot be counted: {reason}")
    with tempfile.TemporaryDirectory(prefix="fastact-") as folder:
        driver, out = f"{folder}/driver.so", Path(folder, "counts")
        source = Path(__file__).with_name("driver.cpp")
        _run("g++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{MODULE.parent}", str(source), "-o", driver)
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--combine-dumps=yes", f"--callgrind-out-file={out}"]
        _run(*valgrind, sys.executable, "-I", "-S", "-c", HOST, str(MODULE), driver, build, " ".join(names))
        return dict(_counts(out.read_text(encoding="utf-8")))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def _counts(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    """What callgrind wrote: a part for each run, with the driver's label and the sum."""
    totals: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for label, total in re.findall(r"^desc: Trigger: Client Request: (.+)$[^$]*?^summary: (\d+)$", text, re.MULTILINE):
        name, storage, size = label.split()
        totals.setdefault(name, {}).setdefault(storage, []).append((int(size), int(total)))
    for name, storages in sorted(totals.items()):
        yield name, {s: round((b - a) / (many - few), 3) for s, [(few, a), (many, b)] in sorted(storages.items())}


# ---------------------------------------------------------------- the stored table


@dataclass(frozen=True)
class Table:
    """What is stored: counts, and whose they are."""

    compiler: str
    counts: Counts

    def comparable(self) -> str | None:
        """Why counts of this module cannot be compared with these; None if they can."""
        if self.compiler != compiler():
            return f"the stored counts are of {self.compiler}, this module is of {compiler()}"
        return None


def load(path: Path) -> Table:
    """Read the table.

    Raises
    ------
    BaselineError
        If it cannot be read, or is not such a table.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaselineError(f"the table {path} cannot be read: {error}") from error
    match found:
        case {"compiler": str(name), "counts": dict(counts)} if all(map(_is_row, counts.values())):
            return Table(name, counts)
    raise BaselineError(f"the table {path} is damaged: it should have a compiler, and counts above 0 by kernel and storage")


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(n, float | int) and 0 < n < math.inf for n in row.values())


def save(path: Path, counts: Counts) -> None:
    """Write the table, a line a kernel, so that differences read well."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(counts.items()))
    head = f'"compiler": {json.dumps(compiler())},\n"instruction set": {json.dumps(INSTRUCTION_SET)},'
    path.write_text(f'{{{head}\n"counts": {{\n{lines}\n}}}}\n', encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """A kernel whose count is not what it was."""

    kernel: str
    storage: str
    before: float | None
    now: float | None
    tolerance: float

    @property
    def verdict(self) -> str:
        """ "slower", "faster", "ok", "new", or "gone"."""
        if self.before is None or self.now is None:
            return "new" if self.before is None else "gone"
        if self.now > self.before * (1 + self.tolerance):
            return "slower"
        return "faster" if self.now < self.before * (1 - self.tolerance) else "ok"

    def __str__(self) -> str:
        before, now = ("-" if n is None else f"{n:.3f}" for n in (self.before, self.now))
        change = f" ({self.now / self.before - 1:+.1%})" if self.before and self.now else ""
        return f"{self.verdict}: {self.kernel} {self.storage}, {before} -> {now} instructions an element{change}"


def compare(before: Counts, now: Counts, tolerance: float = TOLERANCE) -> list[Change]:
    """Every kernel and storage of either."""
    empty: Mapping[str, float] = {}
    found = []
    for kernel in sorted({*before, *now}):
        old, new = before.get(kernel, empty), now.get(kernel, empty)
        found += [Change(kernel, s, old.get(s), new.get(s), tolerance) for s in sorted({*old, *new})]
    return found
