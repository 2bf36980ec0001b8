"""The folders of generated code: where they are, how they are written, bounded and cleared.

``FASTACT_CACHE_DIR``, or the user's cache directory; where that cannot be written, a temporary folder of this process.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

#: What one folder may hold; beyond it, what was used longest ago goes.
LIMIT_BYTES = 256 * 2**20
LIMIT_ENTRIES = 1000


def root() -> Path:
    """The folder that all generated code lives under, which need not exist."""
    chosen = os.environ.get("FASTACT_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or "~/.cache").expanduser().absolute() / "fastact"


def folder(kind: str) -> Path:
    """The folder for one kind of code, "numba" say: created, private to the user, writable."""
    found = root() / kind
    return found if _usable(found) else _temporary() / kind


@functools.cache
def _usable(found: Path) -> bool:
    """Whether files can be written in `found`."""
    try:
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            return True
    except OSError:
        return False


@functools.cache
def _temporary() -> Path:
    made, owner = Path(tempfile.mkdtemp(prefix="fastact-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child leaves its parent's folder alone
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)
    return made


def write(path: Path, data: bytes) -> None:
    """Write `path` in one step: other processes see the old file or the new one, never half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def trim(found: Path, limit_bytes: int = LIMIT_BYTES, limit_entries: int = LIMIT_ENTRIES) -> int:
    """Remove entries of a folder until it is within the limits, those used longest ago first; returns how many went.

    An entry is all files with one stem (a module and, in ``__pycache__``, what Numba compiled from it).
    """
    entries: dict[str, list[tuple[float, int, Path]]] = {}
    for path in found.rglob("*"):
        try:
            facts = path.stat()
        except OSError:  # another process was faster
            continue
        if path.is_file():
            used = max(facts.st_mtime, facts.st_atime)
            entries.setdefault(path.name.lstrip(".").split(".")[0], []).append((used, facts.st_size, path))
    ages = {stem: max(used for used, _, _ in files) for stem, files in entries.items()}
    sizes = {stem: sum(size for _, size, _ in files) for stem, files in entries.items()}
    total, count, removed = sum(sizes.values()), len(entries), 0
    for stem in sorted(entries, key=ages.__getitem__):
        if total <= limit_bytes and count <= limit_entries:
            break
        for _, _, path in entries[stem]:
            path.unlink(missing_ok=True)
        total, count, removed = total - sizes[stem], count - 1, removed + 1
    return removed


def clear() -> int:
    """Remove all generated code; returns how many bytes were freed."""
    size = 0
    for path in root().rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    for kind in ("numba", "cuda"):  # what is ours: FASTACT_CACHE_DIR may hold other things
        shutil.rmtree(root() / kind, ignore_errors=True)
    _usable.cache_clear()
    return size
