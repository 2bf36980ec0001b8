"""Numba: kernels compiled on first use, on all cores. All knowledge of Numba outside the kernels' own text is in this file.

Each kernel is a module of its own, written under the user's cache directory and imported from there, which is what makes Numba's
cache find it again in the next process and never serve it after a definition changed. Large arrays run the parallel build of the
kernel, small ones and all in a forked child the serial build.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging  # noqa: F401  (before our own fork handlers, see below)
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import cache
from ..kernels import lower
from ..kernels.cpu import compiled
from ..kernels.jit import loops
from ..registry import NotReady
from .jobs import CompiledJobs

Array = np.ndarray[Any, Any]
Elementwise = Callable[[list[Array], list[float | Array], list[Array]], None]


class _Guard:
    """The locks, and whether this process is a forked child.

    Numba's workqueue layer aborts when two Python threads enter it at once, and no layer's threads survive a fork.
    """

    def __init__(self) -> None:
        self.reset(forked=False)

    def reset(self, forked: bool = True) -> None:
        self.compiling = threading.RLock()
        self.running = threading.Lock()
        self.forked = forked

    def before_fork(self) -> None:
        """Let no fork happen while one of our threads compiles: the child would inherit Numba's compiler lock, held by nobody."""
        self.held = self.compiling.acquire(timeout=60)

    def after_fork_in_parent(self) -> None:
        if self.held:
            self.compiling.release()


_guard = _Guard()

if hasattr(os, "register_at_fork"):
    # After `logging` has registered, and so before it in a fork: it takes its lock there, which a compiling thread may need.
    os.register_at_fork(before=_guard.before_fork, after_in_parent=_guard.after_fork_in_parent, after_in_child=_guard.reset)


class NumbaBackend(CompiledJobs):
    """Kernels by Numba, for NumPy arrays.

    Parameters
    ----------
    program : Program, optional
        The definitions to compile from; by default the package's own.
    """

    name = "numba"
    arrays = "numpy"

    def __init__(self, program: lower.Program | None = None) -> None:
        self._program = program
        self._modules: dict[str, ModuleType] = {}
        self._kernels: dict[tuple[str, str, str, bool], Callable[..., None]] = {}
        self._spread: Callable[..., None] | None = None
        self._broken: str | None = None
        self._may_wait = threading.local()
        self._begun: set[Any] = set()
        self._done: set[Any] = set()

    def missing(self) -> str | None:
        """Why this backend cannot be used, or None. Does not import Numba."""
        if importlib.util.find_spec("numba") is None:
            return "numba is not installed: pip install numba"
        if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
            return "NUMBA_DISABLE_JIT is set"
        return self._broken

    def on(self, threads: int, may_wait: bool = True) -> NumbaBackend:
        """The same; where the caller must not wait, the next call of this thread that needs a compiler raises `NotReady` instead."""
        self._may_wait.answer = may_wait
        return self

    def _built(self, key: Any, build: Callable[[], Callable[..., None]]) -> Callable[..., None]:
        """What `build` gives, which takes long the first time: in a thread of its own, if the caller must not wait."""
        if key in self._done or getattr(self._may_wait, "answer", True):
            found = build()
            self._done.add(key)
            return found
        if key not in self._begun:
            self._begun.add(key)

            def compile_later() -> None:
                with contextlib.suppress(Exception):  # who names this backend is told
                    build()
                    self._done.add(key)

            threading.Thread(target=compile_later, name="fastact-numba").start()
        raise NotReady

    def version(self) -> str:
        """Numba's version."""
        return importlib.metadata.version("numba")

    def details(self) -> dict[str, object]:
        """Facts for people: threads, threading layer, folder of compiled kernels."""
        facts: dict[str, object] = {"threads": _threads(), "threading layer": "not started", "cache": str(cache.folder("numba"))}
        if "numba" in sys.modules and not self.missing():
            with contextlib.suppress(ValueError, AttributeError):  # no parallel kernel has run; another thread is importing it
                facts["threading layer"] = sys.modules["numba"].threading_layer()
        if _guard.forked:
            facts |= {"threads": 1, "note": "in a forked process kernels run serially"}
        return facts

    @property
    def program(self) -> lower.Program:
        """The definitions."""
        if self._program is None:
            program = lower.parse()
            if lower.program_digest(program) != compiled.DIGEST:
                raise RuntimeError(
                    "the compiled loops are older than kernels/definitions and would give other bits: pip install -e . again"
                )
            self._program = program
        return self._program

    def elementwise(self, name: str, direction: str, kind: str, wide: bool) -> Elementwise:
        """The kernel of an elementwise activation.

        Parameters
        ----------
        name, direction
            The activation; "value", "derivative" or "backward". Or a primitive, and "elementary".
        kind
            How elements are stored: "float16", "bfloat16", "float32", "float64".
        wide
            Compute in float64 and round once.

        Returns
        -------
        Callable
            ``kernel(arrays, params, outs)``: all arrays 1-D, C-contiguous, as long as the first, of the storage type (halves as
            uint16), except outputs after the first, which have the working type; `params` numbers, or such arrays. The first
            output may be one of the inputs.
        """
        key = name, direction, kind, wide
        kernel = self._kernels.get(key)
        if kernel is None:
            operation = self.program.operations[name if direction == "elementary" else lower.role_name(name, direction)]
            write = functools.partial(loops.elementwise, self.program, operation, kind, wide)
            build = functools.cache(lambda *variant: self._run(write, *variant))
            kernel = self._kernels[key] = _elementwise(lambda *variant: self._built((key, variant), functools.partial(build, *variant)))
        return kernel

    def run_job(self, job: compiled.Job) -> None:
        """Run a compiled job, its bands spread over the threads; the bits are those of one thread."""
        if _serial(job.bands):
            job.run()
            return
        run = self._spread or self._built("jobs", self._build_spread)
        with _guard.running, _as_many_as_allowed():
            run(job.function, job.address, job.bands)

    def _build_spread(self) -> Callable[..., None]:
        with _guard.compiling:
            self._spread = self._module((Path(loops.__file__).parent / "threads.py").read_text(encoding="utf-8")).run
            return self._spread

    def _run(self, write: Callable[..., str], parallel: bool, *variant: object) -> Callable[..., None]:
        """The compiled ``run`` of one generated module."""
        with _guard.compiling:
            return self._module(write(parallel, *variant)).run  # type: ignore[no-any-return]

    def _module(self, text: str) -> ModuleType:
        """The module with this text: from this process, from the cache, or newly compiled."""
        try:
            import numba  # noqa: F401
        except Exception as error:  # installed, but not for this NumPy or this Python: its own message says so
            self._broken = f"numba cannot be imported: {error}"
            raise ImportError(self._broken) from error
        name = f"fastact_{_digest(text)}"
        module = self._modules.get(name)
        if module is None:
            module = self._modules[name] = _import(name, text)
        return module


