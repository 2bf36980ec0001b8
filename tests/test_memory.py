"""The memory of large results: the pool behind NumPy's memory handler, and stores past the caches."""

import gc
import itertools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import numpy as np
import pytest

import fastact
from fastact.kernels.cpu import compiled

pytestmark = pytest.mark.skipif(not compiled.HAVE_POOL, reason="no mmap here")

LARGE = 1 << 19  # float32 elements: 2 MiB, twice what is pooled


@pytest.fixture(autouse=True)
def pool():
    """An empty pool with the default limit, and the caller's settings afterwards."""
    limit, stream = fastact.set_pool_limit(64 << 20), compiled.stream_bytes()
    gc.collect()
    fastact.empty_cache()
    yield
    fastact.set_pool_limit(limit)
    compiled.stream_bytes(stream)


def x_of(size=LARGE, dtype=np.float32):
    return np.linspace(-4, 4, size, dtype=dtype)


def address(a):
    return a.ctypes.data


def child(text, **environment):
    """Run a program of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


# ---------------------------------------------------------------- reuse


def test_results_own_pooled_memory():
    before = fastact.pool_stats()
    y = fastact.relu(x_of())
    after = fastact.pool_stats()
    assert y.flags.owndata
    assert y.base is None
    assert type(y) is np.ndarray
    assert y.flags.writeable
    assert y.flags.aligned
    assert address(y) % 64 == 0
    assert (after.used_blocks, after.mapped) == (before.used_blocks + 1, before.mapped + 1)
    assert y.nbytes <= after.used_bytes - before.used_bytes <= y.nbytes * 1.25


def test_memory_of_a_dead_result_is_used_again():
    y = fastact.gelu(x_of())
    first, before = address(y), fastact.pool_stats()
    del y
    waiting = fastact.pool_stats()
    assert waiting.free_blocks == 1
    assert waiting.free_bytes == before.used_bytes - waiting.used_bytes
    assert waiting.total_bytes == before.total_bytes
    y = fastact.gelu(x_of())
    after = fastact.pool_stats()
    assert address(y) == first
    assert (after.reused, after.mapped, after.free_blocks) == (before.reused + 1, before.mapped, 0)


@pytest.mark.parametrize(("size", "again"), [(0.96, True), (0.88, True), (0.7, False), (1.5, False)])
def test_a_near_size_is_used_again_and_a_far_one_not(size, again):
    del_me = fastact.relu(x_of(8 * LARGE))
    first = address(del_me)
    del del_me
    y = fastact.relu(x_of(int(8 * LARGE * size)))
    assert (address(y) == first) is again


def test_two_live_results_never_share():
    arrays = [fastact.leaky_relu(x_of(), 0.1 * k) for k in range(5)]
    begins = sorted(address(a) for a in arrays)
    assert all(b - a >= arrays[0].nbytes for a, b in itertools.pairwise(begins))
    for k, a in enumerate(arrays):
        assert a[0] == np.float32(-4) * np.float32(0.1 * k)


def families():
    x = x_of().reshape(512, -1)
    yield "value", lambda: fastact.silu(x)
    yield "backward", lambda: fastact.silu.backward(x, x)
    yield "derivative", lambda: fastact.silu.derivative(x)
    yield "two results", lambda: fastact.silu.value_and_derivative(x)[1]
    yield "softmax", lambda: fastact.softmax(x)
    yield "softmax, first axis", lambda: fastact.softmax(x, axis=0)
    yield "gated", lambda: fastact.swiglu(x, x)
    yield "bias", lambda: fastact.bias_act(x, np.zeros(x.shape[1], np.float32), "gelu")
    yield "loss", lambda: fastact.huber.value_and_grad(x, x)[1]
    yield "learnable", lambda: fastact.maxout(x.reshape(-1, 1).repeat(2, 1), 2, axis=1)
    yield "strided", lambda: fastact.silu(np.repeat(x, 2, axis=1)[:, ::2])
    yield "half", lambda: fastact.silu(np.repeat(x, 2, axis=1).astype(np.float16))
    yield "numba or cython", lambda: fastact.silu(np.tile(x, (4, 1)))


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in families()])
def test_large_results_of_every_family_are_pooled(call):
    before = fastact.pool_stats()
    y = call()
    after = fastact.pool_stats()
    assert y.nbytes >= 1 << 20
    assert y.flags.owndata
    assert y.base is None
    assert address(y) % 4096 == 2048  # where the pool's data begins
    assert after.used_blocks > before.used_blocks
    assert after.mapped + after.reused > before.mapped + before.reused


def test_memory_order_is_kept():
    x = np.asfortranarray(x_of().reshape(1024, -1))
    y = fastact.gelu(x)
    assert y.flags.f_contiguous
    assert y.flags.owndata
    assert np.array_equal(y, fastact.gelu(np.ascontiguousarray(x)))
    z = x.reshape(1024, 8, -1, order="F").transpose(1, 0, 2)
    assert fastact.gelu(z).strides == np.empty_like(z).strides


def test_small_results_do_not_come_from_the_pool():
    before = fastact.pool_stats()
    y = fastact.relu(x_of(compiled.SMALLEST_POOLED // 4 - 1))
    assert y.size
    assert fastact.pool_stats() == before


# ---------------------------------------------------------------- limit, switch, statistics


def test_the_limit_holds_and_the_oldest_go_first():
    fastact.set_pool_limit(7 << 20)
    arrays = [fastact.relu(x_of()) for _ in range(5)]
    begins = [address(a) for a in arrays]
    while arrays:
        arrays.pop(0)
        assert fastact.pool_stats().free_bytes <= 7 << 20
    assert fastact.pool_stats().free_blocks == 3
    assert {address(a) for a in [fastact.relu(x_of()) for _ in range(1)]} <= set(begins[2:])
    y = fastact.relu(x_of(4 << 20))  # more than the limit: not kept, and what waits stays
    before = fastact.pool_stats()
    del y
    assert fastact.pool_stats().free_bytes == before.free_bytes


def test_a_lower_limit_and_empty_cache_give_back():
    arrays = [fastact.relu(x_of()) for _ in range(4)]
    kept = arrays.pop()
    expected = kept.copy()
    arrays.clear()
    assert fastact.pool_stats().free_blocks == 3
    assert fastact.set_pool_limit(5 << 20) == 64 << 20
    assert fastact.pool_stats().free_blocks == 2
    assert fastact.empty_cache() is None
    stats = fastact.pool_stats()
    assert (stats.free_bytes, stats.free_blocks, stats.limit) == (0, 0, 5 << 20)
    assert np.array_equal(kept, expected)


def test_many_small_blocks_are_bounded_in_number():
    fastact.set_pool_limit(1 << 40)
    arrays = [compiled.empty((1 << 20,), np.uint8) for _ in range(300)]
    arrays.clear()
    assert 200 < fastact.pool_stats().free_blocks <= 256


def test_off_in_this_process():
    y = fastact.relu(x_of())
    fastact.set_pool_limit(0)
    before = fastact.pool_stats()
    z = fastact.relu(x_of())
    assert fastact.pool_stats() == before
    assert before.limit == 0
    del y  # made while it was on: goes to the system
    after = fastact.pool_stats()
    assert (after.used_blocks, after.free_bytes) == (before.used_blocks - 1, 0)
    assert z.flags.owndata


TELL = "import numpy as np, fastact; y = fastact.relu(np.ones(1 << 19, 'f')); s = fastact.pool_stats(); print(s.limit, s.mapped)"


@pytest.mark.parametrize(("value", "told"), [("0", "0 0"), ("3M", f"{3 << 20} 1"), ("2gib", f"{2 << 30} 1"), ("123456789", "123456789 1")])
def test_environment(value, told):
    assert child(TELL, FASTACT_POOL=value) == told


def test_default_limit():
    limit, mapped = child(TELL, FASTACT_POOL="").split()
    assert mapped == "1"
    assert 1 << 20 < int(limit) <= 1 << 30
    fastact.set_pool_limit(None)
    assert fastact.pool_stats().limit == int(limit)


def test_refusals():
    with pytest.raises(ValueError, match="limit is -1; it must be"):
        fastact.set_pool_limit(-1)
    with pytest.raises(TypeError, match="limit is a str"):
        fastact.set_pool_limit("1G")
    assert "FASTACT_POOL='much'" in child("try:\n    import fastact\nexcept ValueError as error:\n    print(error)", FASTACT_POOL="much")


# ---------------------------------------------------------------- arrays like any other


def test_resize():
    y = fastact.relu(x_of())
    expected = y.copy()
    y.resize(10, refcheck=False)  # to what malloc serves
    assert np.array_equal(y, expected[:10])
    assert fastact.pool_stats().free_blocks == 1
    y.resize(3 * LARGE, refcheck=False)  # and back
    assert np.array_equal(y[:10], expected[:10])
    assert not y[10:].any()
    y.resize(3 * LARGE - 5, refcheck=False)  # within its block
    assert np.array_equal(y[:10], expected[:10])
    assert y.flags.owndata
    assert np.array_equal(np.resize(fastact.relu(x_of()), 7), expected[:7])


def test_resize_counts_references():
    y = fastact.relu(x_of())
    view = y[:5]
    with pytest.raises(ValueError, match="reference"):
        y.resize(2 * LARGE)
    assert view.base is y


def test_views_outlive_the_array():
    y = fastact.relu(x_of())
    view, expected = y[LARGE // 2 :: 7].reshape(-1, 1), y[LARGE // 2 :: 7].copy()
    del y
    others = [fastact.relu(-x_of()) for _ in range(4)]
    assert np.array_equal(view[:, 0], expected)
    assert all(address(o) != address(view.base) for o in others)
    buffer = memoryview(others.pop())
    before = fastact.pool_stats().used_blocks
    del buffer
    assert fastact.pool_stats().used_blocks == before - 1


def test_pickle_copy_and_other_owners():
    y = fastact.relu(x_of())
    assert np.array_equal(pickle.loads(pickle.dumps(y, 5)), y)
    before = fastact.pool_stats().used_blocks
    assert address(y.copy()) % 4096 != 2048 or fastact.pool_stats().used_blocks == before
    y.dtype = np.uint8  # the size that NumPy gives back is not asked for
    del y
    assert fastact.pool_stats().used_blocks == before - 1


def test_numpy_operations_on_memory_of_the_pool():
    y = fastact.relu(x_of())
    y += 1
    y.sort()
    y.setflags(write=False)
    assert y[0] == 1
    assert y[-1] == 5


def test_tracemalloc_sees_results():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = fastact.relu(x_of())
        during = tracemalloc.get_traced_memory()[0] - before
        nbytes = y.nbytes
        del y
        after = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert nbytes <= during - (x_of(1).nbytes) < 2.5 * nbytes
    assert after < nbytes // 2


def test_somebody_elses_handler_is_left_in_charge():
    # NumPy's own tests have such a handler, in C; here one is made with ctypes, of malloc and free.
    text = """
        import ctypes, contextvars
        import numpy as np
        import fastact
        from numpy._core.multiarray import get_handler_name

        class Allocator(ctypes.Structure):
            _fields_ = [(n, ctypes.c_void_p) for n in ("ctx", "malloc", "calloc", "realloc", "free")]

        class Handler(ctypes.Structure):
            _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", Allocator)]

        libc, seen = ctypes.CDLL(None), []
        libc.malloc.restype = libc.calloc.restype = libc.realloc.restype = ctypes.c_void_p
        libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
        libc.calloc.argtypes = [ctypes.c_size_t] * 2
        libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        P, S = ctypes.c_void_p, ctypes.c_size_t
        functions = [
            ctypes.PYFUNCTYPE(P, P, S)(lambda ctx, n: (seen.append(n), libc.malloc(n))[1]),
            ctypes.PYFUNCTYPE(P, P, S, S)(lambda ctx, n, m: libc.calloc(n, m)),
            ctypes.PYFUNCTYPE(P, P, P, S)(lambda ctx, p, n: libc.realloc(p, n)),
            ctypes.PYFUNCTYPE(None, P, P, S)(lambda ctx, p, n: libc.free(p)),
        ]
        theirs = Handler(b"theirs", 1, Allocator(None, *[ctypes.cast(f, P).value for f in functions]))
        api = ctypes.pythonapi
        api.PyCapsule_New.restype, api.PyCapsule_New.argtypes = ctypes.py_object, [P, ctypes.c_char_p, P]
        api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = P, [ctypes.py_object, ctypes.c_char_p]
        name = b"mem_handler"
        capsule = api.PyCapsule_New(ctypes.addressof(theirs), name, None)
        table = ctypes.cast(api.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(P))
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])

        x = np.ones(1 << 19, "f")
        default = get_handler_name()

        def inside():
            set_handler(capsule)
            assert get_handler_name() == "theirs"
            y = fastact.relu(x)
            assert get_handler_name() == "theirs" and get_handler_name(y) == "theirs"
            assert seen and max(seen) == x.nbytes
            return y

        y = contextvars.copy_context().run(inside)
        assert get_handler_name() == default
        z = fastact.relu(x)
        assert get_handler_name() == default and get_handler_name(z) == "fastact", get_handler_name(z)
        del y, z
        print("right")
    """
    assert child(text) == "right"


def test_no_memory_is_a_memory_error():
    x = np.broadcast_to(np.float32(1), (1 << 45,))  # more than there are addresses
    with pytest.raises(MemoryError):
        fastact.relu(x)
    with pytest.raises(MemoryError):
        compiled.empty((1 << 60,), np.uint8)
    with pytest.raises(ValueError, match=r"too big|dimension|maximum"):
        compiled.empty((1 << 62, 1 << 62), np.float64)
    assert fastact.relu(x_of())[-1] == 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS")
def test_what_waits_is_given_up_before_memory_runs_out():
    text = """
        import resource
        import numpy as np, fastact
        fastact.set_pool_limit(1 << 40)
        x = np.ones(8 << 20, "f")
        arrays = [fastact.relu(x, backend="cython") for _ in range(4)]
        arrays.clear()
        held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + (40 << 20), -1))
        z = np.broadcast_to(x, (3, 8 << 20))
        y = fastact.relu(z, backend="cython")  # 96 MiB: none that waits is large enough, and no new one can be had
        print(int(y.sum()), fastact.pool_stats().free_bytes)
        try:
            fastact.relu(np.broadcast_to(x, (64, 8 << 20)), backend="cython")
        except MemoryError:
            print("MemoryError")
    """
    assert child(text).split() == [str(3 * (8 << 20)), "0", "MemoryError"]


# ---------------------------------------------------------------- threads, fork, exit


def test_threads_hammering():
    wrong = []

    def work(seed):
        generator = np.random.default_rng(seed)
        kept = []
        for _ in range(60):
            size = int(generator.integers(LARGE // 2, 2 * LARGE))
            y = compiled.empty((size,), np.float32)
            mark = float(generator.random(dtype=np.float32))
            y[:: 1 << 10] = mark
            y[-1] = mark
            kept.append((y, mark))
            if len(kept) > 3:
                old, expected = kept.pop(int(generator.integers(4)))
                if not (old[:: 1 << 10] == expected).all() or old[-1] != np.float32(expected):
                    wrong.append(seed)
            if generator.random() < 0.1:
                fastact.empty_cache()

    before = fastact.pool_stats()
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    after = fastact.pool_stats()
    assert after.mapped + after.reused - before.mapped - before.reused == 6 * 60
    assert after.used_blocks == before.used_blocks
    assert after.free_bytes <= after.limit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_threads_use_the_pool():
    text = """
        import os, threading, warnings
        import numpy as np, fastact
        from fastact.kernels.cpu import compiled
        warnings.simplefilter("ignore")  # of forks with threads: that is what this is about
        x = np.linspace(-1, 1, 1 << 19, dtype="f")
        kept = fastact.relu(x, backend="cython")
        waits = fastact.relu(x, backend="cython")
        del waits
        stop = threading.Event()

        def work():
            while not stop.is_set():
                compiled.empty((1 << 21,), np.uint8)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        codes = []
        for _ in range(20):
            child = os.fork()
            if not child:
                right = fastact.pool_stats().free_bytes == 0  # a child begins with an empty pool
                y = fastact.relu(x, backend="cython")
                y[:] = 7
                del y
                y = fastact.relu(x, backend="cython")
                right &= bool((y == kept).all()) and fastact.pool_stats().free_blocks == 0
                del y
                fastact.empty_cache()
                os._exit(0 if right else 1)
            codes.append(os.waitpid(child, 0)[1])
        stop.set()
        for t in threads:
            t.join()
        assert not any(codes), codes
        assert (kept == np.maximum(x, 0)).all()
        print("right")
    """
    assert child(text) == "right"


def test_exit_with_arrays_alive():
    text = """
        import atexit, threading
        import numpy as np, fastact
        x = np.ones(1 << 19, "f")
        alive = fastact.relu(x)
        class Cycle:
            pass
        cycle = Cycle()
        cycle.itself, cycle.array = cycle, fastact.relu(x)
        del cycle
        import builtins
        builtins.forever = fastact.gelu(x)
        late = atexit.register(lambda y: print(float(y[0]), flush=True), fastact.relu(x))
        other = threading.Thread(target=lambda: [fastact.relu(x) for _ in range(50)], daemon=True)
        other.start()
    """
    assert child(text) == "1.0"


# ---------------------------------------------------------------- past the caches


def test_the_threshold():
    assert compiled.stream_bytes() >= 1 << 20
    assert compiled.stream_bytes(12345) == 12345
    assert compiled.stream_bytes() == 12345


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "tanh", "leaky_relu"])
def test_bits_are_those_of_plain_stores(name, kind):
    params = [0.25] if name == "leaky_relu" else []
    generator = np.random.default_rng(5)
    word = np.uint16 if kind == "float16" else np.dtype(kind)
    for size in (1, 2, 7, 15, 16, 31, 33, 63, 64, 65, 127, 129, 1000, 4099):
        for offset in (0, 1, 3, 5, 8, 13, 31):
            source = generator.normal(size=size + 9).astype(kind).view(word)
            x, g = source[9 - offset % 9 :][:size], source[:size].copy()
            for direction, arrays in (("value", [x]), ("backward", [g, x]), ("derivative", [x])):
                found = []
                for limit in (1 << 60, 1):
                    compiled.stream_bytes(limit)
                    room = np.full(size + 80, 77, word)
                    out = room[offset : offset + size]
                    compiled.run_elementwise(f"{name}_{direction}", kind, False, arrays, params, [out])
                    found.append(room)  # and what lies around it
                assert found[0].tobytes() == found[1].tobytes(), (size, offset, direction)


def test_two_results_and_in_place_past_the_caches():
    x, y, d = x_of(4099), np.empty(4099, np.float32), np.empty(4100, np.float32)[1:]
    found = []
    for limit in (1 << 60, 1):
        compiled.stream_bytes(limit)
        compiled.run_elementwise("silu_value_and_derivative", "float32", False, [x], [], [y, d])
        z = x.copy()
        compiled.run_elementwise("silu_value", "float32", False, [z], [], [z])
        g = x.copy()
        compiled.run_elementwise("silu_backward", "float32", False, [g, x], [], [g])
        found.append([a.tobytes() for a in (y, d, z, g)])
    assert found[0] == found[1]
    assert found[0][0] == found[0][2]


@pytest.mark.parametrize("more", [-1, 0, 1, 17])
def test_calls_around_the_threshold(more):
    size = (1 << 18) + more
    compiled.stream_bytes(8 << 18)  # 2^18 elements in and out
    x = x_of(size)
    for result in (fastact.gelu(x, backend="cython"), fastact.gelu(x, backend="cython", out=np.empty(size + 1, np.float32)[1:])):
        compiled.stream_bytes(1 << 60)
        assert np.array_equal(result, fastact.gelu(x, backend="cython"))
        compiled.stream_bytes(8 << 18)
