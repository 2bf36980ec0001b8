"""How many issue slots an element takes on a GPU, for every elementwise kernel, from its machine code: no GPU is needed.

    python benchmarks/gpu_instructions.py                                   # all, as Markdown
    python benchmarks/gpu_instructions.py gelu mish --kinds float32         # some, with all their directions
    python benchmarks/gpu_instructions.py --limit 0.8                       # only what takes more than 0.8 of its budget

It needs NVRTC, as the package does, and ``nvdisasm``: of a CUDA toolkit, or the one inside the triton package.

A kernel runs at the copy's speed while its arithmetic takes no longer than its bytes. On an H100 that is a budget of issue slots an
element, by its type. What is counted is the path that an array at a multiple of 16 bytes takes through the kernel, without what stands
behind a division's or root's own check of its operands (subnormals, infinities): the shortest way from the entry through a wide store.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import importlib.util
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from fastact.backends import cupy as adapter
from fastact.backends import nvrtc
from fastact.kernels import lower

#: Issue slots for each byte that is read or written, at the copy's speed on an H100: 86 for a float32 element read and written.
SLOTS_A_BYTE = 86 / 8
KINDS = ("float32", "bfloat16", "float16", "float64")
#: Of the 64 warps that a multiprocessor holds and its 65,536 registers; a block has 16 warps.
WARPS, REGISTERS, BLOCK_WARPS = 64, 65536, adapter.THREADS // 32
#: Slots for which an instruction holds its unit, where that is more than the one in which it is issued. Units work side by side.
UNITS = {
    "fp64": (re.compile(r"D(ADD|MUL|FMA|SETP|MNMX)"), 2),
    "conversion": (re.compile(r"(F2F|F2I|I2F|F2IP|FRND)\S*64"), 8),
    "special": (re.compile(r"MUFU|F2F|F2I|I2F|FRND|POPC|FLO"), 8),
    "integer": (re.compile(r"FSETP|FSEL|FMNMX|FCHK|ISETP|IADD|IMNMX|LOP3|PLOP3|SHF|SEL|LEA|PRMT|VIADD|IABS|F2FP|MOV|P2R|R2P|VIMNMX"), 2),
}
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?) ;")
WIDE_STORE = re.compile(r"\bST(G)?\.E\S*\.128")


def disassembler() -> str | None:
    """The path of ``nvdisasm``, or None."""
    folders = [Path(os.environ[name]) / "bin" for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    folders += [Path("/usr/local/cuda/bin")]
    triton = importlib.util.find_spec("triton")
    if triton and triton.origin:
        folders += [Path(triton.origin).parent / "backends" / "nvidia" / "bin"]
    return shutil.which("nvdisasm") or next((str(f / "nvdisasm") for f in folders if (f / "nvdisasm").is_file()), None)


@dataclass(frozen=True)
class Count:
    """What one kernel costs."""

    slots: float  #: an element, of the busiest unit or of the issue itself
    issued: float  #: instructions an element
    special: float  #: of them to the special-function unit, reciprocals and roots
    registers: int
    spilled: bool  #: whether anything is kept in local memory
    divergent: int  #: branches on the counted path which threads may take differently

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's warps that its registers allow."""
        warps = REGISTERS // (-(-self.registers // 8) * 8 * 32) // BLOCK_WARPS * BLOCK_WARPS
        return min(1.0, warps / WARPS)


def registers(image: bytes) -> int:
    """How many registers the kernel of a cubin takes: an attribute of it in the section ``.nv.info``, EIATTR_REGCOUNT."""
    at = image.find(b"\x04\x2f\x08\x00")
    if at < 0:
        raise ValueError("the cubin does not tell its kernel's registers")
    return int(struct.unpack_from("<I", image, at + 8)[0])


def sass(image: bytes, tool: str) -> str:
    """The machine code of a cubin, as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(image)
        return subprocess.run([tool, "-c", path], capture_output=True, text=True, check=True).stdout


def blocks(text: str) -> dict[str, tuple[list[str], list[str]]]:
    """The basic blocks of a kernel by label: instructions, and the labels of where they go on."""
    body = text.partition(".text.elementwise:")[2].partition("\t.type")[0]
    found: dict[str, tuple[list[str], list[str]]] = {"": ([], [])}
    label, fresh = "", 0
    for line in body.splitlines():
        if mark := re.match(r"(\.L_x_\d+):", line):
            found[label][1].append(mark[1])
            label = mark[1]
            found[label] = ([], [])
        elif instruction := INSTRUCTION.search(line):
            what, (held, after) = instruction[2], found[label]
            held.append(what)
            target = re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", what)
            always = not what.startswith("@") and (target is None or re.search(r"BRA(\.U)? `", what) is not None)
            leaves = re.search(r"\b(EXIT|RET|BRA)\b", what) is not None
            if leaves:
                fresh += 1
                follow = f"after {fresh}"
                after += ([target[1]] if target else []) + [follow] * (not always)
                label = follow
                found[label] = ([], [])
    return found


def counted(graph: dict[str, tuple[list[str], list[str]]]) -> list[str]:
    """The instructions of the shortest way from the entry through a wide store to the end, without calls."""
    calls = {label for label, (held, _) in graph.items() if any("CALL" in i for i in held)}

    def shortest(start: str) -> dict[str, list[str]]:
        """By label the blocks on the way from `start` to there."""
        ways, todo = {}, [(0, [start])]
        while todo:
            length, way = heapq.heappop(todo)
            if way[-1] in ways or way[-1] in calls:
                continue
            ways[way[-1]] = way
            held, after = graph[way[-1]]
            for label in after:
                heapq.heappush(todo, (length + len(held), [*way, label]))
        return ways

    def size(way: list[str]) -> int:
        return sum(len(graph[label][0]) for label in way)

    found = []
    for label, way in shortest("").items():
        if any(WIDE_STORE.search(i) for i in graph[label][0]):
            ends = [w for last, w in shortest(label).items() if not graph[last][1]]
            found.append(way + min(ends, key=size)[1:])
    return [i for label in min(found, key=size) for i in graph[label][0]]


def count(image: bytes, kind: str, tool: str) -> Count:
    """What the kernel in a cubin costs an element of `kind`."""
    text = sass(image, tool)
    lanes = 16 // adapter.ITEMSIZE[kind]
    names = [re.sub(r"^@!?U?P\w+ ", "", i).split()[0] for i in counted(blocks(text))]
    held = {unit: sum(cost for n in names if pattern.match(n)) for unit, (pattern, cost) in UNITS.items()}
    double = sum(1 for n in names if UNITS["fp64"][0].match(n))
    slow = sum(1 for n in names if UNITS["conversion"][0].match(n))
    issue = len(names) + double + 7 * slow
    return Count(
        slots=max(issue, *held.values()) / lanes,
        issued=len(names) / lanes,
        special=sum(1 for n in names if n.startswith("MUFU")) / lanes,
        registers=registers(image),
        spilled=re.search(r"\b(STL|LDL)\b", text) is not None,
        divergent=sum(n.startswith("BRA") for n in names),
    )


@functools.cache
def program() -> lower.Program:
    """The package's definitions."""
    return lower.parse()


