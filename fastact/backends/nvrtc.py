"""NVRTC, NVIDIA's run-time compiler, called directly: CUDA text in, a cubin out. No headers and no GPU are needed.

CuPy has an NVRTC of its own but always appends ``-ftz=true``, which would flush subnormal results to zero; hence this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

#: What keeps the bits those of the CPU: no flush to zero, no contraction, IEEE division and square root.
OPTIONS = ("-std=c++17", "-ftz=false", "-fmad=false", "-prec-div=true", "-prec-sqrt=true")
INSTALL = "pip install nvidia-cuda-nvrtc (nvidia-cuda-nvrtc-cu12 for CUDA 12)"


class NvrtcError(RuntimeError):
    """NVRTC is missing, does not know the device, or rejects the text."""


def candidates() -> Iterator[str]:
    """Where libnvrtc may be, best first: NVIDIA's wheels, the toolkit named by the environment, the loader's path, the usual place."""
    spec = importlib.util.find_spec("nvidia")  # a namespace that NVIDIA's wheels share
    folders = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    toolkits = [Path(os.environ[v]) for v in ("CUDA_PATH", "CUDA_HOME") if os.environ.get(v)]
    wheels = [p for f in folders for p in sorted(f.glob("*/lib/libnvrtc.so.*"), reverse=True)]
    yield from map(str, wheels)
    for toolkit in toolkits:
        yield from map(str, _in_toolkit(toolkit))
    named = ctypes.util.find_library("nvrtc")
    if named:
        yield named
    yield from map(str, _in_toolkit(Path("/usr/local/cuda")))


def _in_toolkit(folder: Path) -> list[Path]:
    return [p for lib in ("lib64", "lib", "targets/x86_64-linux/lib") for p in sorted((folder / lib).glob("libnvrtc.so.*"), reverse=True)]


@functools.cache
def identity(driver: int) -> str:
    """What tells the NVRTC that `load` would find from others, without loading it; empty if there is none."""
    found = []
    for path in candidates():
        with contextlib.suppress(OSError):
            facts = os.stat(path)
            found.append(f"{path} {facts.st_size} {facts.st_mtime_ns}")
        if found:
            break  # what is looked for last takes long to find
    else:
        found += candidates()
    return "\n".join([*found, f"driver {driver // 1000}"]) if found else ""


class Nvrtc:
    """One libnvrtc.

    Parameters
    ----------
    path
        Of the shared library, or its name.
    """

    def __init__(self, path: str) -> None:
        self.path, self._lib = path, ctypes.CDLL(path)
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = (major.value, minor.value)

    def __repr__(self) -> str:
        return f"NVRTC {self.version[0]}.{self.version[1]} ({self.path})"

    @functools.cached_property
    def architectures(self) -> list[int]:
        """The compute capabilities it compiles for, as 90 for 9.0."""
        count = ctypes.c_int()
        self._check(self._lib.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self._lib.nvrtcGetSupportedArchs(found))
        return sorted(found)

    def target(self, capability: int) -> str:
        """The ``-arch`` for a device: its own, else one whose cubin it runs too, else PTX for the driver to finish.

        Raises
        ------
        NvrtcError
            If the device is older than all that this NVRTC knows.
        """
        older = [a for a in self.architectures if a <= capability]
        if not older:
            raise NvrtcError(
                f"{self!r} compiles for compute capability {self.architectures[0] / 10} and later, the device has {capability / 10}: "
                "install the NVRTC of an older CUDA, as nvidia-cuda-nvrtc-cu12"
            )
        best = older[-1]
        return f"sm_{best}" if best // 10 == capability // 10 else f"compute_{best}"

    def compile(self, text: str, target: str, name: str = "fastact.cu") -> bytes:
        """Compile CUDA text.

        Parameters
        ----------
        text
            The whole source; nothing is included from elsewhere.
        target
            ``sm_90`` gives a cubin, ``compute_90`` gives PTX.
        name
            Stands in the compiler's messages.

        Returns
        -------
        bytes
            The cubin or the PTX, for the driver to load.

        Raises
        ------
        NvrtcError
            With the compiler's log.
        """
        lib, program = self._lib, ctypes.c_void_p()
        options = [o.encode() for o in (*OPTIONS, f"-arch={target}")]
        self._check(lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None))
        try:
            failed = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            if failed:
                log = self._bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
                raise NvrtcError(f"{self!r} does not compile {name} for {target}: {self._reason(failed)}\n{log}")
            return self._bytes(program, "CUBIN") if target.startswith("sm_") else self._bytes(program, "PTX").rstrip(b"\0")
        finally:
            lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _reason(self, code: int) -> str:
        return str(self._lib.nvrtcGetErrorString(code).decode())

    def _check(self, code: int) -> None:
        if code:
            raise NvrtcError(f"{self.path}: {self._reason(code)}")


@functools.cache
def load(driver: int | None = None) -> Nvrtc:
    """The NVRTC to use.

    Parameters
    ----------
    driver
        The CUDA version that the driver knows, as 13000: an NVRTC of a later major version makes cubins that it may not load, so
        such a one is taken only where there is no other.

    Raises
    ------
    NvrtcError
        If none is found or none loads.
    """
    found, problems = [], []
    for path in dict.fromkeys(candidates()):
        try:
            found.append(Nvrtc(path))
        except (OSError, NvrtcError) as problem:
            problems.append(str(problem))
            continue
        if driver is None or found[-1].version[0] <= driver // 1000:
            return found[-1]
    if not found:
        raise NvrtcError(f"libnvrtc is not there: {INSTALL}" + "".join(f"\n  tried: {p}" for p in problems))
    return found[0]
