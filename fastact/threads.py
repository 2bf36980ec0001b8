"""How many threads of our own a call may use: what was asked for, limited by the cores and the quota that the process has.

The cores are asked for at each large call, by the thread that makes it (`sched_getaffinity`, a fraction of a microsecond): a process
that is pinned after the import, or a worker that is pinned when it starts, never runs more threads than it has cores. PyTorch and
OpenBLAS look once, when they load. The quota of a container is read once, at the first large call.
"""

from __future__ import annotations

import importlib.machinery
import operator
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .kernels.cpu import compiled

#: Where a number is looked for, in this order; the first variable that is set counts.
VARIABLES = ("FASTACT_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
#: More are never started.
MOST = 1024


def set_num_threads(threads: int | None) -> None:
    """Set on how many threads a large call runs at most, in the whole process.

    The cores that the process may use and its container's quota limit it further.

    Parameters
    ----------
    threads : int or None
        From 1; None: as many as the environment says, or as there are.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is below 1.

    Examples
    --------
    >>> import fastact
    >>> fastact.set_num_threads(1)
    >>> fastact.get_num_threads()
    1
    >>> fastact.set_num_threads(None)
    """
    if threads is None:
        compiled.set_num_threads(from_environment(os.environ))
        return
    try:
        number = operator.index(threads)
    except TypeError:
        number = None
    if number is None or isinstance(threads, bool):
        raise TypeError(f"threads must be an integer or None, not {threads!r}")
    if number < 1:
        raise ValueError(f"threads must be at least 1, not {number}")
    compiled.set_num_threads(min(number, MOST))


def get_num_threads() -> int:
    """Return on how many threads a large call made here and now would run at most.

    Returns
    -------
    int
        The least of what was asked for (`set_num_threads`, else ``FASTACT_NUM_THREADS``, else ``OMP_NUM_THREADS``, else
        ``NUMBA_NUM_THREADS``), of the cores that this thread may run on, and of the container's quota.

    Examples
    --------
    >>> import fastact
    >>> fastact.get_num_threads() >= 1
    True
    """
    return compiled.settled_threads()


def from_environment(environment: Any) -> int:
    """The number that the environment asks for, 0 if none.

    Raises
    ------
    ValueError
        If FASTACT_NUM_THREADS is not a number from 1. What is wrong in the variables of others is warned of and passed over.
    """
    for variable in VARIABLES:
        value = environment.get(variable, "").strip()
        if not value:
            continue
        first = value.split(",")[0].strip()  # OpenMP takes a list, a number for each level of nesting
        if first.isdecimal() and int(first) >= 1:
            return min(int(first), MOST)
        message = f"{variable} must be a number of threads from 1, not {value!r}"
        if variable == VARIABLES[0]:
            raise ValueError(message)
        warnings.warn(f"{message}; fastact passes it over", RuntimeWarning, stacklevel=2)
    return 0


def quota(root: Path = Path("/")) -> int:
    """The cores that the process's control groups (Linux, version 1 or 2) leave it, rounded up; 0: no limit is known.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    found = []
    for group in groups:
        _, _, rest = group.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            found += [_version2(folder) for folder in _ancestors(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                found += [_version1(folder) for folder in _ancestors(root / "sys/fs/cgroup" / mount, path)]
    return min((cores for cores in found if cores), default=0)


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it; inside a container the mount is often the group itself, and the path leads nowhere."""
    relative = PurePosixPath(path.lstrip("/"))
    for part in (relative, *relative.parents):
        yield mount / part


def _version2(folder: Path) -> int:
    try:
        allowed, period = (folder / "cpu.max").read_text(encoding="utf-8").split()[:2]
        return 0 if allowed == "max" else _cores(int(allowed), int(period))
    except (OSError, ValueError):
        return 0


def _version1(folder: Path) -> int:
    try:
        allowed, period = (int((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")) for name in ("quota", "period"))
        return _cores(allowed, period)
    except (OSError, ValueError):
        return 0


def _cores(allowed: int, period: int) -> int:
    return -(-allowed // period) if allowed > 0 and period > 0 else 0


# ---------------------------------------------------------------- threadpoolctl


def _register(module: Any) -> None:
    """Make us known to threadpoolctl: `threadpool_limits` limits us, too, and `threadpool_info` lists us."""

    class Controller(module.LibController):  # type: ignore[misc]
        user_api = internal_api = "fastact"
        filename_prefixes = ("compiled.",)  # of the extension module; the symbols tell it from others of that name
        check_symbols = ("fastact_get_num_threads", "fastact_set_num_threads")

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(max(1, num_threads))

        def get_version(self) -> str:
            from . import __version__

            return __version__

        def set_additional_attributes(self) -> None:
            self.instruction_set = compiled.ISA

    module.register(Controller)


class _Watch:
    """Registers us when threadpoolctl is imported, which may be never: nothing is imported for its sake."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "threadpoolctl":
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not cls]
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = getattr(spec, "loader", None)
        if loader is None:
            return None  # others may know where it is
        load = loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            if hasattr(module, "register"):  # from 3.2 on
                _register(module)

        loader.exec_module = exec_module
        return spec


def _watch() -> None:
    there = sys.modules.get("threadpoolctl")
    if there is None:
        sys.meta_path.insert(0, _Watch)
    elif hasattr(there, "register"):
        _register(there)


compiled.set_num_threads(from_environment(os.environ))
_watch()