def measure(name: str, kind: str, wide: bool, target: str = "sm_90") -> Count:
    """What an operation's kernel costs."""
    tool = disassembler()
    if tool is None:
        raise SystemExit("nvdisasm is not there: install a CUDA toolkit, or the triton package, which has one inside")
    operation = program().operations[name]
    text = adapter.unit([name], "elementwise.cuh", [adapter.elementwise_entry(operation, kind, wide)])
    return count(nvrtc.load().compile(text, target), kind, tool)


def budget(operation: lower.Operation, kind: str, wide: bool) -> float:
    """The slots an element may take at the copy's speed: by the bytes that are read and written for it."""
    own = 8 if wide else 4  # of terms that are still to be summed
    moved = (operation.arrays + operation.stored) * adapter.ITEMSIZE[kind] + (operation.outputs - operation.stored) * own
    return SLOTS_A_BYTE * moved


def operations(names: Sequence[str] = (), directions: Sequence[str] = lower.DIRECTIONS) -> list[lower.Operation]:
    """The elementwise operations, or those of some activations."""
    found = program().operations.values()
    return [o for o in found if o.direction in directions and (not names or o.activation.name in names)]


BEYOND = """# What arithmetic keeps below the copy's speed on a GPU

Written by `python benchmarks/gpu_instructions.py --write docs/gpu_instructions.md` from machine code for {target}
(NVRTC {version[0]}.{version[1]}); nothing here is timed.

An H100 has issue slots for 86 instructions while it reads and writes a float32 element at the speed of its own copy, for 43 with a half,
and half as many again where there is one array more. Every elementwise kernel that is not in this table takes less. A share of 1.25 means
that arithmetic alone takes a quarter longer than the copy would; accuracy "fast", float64 (whose arithmetic has half the rate) left out.
"""
HEAD = """| operation | type | slots | of budget | instructions | special | registers | occupancy |
|---|---|---|---|---|---|---|---|"""


def rows(
    names: Sequence[str] = (),
    kinds: Sequence[str] = KINDS,
    directions: Sequence[str] = lower.DIRECTIONS[:4],
    precise: bool = False,
    limit: float = 0.0,
    target: str = "sm_90",
) -> Iterator[str]:
    """The costs as rows of a Markdown table, below `HEAD`.

    Parameters
    ----------
    names, directions
        Of what: activations (all) and directions.
    kinds
        How elements are stored.
    precise
        Whether accuracy "precise", which is to compute in float64, instead of "fast".
    limit
        Show only what takes more than this share of its budget.
    target
        The device, as NVRTC has it.
    """
    for o in operations(names, directions):
        for kind in kinds:
            wide = precise or kind == "float64"
            if ("float64" if wide else "float32") not in o.types:
                continue
            c, most = measure(o.function, kind, wide, target), budget(o, kind, wide)
            if c.slots > limit * most or c.spilled:
                yield (
                    f"| {o.function} | {kind} | {c.slots:.0f} | {c.slots / most:.2f} | {c.issued:.0f} | {c.special:.1f} "
                    f"| {c.registers}{' (spills)' * c.spilled} | {c.occupancy:.2f} |"
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="activations (default: all)")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, metavar="TYPE", help=", ".join(KINDS))
    parser.add_argument("--directions", nargs="+", default=lower.DIRECTIONS[:4], choices=lower.DIRECTIONS, metavar="DIRECTION")
    parser.add_argument("--precise", action="store_true", help="accuracy 'precise' instead of 'fast'")
    parser.add_argument("--limit", type=float, default=0.0, help="only what takes more than this share of its budget")
    parser.add_argument("--target", default="sm_90", help="the device (sm_90)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write what float32 and halves take beyond their budget, for the docs")
    given = parser.parse_args()
    if given.write:
        found = list(tqdm(rows(kinds=KINDS[:3], limit=1.0), unit=" beyond", disable=None))
        given.write.write_text("\n".join([BEYOND.format(target=given.target, version=nvrtc.load().version), HEAD, *found, ""]))
        return
    print(HEAD)
    for row in rows(given.names, given.kinds, given.directions, given.precise, given.limit, given.target):
        print(row, flush=True)


if __name__ == "__main__":
    main()
