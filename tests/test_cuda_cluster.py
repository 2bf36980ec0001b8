"""Clusters and bulk copies (kernels/cuda/cluster.cuh): the device's text compiles, the host's stand-in judges that the rules are kept."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from cuda_host import COMPILER, build, launch

from fastact.backends import cupy as adapter
from fastact.backends import nvrtc

#: Each block of a cluster of 4 brings its part of 256 numbers to shared memory, sums it, and gives its sum to all blocks.
BODY = """
namespace fastact {
struct Shared {
    Arrival arrival;
    float sums[4];
    alignas(16) float part[64];
};
extern "C" __global__ void __cluster_dims__(4, 1, 1) __launch_bounds__(64) summed(const float *x, float *out) {
    Shared &own = *reinterpret_cast<Shared *>(shared_memory());
    const int rank = cluster_rank(), t = threadIdx.x;
    if (t == 0) {
        prepare(&own.arrival, 1);
        expect(&own.arrival, sizeof own.part);
        copy_to_shared(own.part, x + blockIdx.x * 64, sizeof own.part, &own.arrival);
    }
    __syncthreads();
    cluster_announce();
    wait(&own.arrival);
    float sum = own.part[t % 32] + own.part[t % 32 + 32];
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    cluster_wait();
    if (t < 4) give(&own.sums[rank], t, sum);
    cluster_arrive();
    cluster_wait();
    out[blockIdx.x * 64 + t] = own.sums[0] + own.sums[1] + own.sums[2] + own.sums[3];
}
}
"""
SHARED = 16 + 16 + 256


def text(body: str) -> str:
    return "\n".join(["namespace fastact {", adapter._file("intrinsics.cuh"), adapter._file("cluster.cuh"), "}", body])


def run(folder: Path, body: str, descending: bool = False, shared: int = SHARED) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel gives for two clusters, and what it should give."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    build(text(body), folder / "cluster.so")
    library = ctypes.CDLL(str(folder / "cluster.so"))
    library.last_first(int(descending))
    room = np.zeros(516, np.float32)
    x = room[room.ctypes.data % 16 // 4 and 4 - room.ctypes.data % 16 // 4 :][:512]
    x[:], out = np.arange(512), np.full(512, np.nan, np.float32)
    launch(library, "summed", 8, 64, (x.ctypes.data, out.ctypes.data), shared)
    return out, np.repeat(x.reshape(2, 256).sum(1), 256)


@pytest.mark.parametrize("descending", [False, True])
def test_a_sum(tmp_path: Path, descending: bool) -> None:
    found, wanted = run(tmp_path, BODY, descending)
    assert (found == wanted).all()


@pytest.mark.parametrize(
    ("rule", "replacement"),
    [
        ("    wait(&own.arrival);\n", ""),  # what was copied is read too early
        ("    cluster_announce();\n", ""),  # a wait without an arrival
        ("    cluster_arrive();\n    cluster_wait();\n", ""),  # what others give is read too early
        ("expect(&own.arrival, sizeof own.part)", "expect(&own.arrival, sizeof own.part + 16)"),  # waits for ever
        ("expect(&own.arrival, sizeof own.part)", "expect(&own.arrival, sizeof own.part - 16)"),
        ("x + blockIdx.x * 64,", "x + 1 + blockIdx.x * 64,"),  # off the border of 16 bytes
        ("    __syncthreads();\n", "    if (t < 32) __syncthreads();\n"),
        ("    cluster_announce();\n", "    cluster_announce();\n    cluster_wait();\n"),
    ],
)
def test_broken_rules_are_seen(tmp_path: Path, rule: str, replacement: str) -> None:
    """What would hang or give wrong numbers on a device, now and then, fails here every time."""
    assert rule in BODY
    with pytest.raises(AssertionError):  # noqa: PT012
        found, wanted = run(tmp_path, BODY.replace(rule, replacement, 1))
        assert (found == wanted).all()


@pytest.mark.parametrize("target", ["sm_90", "sm_100", "sm_120"])
def test_the_device_text_compiles(target: str) -> None:
    try:
        compiler = nvrtc.load()
    except nvrtc.NvrtcError as problem:
        pytest.skip(str(problem))
    assert compiler.compile(text(BODY), target)
