"""The build of the compiled loops: one set of objects for each instruction set, and the Cython module that chooses among them.

Imports nothing of the package. ``kernels/lower.py`` is loaded by its path and writes the C++ of the definitions.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, CompileError, ExecError, LinkError, PlatformError

ROOT = Path(__file__).parent
CPU = ROOT / "kernels" / "cpu"

# Strict IEEE arithmetic, as written: nothing contracts or reorders. Without traps and errno every loop can be a vector loop.
STRICT = ["-std=c++17", "-g0", "-fwrapv", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
# Distributions' Pythons bring flags of their own; this of Debian's would cost loops over short rows up to 6 % of their instructions.
STRICT += ["-fno-stack-protector"]
# Name of an instruction set -> its flags and macros. Only the loops are compiled with these: an inline function compiled for
# AVX-512 and merged by the linker would crash on older processors.
X86 = {
    "baseline": ([], {"FASTACT_VECTOR_BYTES": 0, "FASTACT_F16C": 0}),
    "v3": (["-mavx2", "-mfma", "-mf16c"], {"FASTACT_VECTOR_BYTES": 32, "FASTACT_F16C": 1}),
    "v4": (
        ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mprefer-vector-width=512"],
        {"FASTACT_VECTOR_BYTES": 64, "FASTACT_F16C": 1},
    ),
}
# Elsewhere the compiler's own vectors, 16 bytes wide, if fused multiply-add is part of the architecture.
OTHER = {"baseline": ([], {"FASTACT_VECTOR_BYTES": 16 if platform.machine() in ("aarch64", "arm64") else 0, "FASTACT_F16C": 0})}

# Objects for each instruction set, to be compiled side by side.
PARTS = 6
# And these: a macro, if any, chooses among what `isa.cpp` can be.
UNITS = {"rows": "FASTACT_ROWS", "pipeline": "FASTACT_PIPELINE", "all": ""}
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

NO_COMPILER = """
fastact could not be built: its loops are C++ and need a compiler (gcc 11 or newer, or clang 14 or newer).
  Debian, Ubuntu:  apt install g++        Fedora:  dnf install gcc-c++        macOS:  xcode-select --install
What the build said: {error}
"""


def load_lower():
    spec = importlib.util.spec_from_file_location("fastact_lower", ROOT / "kernels" / "lower.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def unit_text(part: int | str) -> str:
    """The source of one object."""
    if isinstance(part, int):
        chosen = f'#define FASTACT_PART {part}\n#define FASTACT_OPERATIONS "operations_{part}.hpp"\n'
    else:
        chosen = f"#define {UNITS[part]}\n" if UNITS[part] else ""
    return f'{chosen}#include "isa.cpp"\n'


class BuildExt(build_ext):
    """Writes the lowered definitions, compiles them once for each instruction set, and links all into the one module."""

    def build_extensions(self):
        try:
            self.build_loops()
            super().build_extensions()
        except (CCompilerError, CompileError, ExecError, LinkError, PlatformError) as error:
            raise SystemExit(NO_COMPILER.format(error=error)) from None

    def build_loops(self):
        generated = Path(self.build_temp) / "generated"
        generated.mkdir(parents=True, exist_ok=True)
        lower = load_lower()
        program = lower.parse()
        definitions = lower.to_cxx(program)
        (generated / "definitions.hpp").write_text(definitions)
        parts = [lower.to_cxx_operations(program, names) for names in lower.parts(program, PARTS)]
        for i, text in enumerate(parts):
            (generated / f"operations_{i}.hpp").write_text(text)
        (generated / "parts.hpp").write_text(f"#define FASTACT_PARTS(each) {' '.join(f'each({i})' for i in range(PARTS))}\n")
        sets = X86 if platform.machine().lower() in ("x86_64", "amd64") else OTHER
        if chosen := os.environ.get("FASTACT_BUILD_ISA"):  # beside the baseline, to build sooner while trying things
            sets = {name: found for name, found in sets.items() if name in ("baseline", *chosen.split(","))}
        extension = self.extensions[0]

        def compile_part(item):
            (name, (flags, macros)), part = item
            # A source of its own for each object: objects are named by their sources.
            source = generated / f"loops_{name}_{part}.cpp"
            source.write_text(unit_text(part))
            return self.compiler.compile(
                [str(source)],
                output_dir=str(generated),
                macros=[("FASTACT_ISA", name), *((k, str(v)) for k, v in macros.items())],
                include_dirs=[str(CPU), str(generated)],
                # Elementwise loops and row programs are vector code already; only the rest has loops for the compiler to vectorise.
                extra_postargs=[*STRICT, "-O3" if part in ("pipeline", "all") else "-O2", "-fvisibility=hidden", *flags],
            )

        with ThreadPoolExecutor(WORKERS) as pool:  # the widest vectors take longest: first
            for objects in pool.map(compile_part, [(s, part) for s in reversed(sets.items()) for part in (*range(PARTS), *UNITS)]):
                extension.extra_objects += objects
        extension.define_macros += [(f"FASTACT_HAVE_{name}", "1") for name in sets]
        # What the loops were lowered from, so that a test can tell a stale build.
        extension.define_macros += [("FASTACT_DIGEST", f'"{lower.program_digest(program)}"')]


setup(
    ext_modules=[
        Extension(
            "fastact.kernels.cpu.compiled",
            ["kernels/cpu/compiled.pyx", "kernels/cpu/threads.cpp"],
            language="c++",
            include_dirs=["kernels/cpu", numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")],
            extra_compile_args=["-std=c++17", "-O2", "-pthread"],
            # The CUDA driver is opened at run time; with older C libraries that is a library of its own.
            extra_link_args=["-pthread", *["-ldl"] * sys.platform.startswith("linux")],
            depends=[
                str(p.relative_to(ROOT))
                for p in (
                    *CPU.glob("*.hpp"),
                    *CPU.glob("*.cpp"),
                    *CPU.glob("*.pxi"),
                    *ROOT.glob("kernels/rows/*.hpp"),
                    *ROOT.glob("kernels/definitions/*.py"),
                    ROOT / "kernels/lower.py",
                )
            ],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
