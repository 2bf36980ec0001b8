"""Threads of our own: the bits of one, callers at once, forks, exits, and how many there are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from common import same_bits

import fastact
from fastact import threads, tuning
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions.language import COSTS

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
#: Not a multiple of anything.
SIZE = (1 << 18) + 12345


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    fastact.set_num_threads(None)
    tuning.use(tuning.SHIPPED)


def always() -> None:
    """Let threads pay from the first size that they are asked for, whatever is measured."""
    few = {cost: dict.fromkeys(row, 1) for cost, row in tuning.SHIPPED.threads.items()}
    fastact.get_num_threads()  # so that no table is read later
    tuning.use(tuning.Table(few, tuning.SHIPPED.numba, "a test"))


def numbers(kind: str, size: int = SIZE) -> np.ndarray:
    x = np.random.default_rng(3).normal(scale=4.0, size=size)
    return x.astype(np.float32).view(np.uint32).astype(np.uint16) if kind == "bfloat16" else x.astype(kind)


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", f"import os, sys, numpy as np, fastact\n{code}"],
        capture_output=True, text=True, env={**clean, **environment}, check=False, timeout=120,
    )  # fmt: skip


# ---------------------------------------------------------------- the bits


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("operation", ["gelu_value", "mish_backward", "silu_value_and_derivative", "prelu_backward", "relu_value"])
@pytest.mark.parametrize("wide", [False, True])
def test_elementwise_has_the_bits_of_one_thread(operation: str, kind: str, wide: bool) -> None:
    x = numbers(kind)
    x = x.view(np.uint16) if kind == "float16" else x
    outputs = {"silu_value_and_derivative": 2, "prelu_backward": 2}.get(operation, 1)
    inputs = [x[::-1].copy(), x] if "backward" in operation else [x]
    working = np.float64 if wide or kind == "float64" else np.float32
    results = []
    for count in (1, 2, 5):
        outs = [np.zeros_like(x) for _ in range(outputs)]
        if operation == "prelu_backward":  # the second is a term of the parameter's gradient, in the working type
            outs[1] = np.zeros(x.shape, working)
        params = [numbers(kind).view(x.dtype)] if operation == "prelu_backward" else []
        compiled.run_elementwise(operation, kind, wide, inputs, params, outs, count)
        results.append([o.view(f"u{o.itemsize}") for o in outs])
    assert all(r.any() for r in results[0])
    for more in results[1:]:
        assert all((a == b).all() for a, b in zip(results[0], more, strict=True))


def test_values_in_every_band() -> None:
    """Against NumPy itself, whatever the size and wherever the array begins."""
    base = numbers("float32", 400_000)
    for count in (2, 3, 8):
        for size in (10_001, 16_384, 131_073, 399_990):
            for begin in (0, 1, 7):
                x = base[begin : begin + size]
                out = np.full(size + 2, 7.0, np.float32)
                compiled.run_elementwise("relu_value", "float32", False, [x], [], [out[1:-1]], count)
                assert (out[1:-1] == np.maximum(x, 0)).all()
                assert out[0] == out[-1] == 7.0


def test_the_public_way_has_the_bits_of_one_thread() -> None:
    always()
    x = numbers("float32").reshape(-1, 1)[: 1 << 18].reshape(256, 1024)
    bias = numbers("float32", 1024)
    calls = {
        "value": lambda: fastact.gelu(x),
        "in place": lambda: fastact.gelu(y := x.copy(), out=y),
        "backward": lambda: fastact.mish.backward(x, x),
        "learnable": lambda: fastact.prelu.backward(x, x, bias)[1],
        "strided": lambda: fastact.silu(x[:, ::2]),
        "rows": lambda: fastact.softmax(x),
        "rows and options": lambda: fastact.softmax(x, causal=True),
        "columns": lambda: fastact.log_softmax(x, axis=0),
        "gated": lambda: fastact.swiglu(x),
        "bias": lambda: fastact.bias_act(x, bias, "gelu"),
        "loss": lambda: fastact.softmax_cross_entropy.value_and_grad(x, np.arange(256) % 7)[1],
        "named": lambda: fastact.gelu(x, backend="cython"),
        "precise": lambda: fastact.gelu(x, accuracy="precise"),
    }
    fastact.set_num_threads(1)
    one = {name: call() for name, call in calls.items()}
    fastact.set_num_threads(None)
    for name, call in calls.items():
        assert same_bits(one[name], call()), name


# ---------------------------------------------------------------- callers


def test_eight_callers_at_once() -> None:
    arrays = [numbers("float32", SIZE + i) * (i + 1) for i in range(8)]
    expected = [np.maximum(x, 0) for x in arrays]
    wrong: list[int] = []

    def work(i: int) -> None:
        out = np.empty_like(arrays[i])
        for round_ in range(30):
            out[...] = -1.0
            compiled.run_elementwise("relu_value", "float32", False, [arrays[i]], [], [out], 2 + (i + round_) % 3)
            if not (out == expected[i]).all():
                wrong.append(i)

    callers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong


@LINUX
def test_callers_on_threads_of_their_own_start_no_more() -> None:
    """However many there are: the threads are started once, one less than cores at most."""
    done = child("""
