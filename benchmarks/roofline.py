"""What the execution ports allow a compiled loop, from its own instructions: cycles a vector, for benchmarks/cpu.py.

The loop is found in the module by its address and disassembled with objdump; of its backward branches the one around most stores is
the loop that matters. Each instruction occupies one of some ports for a number of cycles, and no schedule can be faster than the
busiest set of ports. Latencies, dependences and the front end's finer points are left out: the figure is a bound, not a forecast.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

#: Classes of instructions, by the pattern of their names.
CLASSES = {
    "fma, mul": r"vf(n)?m(add|sub)\w*|vmul[ps][sd]",
    "add": r"v(add|sub)[ps][sd]",
    "min, max": r"v(min|max)[ps][sd]",
    "round": r"vrndscale\w*|vround\w*|vreduce\w*",
    "convert": r"vcvt\w*",
    "compare": r"vcmp\w*|vpcmp\w*|vptestn?m\w*|vfpclass\w*",
    "divide": r"vdiv[ps][sd]",
    "root": r"vsqrt[ps][sd]",
    "scale": r"vscalef\w*",
    "exponent": r"vgetexp\w*|vgetmant\w*|vrcp14\w*|vrsqrt14\w*|vfixupimm\w*",
    "shift": r"vps(ll|rl|ra)\w*|vpro[lr]\w*",
    "shuffle": r"v(perm|shuf|pshuf|unpck|punpck|pack|extract|insert|align|palign|pmovsx|pmovzx)\w*|vpmov(dw|qd|wb)",
    "logic, whole numbers": r"v(p?and|p?or|p?xor|p?andn|pternlog|padd|psub|pmin|pmax|pabs|pblend|blend)\w*",
}
STORE = re.compile(r"v?mov[a-z0-9]*\s+%[xyz]mm\d+,[^%]*\(")
MEMORY = re.compile(r"[^,\s]*\(%[^)]*\)")


@dataclass(frozen=True)
class Machine:
    """Ports, and the cycles that instructions occupy one of them, by class, for vectors of 16 or 32 bytes and of 64."""

    name: str
    source: str
    ports: dict[str, str]
    cycles: dict[int, dict[str, float]]  #: exceptions from 1; "load" and "store" occupy units of their own
    divide: dict[tuple[str, int], float]  #: the divider, by class and bytes: in float32, and in float64
    divide64: dict[tuple[str, int], float]
    dispatch: float  #: operations a cycle

    def limits(self, loop: Loop) -> dict[str, float]:
        """Cycles for a pass of the loop that each resource needs at least."""
        load: Counter[str] = Counter()
        divider = 0.0
        for (kind, width, double), number in loop.classes.items():
            if kind in ("divide", "root"):
                divider += number * (self.divide64 if double else self.divide)[kind, width]
            elif kind in self.ports:
                load[self.ports[kind]] += number * self.cycles[width].get(kind, self.cycles[width]["other"])
        every = sorted({p for ports in load for p in ports})
        found = {"ports": 0.0}
        for size in range(1, len(every) + 1):
            for chosen in combinations(every, size):
                busy = sum(n for ports, n in load.items() if set(ports) <= set(chosen))
                found["ports"] = max(found["ports"], busy / size)
        found["divider"] = divider
        found["loads"] = sum(n * self.cycles[w]["load"] for w, n in loop.loads.items())
        found["stores"] = sum(n * self.cycles[w]["store"] for w, n in loop.stores.items())
        found["dispatch"] = loop.instructions / self.dispatch
        return found


_ZEN = {
    "fma, mul": "01", "compare": "01", "exponent": "01", "min, max": "23", "add": "23", "round": "23", "convert": "23", "shift": "23",
    "scale": "23", "shuffle": "12", "logic, whole numbers": "0123",
}  # fmt: skip
ZEN4 = Machine(
    "AMD Zen 4",
    "AMD, Software Optimization Guide for the AMD Zen4 Microarchitecture (publication 57647), and uops.info; checked here instruction by"
    " instruction: four pipes of 256 bits, 512-bit operations take two cycles of one; fma and mul on two of them, add on the other two",
    _ZEN,
    {
        16: {"other": 1, "load": 0.5, "store": 1, "scale": 2},
        32: {"other": 1, "load": 0.5, "store": 1, "scale": 2},
        64: {"other": 2, "load": 1, "store": 2, "scale": 4},
    },
    {("divide", 16): 3, ("divide", 32): 3, ("divide", 64): 6, ("root", 16): 5, ("root", 32): 5, ("root", 64): 10},
    {("divide", 16): 5, ("divide", 32): 5, ("divide", 64): 9, ("root", 16): 8, ("root", 32): 8, ("root", 64): 16},
    6,
)


def machine() -> Machine | None:
    """The model of this processor, None if there is none."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    facts = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    family, model = int(facts.get("cpu family", 0)), int(facts.get("model", 0))
    zen4 = facts.get("vendor_id") == "AuthenticAMD" and family == 25 and (0x10 <= model <= 0x1F or model >= 0x60)
    return ZEN4 if zen4 else None


