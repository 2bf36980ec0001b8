"""The memory of large results: kept when an array dies, and used again for the next result.

What a fresh result of many MiB costs is not arithmetic but page faults. Results of 1 MiB and more therefore own memory that came from
a pool (`kernels/cpu/memory.hpp`) through NumPy's memory handler; they are arrays like any other. The pool is of this process alone,
and for NumPy arrays; CuPy has its own.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .kernels.cpu import compiled

#: What the pool keeps at most, unless told otherwise: enough for a handful of results of the largest sizes that programs make in a loop,
#: little where memory is. What it keeps nobody else can use, so it is a bound on what politeness allows, not on what speed would like.
MOST = 1 << 30
SHARE = 8


@dataclass(frozen=True)
class PoolStats:
    """What `pool_stats` tells.

    Attributes
    ----------
    used_bytes, used_blocks
        In arrays that are alive.
    free_bytes, free_blocks
        Waiting to be used again.
    total_bytes
        Both.
    limit
        What may wait, in bytes; 0: the pool is off.
    reused, mapped
        How many results it has served since the process began, and how many took new memory from the system.
    """

    used_bytes: int
    free_bytes: int
    used_blocks: int
    free_blocks: int
    reused: int
    mapped: int
    limit: int

    @property
    def total_bytes(self) -> int:
        """What the process holds through the pool."""
        return self.used_bytes + self.free_bytes


def pool_stats() -> PoolStats:
    """What the pool of result memory holds, and how often it has served.

    Returns
    -------
    PoolStats
        Sizes are those of blocks: up to an eighth more than what was asked for.

    Examples
    --------
    >>> import numpy as np, fastact
    >>> x = np.ones(1 << 20, np.float32)
    >>> y = fastact.relu(x)
    >>> del y                  # its memory waits ...
    >>> y = fastact.relu(x)    # ... and is used again
    >>> fastact.pool_stats().reused > 0
    True
    """
    return PoolStats(**compiled.pool_stats(), limit=_limit)


def empty_cache() -> None:
    """Give all memory that waits to be used again back to the system. Arrays that are alive keep theirs.

    Examples
    --------
    >>> import fastact
    >>> fastact.empty_cache()
    >>> fastact.pool_stats().free_bytes
    0
    """
    compiled.trim_pool()


def set_pool_limit(limit: int | None) -> int:
    """Set how much memory may wait to be used again.

    Parameters
    ----------
    limit : int or None
        In bytes. 0 turns the pool off: results then come from NumPy's own allocator. None: the default, an eighth of the memory that
        the process may use and at most 1 GiB.

    Returns
    -------
    int
        What the limit was before.

    Notes
    -----
    The environment variable ``FASTACT_POOL`` sets it at the start: a number of bytes, ``512M``, ``2G``, or ``0``.

    Examples
    --------
    >>> import fastact
    >>> before = fastact.set_pool_limit(256 << 20)
    >>> fastact.pool_stats().limit == 256 << 20
    True
    >>> _ = fastact.set_pool_limit(before)
    """
    global _limit
    try:
        wanted = _default() if limit is None else operator.index(limit)
    except TypeError:
        raise TypeError(f"set_pool_limit: limit is a {type(limit).__name__}; it must be an int, in bytes, or None") from None
    if wanted < 0:
        raise ValueError(
            f"set_pool_limit: limit is {wanted}; it must be a number of bytes, 0 to turn the pool off, or None for the default"
        )
    before, _limit = _limit, min(wanted, (1 << 63) - 1) if compiled.HAVE_POOL else 0
    compiled.set_pool_limit(_limit)
    return before


def _default() -> int:
    """An eighth of the memory that this process may use, at most 1 GiB."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a system without
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container: cgroups, second and first version
        with contextlib.suppress(OSError, ValueError):  # not there; "max"
            found.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min([MOST, *(bytes_ // SHARE for bytes_ in found if bytes_ > 0)])


def _from_environment() -> int | None:
    text = os.environ.get("FASTACT_POOL", "").strip()
    if not text:
        return None
    found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if not found:
        raise ValueError(f"FASTACT_POOL={text!r}: it must be a number of bytes, as 1073741824, 512M or 2G, or 0 to turn the pool off")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2].upper()]


_limit = 0
set_pool_limit(_from_environment())