from concurrent.futures import ThreadPoolExecutor
x = np.ones(1 << 20, np.float32)
with ThreadPoolExecutor(6) as pool:
    results = list(pool.map(lambda i: float(fastact.gelu(x * i).max()), range(60)))
assert results == [float(fastact.gelu(np.float32(i))) for i in range(60)], results
names = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
print(names.count("fastact"), fastact.get_num_threads() - 1)
""")
    started, allowed = map(int, done.stdout.split())
    assert started <= allowed, done.stderr


@LINUX
def test_workers_of_joblib() -> None:
    pytest.importorskip("joblib")
    done = child("""
import joblib
def work(i):
    x = np.full(1 << 20, i, np.float32)
    y = fastact.gelu(x)
    names = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
    return float(y[-1]), names.count("fastact"), fastact.get_num_threads()
if __name__ == "__main__":
    cores = len(os.sched_getaffinity(0))
    for how in ("threading", "loky"):
        for i, (y, started, most) in enumerate(joblib.Parallel(cores, backend=how)(joblib.delayed(work)(i) for i in range(8))):
            assert y == float(fastact.gelu(np.float32(i))), (how, i, y)
            assert started <= (cores - 1 if how == "threading" else 0), (how, started)
            assert how == "threading" or most == 1
    print("done")
""")
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64" or not sys.platform.startswith("linux"), reason="sets MXCSR through glibc")
def test_threads_keep_their_own_environment_of_floats() -> None:
    """They start while their caller flushes subnormals and rounds up, and compute as if it did not; the caller's setting stays."""
    done = child("""
import ctypes
from fastact.kernels.cpu import compiled
libm = ctypes.CDLL("libm.so.6")
state = (ctypes.c_uint32 * 8)()  # fenv_t; its last word is MXCSR
def mxcsr(value):
    libm.fegetenv(state)
    before, state[7] = state[7], value
    libm.fesetenv(state)
    return before
x = np.linspace(-4, 4, 1 << 19, dtype=np.float32); x[::3] *= np.float32(1e-40)
def run(threads):
    out = np.empty_like(x)
    compiled.run_elementwise("silu_value", "float32", False, [x], [], [out], threads)
    return out
expected = run(1)
odd = 0x1f80 & ~0x6000 | 0x8040 | 0x4000
mxcsr(odd)
results = [run(4) for _ in range(20)]
after = mxcsr(0x1f80)
subnormal = (expected != 0) & (abs(expected) < 1e-38)
print(subnormal.any(), all(np.array_equal(r, expected) for r in results), after & ~0x3f == odd & ~0x3f, compiled.threads_started())
""")
    assert done.stdout == "True True True 3\n", done.stderr


# ---------------------------------------------------------------- forks and exits


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    done = child("""
import warnings; warnings.simplefilter("ignore")
from fastact.kernels.cpu import compiled
x = np.linspace(-5, 5, 1 << 20, dtype=np.float32); out = np.empty_like(x)
def run():
    out[...] = -1
    compiled.run_elementwise("relu_value", "float32", False, [x], [], [out], 3)
    return (out == np.maximum(x, 0)).all() and compiled.threads_started() == 2
assert run()
for _ in range(5):
    pid = os.fork()
    if not pid:
        code = compiled.threads_started() == 0 and all(run() for _ in range(3))
        grandchild = os.fork()
        if not grandchild:
            os._exit(0 if run() else 1)
        os._exit(0 if code and os.waitpid(grandchild, 0)[1] == 0 else 1)
    assert run()
    assert os.waitpid(pid, 0)[1] == 0
print("done")
""")
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_another_thread_computes() -> None:
    done = child("""
import threading, warnings; warnings.simplefilter("ignore")
from fastact.kernels.cpu import compiled
def run(n):
    x = np.linspace(-5, 5, n, dtype=np.float32); out = np.empty_like(x)
    compiled.run_elementwise("mish_value", "float32", False, [x], [], [out], 2)
    return out
stop = threading.Event()
def busy():
    while not stop.is_set(): run(1 << 19)
caller = threading.Thread(target=busy); caller.start()
expected = run(1 << 17)
codes = []
for _ in range(8):
    pid = os.fork()
    if not pid: os._exit(0 if (run(1 << 17) == expected).all() else 1)
    codes.append(os.waitpid(pid, 0)[1])
stop.set(); caller.join()
print(codes)
""")
    assert done.stdout == f"{[0] * 8}\n", done.stderr


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "import threading; threading.Thread(target=busy, daemon=True).start()"])
def test_the_process_ends(end: str) -> None:
    """While threads sleep, are awake still, or compute for a daemon thread."""
    done = child(f"""
from fastact.kernels.cpu import compiled
x = np.ones(1 << 18, np.float32); out = np.empty_like(x)
def busy():
    while True: compiled.run_elementwise("mish_value", "float32", False, [x], [], [out], 2)
compiled.run_elementwise("mish_value", "float32", False, [x], [], [out], 3)
assert compiled.threads_started() == 2
{end}
""")
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- how many