@dataclass(frozen=True)
class Loop:
    """One pass of a loop.

    Attributes
    ----------
    classes : Counter
        Instructions by class, bytes of the vector, and whether they are of float64.
    loads, stores : Counter
        Of vectors, by bytes; also what is put aside on the stack.
    vectors : int
        How many results are stored.
    instructions : int
        All of them.
    """

    classes: Counter[tuple[str, int, bool]]
    loads: Counter[int]
    stores: Counter[int]
    vectors: int
    instructions: int

    @property
    def work(self) -> int:
        """Instructions that compute."""
        return self.classes.total()

    def summary(self) -> str:
        """Instructions a vector by class, to read."""
        counts: Counter[str] = Counter()
        for (kind, _, _), n in self.classes.items():
            counts[kind] += n
        counts["load"], counts["store"] = self.loads.total(), self.stores.total()
        rest = self.instructions - sum(n for kind, n in counts.items() if kind != "load")  # most loads are operands of others
        return ", ".join(f"{n / self.vectors:.3g} {kind}" for kind, n in [*counts.most_common(), ("other", max(0, rest))] if n)


def disassembled(module: Path, place: int) -> Iterator[tuple[int, str]]:
    """Addresses and instructions of the function that begins at `place`."""
    options = ["-d", "--no-show-raw-insn", f"--start-address={place:#x}", f"--stop-address={place + 65536:#x}"]
    text = subprocess.run(["objdump", *options, str(module)], capture_output=True, text=True, check=True).stdout
    function = text.partition("Disassembly of section")[2].partition(">:\n")[2].partition("\n\n")[0]
    for address, instruction in re.findall(r"^\s*([0-9a-f]+):\s+(.+?)\s*(?:#.*)?$", function, re.MULTILINE):
        yield int(address, 16), instruction


def hottest(module: Path, place: int) -> Loop | None:
    """Of the loops in that function the one that computes most and stores, rather than one around it; without non-temporal stores if
    there are both.
    """
    code = list(disassembled(module, place))
    frame = "rsp|rbp" if any(text == "mov    %rsp,%rbp" for _, text in code) else "rsp"
    index = {at: i for i, (at, _) in enumerate(code)}
    found: list[tuple[int, int, Loop, bool]] = []
    for end, (_, instruction) in enumerate(code):
        target = re.match(r"j\w+\s+([0-9a-f]+)", instruction)
        begin = index.get(int(target[1], 16)) if target else None
        if begin is not None and begin <= end:
            body = [text for _, text in code[begin : end + 1]]
            found.append((begin, end, read(body, frame), any("vmovnt" in text for text in body)))
    found = [f for f in found if f[2].vectors]
    inner = [f for f in found if not any(g != f and f[0] <= g[0] and g[1] <= f[1] and 2 * g[2].work >= f[2].work for g in found)]
    return max(inner, key=lambda f: (not f[3], f[2].work))[2] if inner else None


def read(body: list[str], frame: str) -> Loop:
    """The instructions of a loop, sorted; what it stores through the registers `frame` is put aside, not a result."""
    classes: Counter[tuple[str, int, bool]] = Counter()
    loads: Counter[int] = Counter()
    stores: Counter[int] = Counter()
    vectors = 0
    for text in body:
        name = text.split()[0]
        registers = re.findall(r"%([xyz])mm", text)
        if not registers or not name.startswith("v"):
            continue
        width = {"x": 16, "y": 32, "z": 64}[max(registers)]
        if STORE.match(text):
            stores[width] += 1
            vectors += not re.search(rf"\(%({frame})\b", text)
            continue
        if MEMORY.search(text):
            loads[width] += 1
        for kind, pattern in CLASSES.items():
            if re.fullmatch(pattern, name):
                classes[kind, width, name.endswith(("pd", "sd"))] += 1
                break
        else:
            if "{%k" in text:  # a move under a mask is a selection
                classes["logic, whole numbers", width, False] += 1
    return Loop(classes, loads, stores, vectors, len(body))