def _digest(text: str) -> str:
    """The hash that names a module: its text, and everything that compiled code depends on."""
    import llvmlite
    import numba
    from numba.core.registry import cpu_target

    import fastact

    processor = cpu_target.target_context.codegen().magic_tuple()  # triple, name, features
    versions = fastact.__version__, numba.__version__, llvmlite.__version__, np.__version__, sys.implementation.cache_tag
    return hashlib.sha256(repr((text, versions, processor)).encode()).hexdigest()[:32]


def _import(name: str, text: str) -> ModuleType:
    """Import the module `name` from the cache folder, after writing it there unless it is there already."""
    folder = cache.folder("numba")
    path, data = folder / f"{name}.py", text.encode()
    # The same file stays: Numba recompiles when the time of writing changes.
    found = path.is_file() and path.read_bytes() == data
    if not found:
        cache.write(path, data)
        cache.trim(folder)
    try:
        return _execute(name, path)
    except Exception:
        if not found:
            raise
    for old in path.parent.glob(f"__pycache__/{name}.*"):  # what was compiled cannot be read: a disk that was full, say
        old.unlink(missing_ok=True)
    return _execute(name, path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba looks there when it loads compiled code
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _threads() -> int:
    """How many threads a kernel runs on: Numba's, but no more than ours would be."""
    return min(_own_threads(), compiled.settled_threads())


@contextlib.contextmanager
def _as_many_as_allowed() -> Iterator[None]:
    """Mask those of Numba's threads that are more than fastact may use; the setting is this thread's own, and put back."""
    if compiled.settled_threads() >= _own_threads():
        yield
        return
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(before, _threads()))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _own_threads() -> int:
    """How many threads Numba has. Asks the settings: its get_num_threads() would start them."""
    settled = getattr(sys.modules.get("numba.core.config"), "NUMBA_NUM_THREADS", None)  # None also while it is being imported
    asked = os.environ.get("NUMBA_NUM_THREADS", "") if settled is None else str(settled)
    if asked.isdigit():
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serial(pieces: int) -> bool:
    return pieces < 2 or _guard.forked or _threads() == 1


def _elementwise(build: Callable[..., Callable[..., None]]) -> Elementwise:
    def kernel(arrays: list[Array], params: list[float | Array], outs: list[Array]) -> None:
        n = arrays[0].size
        if not n:
            return
        variant = tuple([isinstance(p, np.ndarray) for p in params])
        serial = _serial(-(-n // loops.CHUNK))
        run = build(not serial, variant)
        inputs = [a.ctypes.data for a in arrays] + [p.ctypes.data if isinstance(p, np.ndarray) else p for p in params]
        _call(run, serial, n, *inputs, *[a.ctypes.data for a in outs])

    return kernel


def _call(run: Callable[..., None], serial: bool, *args: Sequence[Any] | float) -> None:
    if serial:
        run(*args)
    else:
        with _guard.running, _as_many_as_allowed():
            run(*args)