def test_set_and_get() -> None:
    automatic = fastact.get_num_threads()
    assert 1 <= automatic <= CORES
    fastact.set_num_threads(1)
    assert fastact.get_num_threads() == 1
    assert fastact.explain(fastact.gelu, np.zeros(1 << 22, np.float32)).threads == 1
    fastact.set_num_threads(np.int64(10_000))  # never more than there are cores
    assert fastact.get_num_threads() == automatic
    fastact.set_num_threads(None)
    assert fastact.get_num_threads() == automatic
    large = np.broadcast_to(np.float32(0), (2**33,))
    assert fastact.explain(fastact.gelu, large).threads == automatic
    assert fastact.explain(fastact.gelu, large[:100]).threads == 1


@pytest.mark.parametrize(("value", "error", "message"), [
    (0, ValueError, "threads must be at least 1, not 0"),
    (-3, ValueError, "threads must be at least 1, not -3"),
    (1.5, TypeError, "threads must be an integer or None, not 1.5"),
    ("2", TypeError, "threads must be an integer or None, not '2'"),
    (True, TypeError, "threads must be an integer or None, not True"),
])  # fmt: skip
def test_refused(value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastact.set_num_threads(value)  # type: ignore[arg-type]


def test_the_environment() -> None:
    read = threads.from_environment
    assert read({}) == 0
    assert read({"NUMBA_NUM_THREADS": "3"}) == 3
    assert read({"NUMBA_NUM_THREADS": "3", "OMP_NUM_THREADS": "2,4"}) == 2
    assert read({"NUMBA_NUM_THREADS": "3", "OMP_NUM_THREADS": "2", "FASTACT_NUM_THREADS": " 5 "}) == 5
    assert read({"OMP_NUM_THREADS": ""}) == 0
    with pytest.raises(ValueError, match="FASTACT_NUM_THREADS must be a number of threads from 1, not '0'"):
        read({"FASTACT_NUM_THREADS": "0"})
    with pytest.warns(RuntimeWarning, match="OMP_NUM_THREADS must be a number of threads from 1, not 'many'; fastact passes it over"):
        assert read({"OMP_NUM_THREADS": "many", "NUMBA_NUM_THREADS": "2"}) == 2


def test_the_environment_of_a_process() -> None:
    show = "print(fastact.get_num_threads())"
    assert child(show, FASTACT_NUM_THREADS="1", OMP_NUM_THREADS="2").stdout == "1\n"
    assert child(show, OMP_NUM_THREADS="1").stdout == "1\n"
    assert child(show, FASTACT_NUM_THREADS="64").stdout == child(show).stdout
    assert "FASTACT_NUM_THREADS must be a number of threads from 1, not 'two'" in child(show, FASTACT_NUM_THREADS="two").stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or CORES < 2, reason="needs two cores, and to be pinned")
def test_a_process_that_is_pinned_after_the_import() -> None:
    allowed = os.sched_getaffinity(0)
    x = np.zeros(1 << 22, np.float32)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert fastact.get_num_threads() == 1
        assert fastact.explain(fastact.gelu, x).threads == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert fastact.get_num_threads() > 1 or threads.quota() == 1


