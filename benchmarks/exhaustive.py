"""Every float32 there is, against the float64 oracle: the worst error in ULP of each function, and where.

    python benchmarks/exhaustive.py gelu silu --direction derivative --accuracy precise
    python benchmarks/exhaustive.py --step 257 --jobs 4

One function and direction in full takes some minutes a core, most of it in the oracle. The exit status is 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import fastact
from fastact.kernels.definitions import DEFINITIONS
from fastact.reference import REFERENCE
from fastact.ulp import AT_ROOT, BOUNDS, Worst, float32_bit_patterns, worst, wrong_zeros

PATTERNS = 2**32
CHUNK = 2**22  # patterns at a time: some 200 MB with the oracle's temporaries


class Task(NamedTuple):
    """One chunk of one function's inputs."""

    name: str
    direction: str
    accuracy: str
    backend: str
    offset: int
    stop: int
    step: int


def parameters(name: str) -> tuple[float, ...]:
    """The defaults as float32 sees them; 1/4 for a parameter that has none."""
    return tuple(float(np.float32(0.25 if p is None else p)) for p in DEFINITIONS[name].params.values())


def check(task: Task) -> tuple[Worst, Worst, int]:
    """The worst error, the worst next to a root, the number of zeros with a wrong sign."""
    x = float32_bit_patterns(task.step, task.offset, task.stop)
    params, function = parameters(task.name), getattr(fastact, task.name)
    call = function if task.direction == "value" else function.derivative
    result = call(x, *params, backend=task.backend, accuracy=task.accuracy)
    exact = getattr(REFERENCE[task.name], task.direction)(x, *params)
    roots = DEFINITIONS[task.name].roots.get(task.direction, ())
    return *worst(x, result, exact, roots), wrong_zeros(result, exact).size


def tasks(names: list[str], directions: list[str], accuracies: list[str], backend: str, step: int) -> Iterator[list[Task]]:
    """The chunks, by (name, direction, accuracy)."""
    span = CHUNK * step
    for name in names:
        for direction in directions:
            for accuracy in accuracies:
                yield [Task(name, direction, accuracy, backend, o, min(o + span, PATTERNS), step) for o in range(0, PATTERNS, span)]


def run(groups: list[list[Task]], jobs: int) -> bool:
    """Do all tasks, print a row a group; True if every bound holds."""
    good = True
    progress = tqdm(total=sum(-(-(t.stop - t.offset) // t.step) for g in groups for t in g), unit="x", unit_scale=True, smoothing=0.05)
    with progress, ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        progress.write(f"{'function':<14}{'direction':<12}{'accuracy':<9}{'ULP':>8}  {'at x':<24}{'root, 2^-24':>12}{'wrong zeros':>13}")
        for group in groups:
            name, direction, accuracy = group[0][:3]
            progress.set_description(f"{name} {direction} {accuracy}")
            largest, root, zeros = Worst(), Worst(), 0
            for task, found in zip(group, pool.map(check, group) if jobs > 1 else map(check, group), strict=True):
                largest, root = max(largest, found[0], key=lambda w: w.error), max(root, found[1], key=lambda w: w.error)
                zeros += found[2]
                progress.update(-(-(task.stop - task.offset) // task.step))
            ok = largest.error <= BOUNDS[accuracy] and root.error <= AT_ROOT and not zeros
            good &= ok
            progress.write(
                f"{name:<14}{direction:<12}{accuracy:<9}{largest.error:>8.4f}  {largest.x.hex():<24}{root.error:>12.4f}{zeros:>13}"
                + ("" if ok else f"  BROKEN: {largest}; {root}")
            )
    return good


def main() -> int:
    """The command line."""
    elementwise = [name for name, d in DEFINITIONS.items() if d.family == "elementwise"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help="functions; all by default")
    parser.add_argument("--direction", choices=("value", "derivative", "both"), default="both")
    parser.add_argument("--accuracy", choices=("fast", "precise", "both"), default="fast")
    parser.add_argument("--backend", default="cython")
    parser.add_argument("--step", type=int, default=1, help="take every step-th bit pattern; 1, the default, takes all")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(elementwise):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(elementwise)}")
    directions = ["value", "derivative"] if options.direction == "both" else [options.direction]
    accuracies = list(BOUNDS) if options.accuracy == "both" else [options.accuracy]
    groups = list(tasks(options.names or elementwise, directions, accuracies, options.backend, options.step))
    return 0 if run(groups, options.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
