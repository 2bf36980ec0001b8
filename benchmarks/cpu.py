"""fastact on the CPU beside PyTorch, JAX, NumPy/SciPy, onnxruntime and numexpr, and beside what the machine allows, in one run.

    pip install '.[bench]'
    python benchmarks/cpu.py                     # all of it, some five minutes
    python benchmarks/cpu.py --quick
    python benchmarks/cpu.py --only cache,calls
    python benchmarks/cpu.py --write docs/performance.md

Libraries that are not installed are left out. Each section runs in a process of its own, pinned to one core or to all that there are,
since libraries count cores and threads when they are imported. Within a section all take turns, and the least time of each counts,
which leaves out what other processes take. Every row that has a bar says whether it is met.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).parent))

from tables import Table, geometric_mean, page, versions

#: Elements in cache, of a call's cost, and out of cache.
IN_CACHE, SMALL, LARGE = 1 << 18, 16, 1 << 24
#: Seconds for other libraries' threads to fall asleep.
PAUSE = 0.01
Call = Callable[[], object]


def cores() -> list[int]:
    """Those this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


# ---------------------------------------------------------------- timing


def timed(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """The least seconds of each, taken in turns.

    On several cores there is a pause before each: threads that one library leaves spinning, as GNU OpenMP does for milliseconds, take
    the cores from whoever comes next, and its calls then wait for each other's time slices.
    """
    from fastact.regression.yardstick import SAMPLE_SECONDS, best, repeat, sample

    runs = {who: repeat(call) for who, call in calls.items()}
    if len(cores()) == 1:
        return dict(zip(runs, best(list(runs.values()), rounds), strict=True))
    numbers, found = {}, {}
    for who, run in runs.items():
        time.sleep(PAUSE)
        numbers[who], found[who] = 1, sample(run, 1)
        while found[who] * numbers[who] < SAMPLE_SECONDS:
            numbers[who] *= 2
            found[who] = sample(run, numbers[who]) / numbers[who]
    for _ in range(rounds):
        for who, run in runs.items():
            time.sleep(PAUSE)
            found[who] = min(found[who], sample(run, numbers[who]) / numbers[who])
    return found


def times_line(name: str, size: int, times: Mapping[str, float], everyone: Sequence[str], others: Sequence[str]) -> list[str]:
    """Nanoseconds an element, and how many times as long the others take as the first."""
    ours = times[everyone[0]]
    cells = [f"{times[who] / size * 1e9:.3f}" if who in times else "-" for who in everyone]
    return [f"`{name}`", *cells, *(f"{times[who] / ours:.2f}" if who in times else "-" for who in others)]


def everybodys(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """All contestants, in the order in which they first appear."""
    return list(dict.fromkeys(who for times in found.values() for who in times))


# ---------------------------------------------------------------- sections


def cache(rounds: int) -> Iterator[Table]:
    """Point 1: float32, in cache, into an existing result."""
    from contestants import FUNCTIONS, Task, by_fastact, everyone

    found: dict[str, dict[str, float]] = {}
    for name in FUNCTIONS:
        task = Task.of(name, IN_CACHE, "float32")
        calls = {"fast": by_fastact(task), "precise": by_fastact(task, "precise"), **dict(everyone(task))}
        found[name] = timed(calls, rounds)
    names = everybodys(found)
    rows = [times_line(name, IN_CACHE, times, names, [n for n in names if n not in ("fast", "precise")]) for name, times in found.items()]
    bars = []
    wanted = {("fast", "PyTorch"): 3.0, ("fast", "JAX"): 2.0, ("precise", "PyTorch"): 1.5, ("precise", "JAX"): 1.0}
    for accuracy in ("fast", "precise"):
        means = [accuracy, *(f"{geometric_mean([t[who] / t[accuracy] for t in found.values() if who in t]):.2f}" for who in names[2:])]
        rows.append([f"geometric mean, {means[0]}", *("" for _ in names), *means[1:]])
        for peer in ("PyTorch", "JAX"):
            ratios = [t[peer] / t[accuracy] for t in found.values() if peer in t]
            if ratios and len(cores()) == 1:
                bars.append((f"{accuracy}, times as fast as {peer}, geometric mean", geometric_mean(ratios), ">=", wanted[accuracy, peer]))
    if len(cores()) == 1:
        for name, times in found.items():
            if peers := [times[p] for p in ("PyTorch", "JAX") if p in times]:
                bars.append((f"`{name}`, fast, times as fast as the better of PyTorch and JAX", min(peers) / times["fast"], ">=", 1.0))
    text = (
        f"Nanoseconds an element, {IN_CACHE} elements of float32 into an existing array (JAX: into the memory of its last result);"
        " at the right how many times as fast as each `fast`, the default, is. PyTorch: its `out` variants, without autograd."
        " NumPy/SciPy: the formula, which makes arrays on the way but for relu and tanh. No library's input and output agree modulo"
        " 4096, which would slow it."
    )
    yield Table(f"Values in cache, {where()}", text, ["value", *(f"{n} ns" for n in names), *(f"x {n}" for n in names[2:])], rows, bars)


def dtypes(rounds: int) -> Iterator[Table]:
    """Point 2: backward, halves, float64."""
    from contestants import FUNCTIONS, Task, by_fastact, everyone

    wanted = [("backward", "float32"), ("value", "bfloat16"), ("value", "float16"), ("value", "float64")]
    ratios: dict[str, dict[str, str]] = {}
    bars = []
    for direction, kind in wanted:
        found = {}
        for name in FUNCTIONS:
            task = Task.of(name, IN_CACHE, kind, backward=direction == "backward")
            found[name] = timed({"fastact": by_fastact(task), **dict(everyone(task, ("PyTorch",)))}, rounds)
        for name, times in found.items():
            cells = {f"{direction} {kind}, ns": f"{times['fastact'] / IN_CACHE * 1e9:.3f}"}
            cells["x PyTorch " + kind + " " * (direction == "value")] = (
                f"{times['PyTorch'] / times['fastact']:.2f}" if "PyTorch" in times else "-"
            )
            ratios.setdefault(name, {}).update(cells)
        if known := [t["PyTorch"] / t["fastact"] for t in found.values() if "PyTorch" in t]:
            bars.append((f"{direction} {kind}, times as fast as PyTorch, geometric mean", geometric_mean(known), ">=", 3.0))
    text = (
        f"{IN_CACHE} elements into an existing array. Backward: PyTorch's own operations (`aten::*_backward`), without autograd; of sigmoid"
        " and tanh both take the output, which PyTorch keeps, of the others the input. mish and hard_silu have no `grad_input` variant"
        " there; their results reuse memory just freed."
    )
    head = ["", *(c.strip() for c in ratios[FUNCTIONS[0]])]
    yield Table(f"Backward and other types, {where()}", text, head, [[f"`{n}`", *row.values()] for n, row in ratios.items()], bars)


def large(rounds: int) -> Iterator[Table]:
    """Point 3: arrays beyond the caches."""
    import numpy as np
    from contestants import OUT, Task, by_fastact, everyone, placed

    bars: list[tuple[str, float, str, float]] = []
    found = {}
    for name in ("relu", "gelu"):
        task = Task.of(name, LARGE, "float32", fresh=True)
        calls = {
            "fastact": by_fastact(task),
            **dict(everyone(task, ("PyTorch", "JAX", "NumPy/SciPy") if name == "relu" else ("PyTorch", "JAX"))),
        }
        found[name] = timed(calls, max(5, rounds // 4))
        for peer, bar in (("PyTorch", {"relu": 4.0, "gelu": 3.0}[name]), ("JAX", 2.5)):
            if peer in calls and len(cores()) == everything():
                bars.append((f"`{name}`, a fresh result, times as fast as {peer}", found[name][peer] / found[name]["fastact"], ">=", bar))
    names = everybodys(found)
    rows = [times_line(name, LARGE, times, names, names[1:]) for name, times in found.items()]
    text = f"Nanoseconds an element, {LARGE} elements of float32, with a new result each call, which is dropped before the next."
    yield Table(
        f"Large arrays, fresh results, {where()}", text, ["value", *(f"{n} ns" for n in names), *(f"x {n}" for n in names[1:])], rows, bars
    )

    tool, threads = native(), len(cores())
    x, out = placed(np.random.default_rng(0).standard_normal(LARGE, np.float32), 0), placed(np.zeros(LARGE, np.float32), OUT)
    copies: dict[str, Call] = {
        f"copy, {how}, {n} thread{'s' * (n > 1)}": functools.partial(
            tool.native_copy, pointer(out), pointer(x), ctypes.c_size_t(x.nbytes), n, past
        )
        for n in sorted({1, threads})
        for past, how in ((1, "past the caches"), (0, "plain stores"))
    }
    times = timed(copies | {name: by_fastact(Task(name, x, None, out)) for name in ("relu", "gelu")}, max(5, rounds // 4))
    best = min(times[c] for c in copies)
    if threads == everything():
        bars = [
            (f"`{name}` into an existing array, share of the best copy's speed", best / times[name], ">=", 0.9) for name in ("relu", "gelu")
        ]
    text = (
        "Into an existing array, beside copies of the same array by loops of our own (benchmarks/native.cpp): the widest vectors, with"
        " stores into the caches and past them."
    )
    rows = [[who, f"{t / LARGE * 1e9:.3f}", f"{2 * x.nbytes / t / 1e9:.1f}", f"{best / t:.2f}"] for who, t in times.items()]
    yield Table(f"Large arrays, existing results, {where()}", text, ["", "ns an element", "GB/s", "of the best copy"], rows, bars)


def calls(rounds: int) -> Iterator[Table]:
    """Point 4: what a call costs."""
    import numpy as np
    from contestants import PACKAGES, Task, by_torch, installed

    import fastact

    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal(SMALL, np.float32) for _ in range(2))
    out = np.empty_like(x)
    table: dict[str, dict[str, Call]] = {}
    for name in ("relu", "tanh", "gelu"):
        f = getattr(fastact, name)
        table[name] = {
            "f(x)": functools.partial(f, x),
            "f(x, out=y)": lambda f=f: f(x, out=out),
            'f(x, accuracy="precise")': lambda f=f: f(x, accuracy="precise"),
            'f(x, out=y, accuracy="fast")': lambda f=f: f(x, out=out, accuracy="fast"),
            "f.backward(grad, x)": functools.partial(f.backward, grad, x),
            "f.backward(grad, x, out=y)": lambda f=f: f.backward(grad, x, out=out),
        }
    table["leaky_relu"] = {
        "f(x)": functools.partial(fastact.leaky_relu, x),
        "f(x, 0.1)": functools.partial(fastact.leaky_relu, x, 0.1),
        "f(x, alpha=0.1)": lambda: fastact.leaky_relu(x, alpha=0.1),
    }
    rows, bars = [], []
    for name, forms in table.items():
        peers: dict[str, Call] = {"np.tanh": functools.partial(np.tanh, x)}
        if installed(PACKAGES["PyTorch"]) and name != "leaky_relu":
            peers["PyTorch"] = by_torch(Task(name, x))
            peers["PyTorch backward"] = by_torch(Task(name, x, grad, np.empty_like(x)))
        times = timed(forms | peers, rounds)
        plain = times["f(x)"]
        for form in forms:
            cells = [form.replace("f", f"fastact.{name}", 1), f"{times[form] * 1e9:.0f}", f"{times[form] / times['np.tanh']:.2f}"]
            torchs = times.get("PyTorch backward" if "backward" in form else "PyTorch")
            rows.append([f"`{cells[0]}`", *cells[1:], f"{times[form] / torchs:.2f}" if torchs else "-", f"{times[form] / plain:.2f}"])
            what = f"`{cells[0]}`"
            if form in ("f(x)", "f.backward(grad, x)"):
                bars.append((f"{what}, of np.tanh's cost", times[form] / times["np.tanh"], "<=", 0.6))
                if torchs:
                    bars.append((f"{what}, of PyTorch's cost", times[form] / torchs, "<=", 0.25))
            else:
                base = times["f.backward(grad, x)"] if "backward" in form else plain
                bars.append((f"{what}, of the plain form's cost", times[form] / base, "<=", 1.5))
        rows += [[f"{who}, beside {name}", f"{times[who] * 1e9:.0f}", "", "", ""] for who in peers]
    text = f"Nanoseconds a call on {SMALL} elements of float32, and the share of what `np.tanh(x)` and PyTorch's same operation cost."
    yield Table(f"Calls, {where()}", text, ["call", "ns", "of np.tanh", "of PyTorch", "of f(x)"], rows, bars)


def strided(rounds: int) -> Iterator[Table]:
    """Point 7: arrays that are not contiguous, beside as large ones that are."""
    import numpy as np
    from contestants import OUT, placed

    import fastact

    rng = np.random.default_rng(0)
    rows: list[list[str]] = []
    bars = []
    for title, shape in (("in cache", (256, 1024)), ("large", (4096, 4096))):
        big = placed(rng.standard_normal((2 * shape[0], 2 * shape[1]), np.float32), 0)
        whole = np.ascontiguousarray(big[: shape[0], : shape[1]])
        out = placed(np.zeros(shape, np.float32), OUT)
        grad = placed(rng.standard_normal(shape, np.float32), 1344)
        views = {
            "rows of a wider array": big[: shape[0], : shape[1]],
            "every second column": big[: shape[0], ::2],
            "reversed": whole[::-1, ::-1],
            "transposed into C order": np.ascontiguousarray(whole.T).T,
            "one row for all": np.broadcast_to(whole[:1], shape),
            "one number for each row": np.broadcast_to(np.ascontiguousarray(whole[:, :1]), shape),
        }
        alpha = np.full(shape[1], 0.25, np.float32)
        for name in ("relu", "gelu"):
            f = getattr(fastact, name)
            options = {"contiguous": functools.partial(f, whole, out=out)}
            options |= {what: functools.partial(f, view, out=out) for what, view in views.items()}
            options["backward"] = functools.partial(f.backward, grad, whole, out=out)
            options["backward, one gradient for each row"] = functools.partial(
                f.backward, np.broadcast_to(grad[:, :1], shape), whole, out=out
            )
            if name == "relu":
                options["prelu, one alpha"] = functools.partial(fastact.prelu, whole, 0.25, out=out)
                options["prelu, an alpha for each column"] = functools.partial(fastact.prelu, whole, alpha, out=out)
            copies = {f"copy, {what}": functools.partial(np.copyto, out, view) for what, view in {"contiguous": whole, **views}.items()}
            times = timed(options | copies, max(5, rounds // (1 if title == "in cache" else 6)))
            base = {"backward, one gradient for each row": "backward", "prelu, an alpha for each column": "prelu, one alpha"}
            for what in options:
                ratio, copy = times[what] / times[base.get(what, "contiguous")], times.get(f"copy, {what}")
                usual = what in ("contiguous", "backward", "prelu, one alpha")
                ns = [f"{t / whole.size * 1e9:.3f}" if t else "-" for t in (times[what], copy)]
                rows.append([title, f"`{name}`", what, ns[0], "" if usual else f"{ratio:.2f}", ns[1]])
                if not usual:
                    bars.append((f"`{name}`, {title}, {what}: of contiguous", ratio, "<=", 1.5))
    text = (
        "As many elements read in other ways than one after the other, into a contiguous result. Every second column and the transposed"
        " array move more memory, or in worse order: where the arrays are large that shows in any loop. Beside it what `np.copyto` takes."
    )
    yield Table(f"Strided and broadcast, {where()}", text, ["", "", "input", "ns an element", "of contiguous", "np.copyto, ns"], rows, bars)


def scaling(rounds: int) -> Iterator[Table]:
    """Point 5, one number of threads: seconds of large calls."""
    from contestants import FUNCTIONS, Task, by_fastact

    tasks = {name: by_fastact(Task.of(name, LARGE // 4, "float32")) for name in FUNCTIONS}
    times = timed(tasks, max(5, rounds // 2))
    yield Table(str(len(cores())), "", [], [[name, str(seconds)] for name, seconds in times.items()])


def roofline(rounds: int) -> Iterator[Table]:
    """Point 1: cycles a vector, and what the ports allow."""
    import numpy as np
    import roofline as model
    from contestants import FUNCTIONS, OUT, placed

    from fastact.kernels.cpu import compiled

    machine, tool, module = model.machine(), native(), Path(compiled.__file__)
    short = next((s for s, name in compiled.NAMES.items() if name == compiled.ISA), "baseline")
    isa = ctypes.byref(ctypes.c_char.in_dll(ctypes.CDLL(str(module)), f"fastact_isa_{short}"))
    lanes = compiled.VECTOR_BYTES // 4
    if machine is None or not lanes:
        yield Table("Roofline", "There is no model of this processor's ports, or no vectors.", [], [])
        return
    x, out = placed(np.random.default_rng(0).standard_normal(IN_CACHE, np.float32), 0), placed(np.zeros(IN_CACHE, np.float32), OUT)
    sizes = (2048, IN_CACHE)
    rows = []
    copies = []
    for size in sizes:
        copy = functools.partial(tool.native_copy, pointer(out), pointer(x), ctypes.c_size_t(4 * size), 1, 0)
        pairs = [(tool.native_cycle(1), timed({"copy": copy}, 2)["copy"]) for _ in range(5)]
        copies.append(min(s for _, s in pairs) / min(c for c, _ in pairs) / (size / lanes))
    rows.append(["a copy loop", "", *(f"{c:.1f}" for c in copies), "", "", "", "(a call from Python around it)"])
    for name in FUNCTIONS:
        for accuracy in ("fast", "precise"):
            wide = int(accuracy == "precise")
            loop = model.hottest(module, tool.native_place(isa, f"{name}_value".encode(), wide))
            if loop is None:
                continue
            found = []
            for size in sizes:
                repeats = max(1, (1 << 17) // size)
                pairs = [(tool.native_cycle(1), kernel(tool, isa, name, wide, x, out, size, repeats)) for _ in range(max(4, rounds // 4))]
                found.append(min(s for _, s in pairs) / min(c for c, _ in pairs) / (size / lanes))
            # Of float64 two loads of work a vector of float32; conversions are left out.
            limits = {what: (1 + wide) * cycles / loop.vectors for what, cycles in machine.limits(loop).items()}
            what = max(limits, key=lambda key: limits[key])
            times = f"2 x ({loop.summary()})" if wide else loop.summary()
            rows.append(
                [f"`{name}`", accuracy, *(f"{c:.1f}" for c in found), f"{limits[what]:.1f}", what, f"{limits[what] / found[0]:.2f}", times]
            )
    text = (
        f"Cycles a vector of {lanes} float32, measured (time times frequency, which a chain of dependent additions tells in the same"
        f" process) without the call around the loop, in the first-level cache ({sizes[0]} elements) and as above ({sizes[1]}); and the"
        " least that the busiest resource needs for the instructions of the compiled loop, as disassembled: execution ports, divider,"
        " loads, stores, or dispatch. `precise` computes in float64: two vectors for one, and conversions through a block, which are"
        f" not in the limit. Model: {machine.name} ({machine.source})."
    )
    head = ["value", "accuracy", "cycles, L1", f"cycles, {IN_CACHE >> 10}Ki", "limit", "of", "reached", "instructions a vector"]
    yield Table(f"Cycles against the port limit, {where()}", text, head, rows)


SECTIONS: dict[str, tuple[Callable[[int], Iterator[Table]], str]] = {
    "cache": (cache, "one, all"), "dtypes": (dtypes, "one"), "roofline": (roofline, "one"), "large": (large, "all, one"),
    "calls": (calls, "one"), "scaling": (scaling, "each"), "strided": (strided, "one"),
}  # fmt: skip


# ---------------------------------------------------------------- what is compiled here


@functools.cache
def native() -> Any:
    """benchmarks/native.cpp, compiled for this machine."""
    from fastact.kernels.cpu import compiled

    library = Path(tempfile.mkdtemp(prefix="fastact-")) / "native.so"
    source, include = Path(__file__).with_name("native.cpp"), Path(compiled.__file__).parent
    options = ["-std=c++17", "-O2", "-march=native", "-shared", "-fPIC", "-pthread", f"-I{include}"]
    subprocess.run([os.environ.get("CXX", "g++"), *options, str(source), "-o", str(library), "-ldl"], check=True)
    tool = ctypes.CDLL(str(library))
    tool.native_cycle.restype = tool.native_kernel.restype = ctypes.c_double
    tool.native_place.restype = ctypes.c_size_t
    library.unlink()
    library.parent.rmdir()
    return tool


def pointer(array: Any) -> ctypes.c_void_p:
    """Where it begins."""
    return ctypes.c_void_p(array.ctypes.data)


def kernel(tool: Any, isa: Any, name: str, wide: int, x: Any, out: Any, size: int, repeats: int) -> float:
    """Seconds of one run of a kernel."""
    return float(tool.native_kernel(isa, f"{name}_value".encode(), wide, pointer(x), pointer(out), ctypes.c_size_t(size), repeats, 3))


# ---------------------------------------------------------------- processes


def everything() -> int:
    """How many cores the whole run has."""
    return int(os.environ["FASTACT_BENCH_CORES"])


def where() -> str:
    """The cores of this process."""
    return "one core" if len(cores()) == 1 else f"{len(cores())} cores"


def in_process(section: str, chosen: Sequence[int], rounds: int) -> list[Table]:
    """Run a section on these cores."""
    n = str(len(chosen))
    settings = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS"), n)
    settings |= {"JAX_PLATFORMS": "cpu", "FASTACT_BENCH_CORES": str(len(cores()))}
    if len(chosen) == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [sys.executable, __file__, "--worker", section, "--rounds", str(rounds)]
    pin = functools.partial(os.sched_setaffinity, 0, chosen) if hasattr(os, "sched_setaffinity") else None
    done = subprocess.run(command, env=os.environ | settings, preexec_fn=pin, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"section {section} failed")
    return [Table(**table) for table in json.loads(done.stdout.splitlines()[-1])]


def run(section: str, rounds: int) -> list[Table]:
    """The tables of a section, from all its processes."""
    mode, available = SECTIONS[section][1], cores()
    # The last core: the first one serves interrupts.
    choices = {"one": available[-1:], "all": available}
    if mode == "each":
        numbers = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= len(available)]
        if len(numbers) < 2:
            return []
        return [scaled({n: in_process(section, available[:n], rounds)[0] for n in numbers})]
    tables = []
    for i, name in enumerate(mode.split(", ")):
        if i == 0 or len(available) > 1:
            tables += in_process(section, choices[name], rounds)
    return tables


def scaled(found: Mapping[int, Table]) -> Table:
    """Speed with threads, from the times that a process with so many cores had."""
    times = {n: {name: float(seconds) for name, seconds in table.rows} for n, table in found.items()}
    one = times[1]
    rows = [
        [
            f"`{name}`",
            *(f"{t[name] / (LARGE // 4) * 1e9:.3f}" for t in times.values()),
            *(f"{one[name] / times[n][name]:.2f}" for n in times if n > 1),
        ]
        for name in one
    ]
    bars = [
        (f"`{name}`, 2 cores, times as fast as one", one[name] / times[2][name], ">=", 1.8)
        for name in one
        if name not in ("relu", "hard_silu", "elu")
    ]
    text = (
        f"{LARGE // 4} elements of float32 into an existing array, in a process for each number of cores. relu, hard_silu and elu have"
        " hardly anything to compute: memory is their limit, and there is no bar for them."
    )
    head = ["value", *(f"{n} core{'s' * (n > 1)}, ns" for n in times), *(f"x, {n} cores" for n in times if n > 1)]
    return Table("Scaling over cores", text, head, rows, bars)


# ---------------------------------------------------------------- the report


def opening() -> list[str]:
    """Of docs/performance.md: how, where and with what it was made."""
    from fastact.kernels.cpu import compiled
    from fastact.machine import processor

    compared = {"PyTorch": "torch", "JAX": "jax", "NumPy": "numpy", "SciPy": "scipy", "onnxruntime": "onnxruntime", "numexpr": "numexpr"}
    return [
        "Generated: written by `python benchmarks/cpu.py --write docs/performance.md`, which anyone can run (`pip install '.[bench]'`).",
        f"On {processor()}, {len(cores())} cores, {compiled.ISA}; {versions(**compared)}.",
        "All libraries run in one process a section, pinned to one core or to all, and take turns; the least time of each counts, which"
        " leaves out what other processes take. Inputs are normal numbers.",
    ]


@click.command()
@click.option("--only", default=",".join(SECTIONS), show_default=True, help="Sections, separated by commas.")
@click.option("--quick", is_flag=True, help="Fewer rounds: figures stray by some percent.")
@click.option("--rounds", type=click.IntRange(min=1), help="Samples of each; default: 60, quick 12.")
@click.option("--write", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables to this file.")
@click.option("--worker", type=click.Choice(list(SECTIONS)), hidden=True)
def main(only: str, quick: bool, rounds: int | None, path: Path | None, worker: str | None) -> None:
    """Measure fastact beside other libraries and beside what the machine allows."""
    rounds = rounds or (12 if quick else 60)
    if worker:
        import numpy as np

        np.seterr(all="ignore")
        click.echo(json.dumps([asdict(table) for table in SECTIONS[worker][0](rounds)]))
        return
    if unknown := sorted({*only.split(",")} - {*SECTIONS}):
        raise click.UsageError(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    tables: list[Table] = []
    for section in only.split(","):
        for table in run(section, rounds):
            tables.append(table)
            table.show()
    if path:
        path.write_text(page("Performance on the CPU", opening(), tables), encoding="utf-8")
        click.echo(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