@pytest.mark.parametrize(("files", "cores"), [
    ({}, 0),
    ({"proc/self/cgroup": "0::/\n"}, 0),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 0),
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 2),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "10000 100000\n"}, 1),
    ({"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "garbage\n"}, 0),
    ({"proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "400000\n",
      "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 4),
    ({"proc/self/cgroup": "3:cpu:/docker/123\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ({"proc/self/cgroup": "3:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0),
])  # fmt: skip
def test_quota(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.quota(tmp_path) == cores


def test_a_quota_limits() -> None:
    code = "from fastact import threads; threads.quota = lambda: 1; print(fastact.get_num_threads())"
    assert child(code).stdout == "1\n"


@pytest.mark.parametrize("first", ["fastact", "threadpoolctl"])
def test_threadpoolctl(first: str) -> None:
    ctl = pytest.importorskip("threadpoolctl")
    if not hasattr(ctl, "register"):
        pytest.skip("older than its register")
    code = """
from threadpoolctl import threadpool_info, threadpool_limits
here = fastact.get_num_threads()
[ours] = [found for found in threadpool_info() if found["user_api"] == "fastact"]
assert ours["num_threads"] == here and ours["version"] == fastact.__version__, ours
with threadpool_limits(1):
    assert fastact.get_num_threads() == 1
assert fastact.get_num_threads() == here
with threadpool_limits(1, user_api="fastact"):
    assert fastact.get_num_threads() == 1
with threadpool_limits(1, user_api="blas"):
    assert fastact.get_num_threads() == here
print("done")
"""
    done = child(code) if first == "fastact" else subprocess.run(
        [sys.executable, "-c", f"import threadpoolctl, fastact\n{code}"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr


def test_nothing_is_imported_for_threadpoolctl() -> None:
    assert child("print('threadpoolctl' in sys.modules, 'json' in sys.modules and 'fastact.cache' in sys.modules)").stdout.startswith(
        "False"
    )


# ---------------------------------------------------------------- first calls


def test_a_first_large_call_waits_for_no_compiler() -> None:
    """Nor imports one: that alone takes longer than this array does."""
    done = child("""
x = np.ones(1 << 22, np.float32)
y = fastact.gelu(x); fastact.softmax(x.reshape(64, -1)); fastact.swiglu(x); fastact.gelu.backward(x, x)
print(sorted({"numba", "llvmlite"} & set(sys.modules)), fastact.explain(fastact.gelu, x).backend)
""")
    assert done.stdout == "[] cython\n", done.stderr


def test_small_calls_start_no_thread() -> None:
    done = child("""
from fastact.kernels.cpu import compiled
for n in (1, 100, 5000, 9000):
    fastact.gelu(np.ones(n, np.float32)); fastact.softmax(np.ones(n, np.float32))
print(compiled.threads_started())
""")
    assert done.stdout == "0\n", done.stderr


def test_warmup() -> None:
    compiled_before = compiled.threads_started()
    fastact.warmup()
    assert compiled.threads_started() >= max(compiled_before, fastact.get_num_threads() - 1)
    fastact.warmup(fastact.gelu, fastact.gelu.backward, fastact.softmax, fastact.leaky_relu, fastact.prelu, dtypes=("float32", np.float64))
    with pytest.raises(TypeError, match="dtypes must be among float16, bfloat16, float32, float64, not int8"):
        fastact.warmup(fastact.gelu, dtypes=[np.int8])
    with pytest.raises(TypeError, match="functions must be activations or their directions, not <built-in function max>"):
        fastact.warmup(max)
    with pytest.raises(ValueError, match="backend must be one of"):
        fastact.warmup(fastact.gelu, backend="fortran")


def test_numba_compiles_in_the_background_if_it_was_measured_to_be_faster(tmp_path: Path) -> None:
    if not fastact.backends()["numba"].available:
        pytest.skip("numba is missing")
    done = child(
        """
import threading, time
from fastact import tuning
fastact.get_num_threads()
few = {cost: dict.fromkeys(row, 1 << 16) for cost, row in tuning.SHIPPED.threads.items()}
tuning.use(tuning.Table(few, few, "a test"))
if fastact.get_num_threads() == 1:
    print("cython numba True"); sys.exit()
x = np.linspace(-5, 5, 1 << 18, dtype=np.float32)
with fastact.count_calls() as first: y = fastact.silu(x)
assert fastact.explain(fastact.silu, x).backend == "numba"
for thread in threading.enumerate():
    if thread.name == "fastact-numba": thread.join()
with fastact.count_calls() as later: z = fastact.silu(x)
print(*first, *later, (y == z).all())
""",
        FASTACT_CACHE_DIR=str(tmp_path),
    )
    assert done.stdout == "cython numba True\n", done.stderr


def test_work_is_shared() -> None:
    """Told by the processor time of the caller, not by the clock: how much faster that makes a call is what benchmarks measure."""
    if CORES < 2:
        pytest.skip("one core")
    x = numbers("float32", 1 << 20)
    out = np.empty_like(x)
    for _ in range(200):
        begin = time.thread_time()
        compiled.run_elementwise("mish_value", "float32", False, [x], [], [out], 1)
        alone = time.thread_time() - begin
        begin = time.thread_time()
        compiled.run_elementwise("mish_value", "float32", False, [x], [], [out], 2)
        if time.thread_time() - begin < 0.8 * alone:  # of its own processor time
            return
    pytest.fail("no thread ever came to help")


def test_costs_have_numbers() -> None:
    """What compiled code knows the cost classes by."""
    for function in (fastact.relu, fastact.silu, fastact.gelu, fastact.gelu.backward, fastact.softmax):
        assert COSTS[function.cost] == function.definition.cost
    with ThreadPoolExecutor(2) as pool:  # set_crossover refuses what is not there
        assert isinstance(pool.submit(compiled.set_crossover, 9, "float32", 1, 1).exception(), ValueError)
