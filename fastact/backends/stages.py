"""The texts of CUDA pipelines: what is done with an element, and how kernels go through arrays of any strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: As in pipeline.cuh: threads of a block.
TEAM = 256
#: Blocks among which a sum is spread, about; the same on every device, for the order of additions follows from it.
BLOCKS = 2048


def working_type(kind: str, wide: bool) -> str:
    """The C++ type that a kernel computes in."""
    return "double" if wide or kind == "float64" else "float"


@dataclass(frozen=True)
class Stage:
    """What a pipeline does with one element: C++ from which a kernel is made. `F` is the working type, ``defs`` has the definitions."""

    functions: tuple[str, ...]  #: lowered definitions that are called
    takes: tuple[tuple[str, str], ...]  #: arrays read, and how they are stored ("" as x is): in the text the name is the element
    numbers: tuple[str, ...]  #: passed by value, in the working type
    body: str  #: statements
    gives: tuple[tuple[str, str, str], ...] = ()  #: arrays written, how they are stored ("" as x is), and the expression
    sums: tuple[str, ...] = ()  #: expressions that are summed, in float64
    result: str = ""  #: how sums are stored ("" as x is)
    places: bool = False  #: whether the text uses `index`, the element's place in C order, `seed` and `threshold`

    @property
    def arrays(self) -> tuple[str, ...]:
        """All arrays by name, those written last."""
        return (*(name for name, _ in self.takes), *(name for name, _, _ in self.gives))


#: What an element of another storage type is in C++.
OTHER = {"uint8": "unsigned char", "int64": "long long", "int32": "int"}


def stage_entries(stage: Stage, kind: str, wide: bool, kept: int, summed: int, small: bool, prefix: str = "") -> list[str]:
    """The entry points of a pipeline: `stage`, and `fold`, which adds up the sums of its chunks.

    Parameters
    ----------
    stage
        What is done.
    kind, wide
        How elements are stored, and whether they are computed in float64.
    kept, summed
        How many dimensions have a sum each, and how many are summed over.
    small
        Whether indices fit in 32 bits.
    prefix
        Of the entry points' names.
    """
    dims, index, result = kept + summed, "unsigned" if small else "long long", stage.result or kind
    views = (*stage.arrays, "index") if stage.places else stage.arrays
    takes = [f"long long size{d}" for d in range(dims)]
    takes += [f"const void *{name}_at" for name, _ in stage.takes] + [f"void *{name}_at" for name, _, _ in stage.gives]
    takes += [f"long long {name}_{d}" for name in views for d in range(dims)]
    takes += [f"{working_type(kind, wide)} {name}" for name in stage.numbers] + ["long long seed", "long long threshold"] * stage.places
    takes += [
        "double *partial",
        "void *totals",
        "long long chunk",
        "long long width",
        "long long across",
        "long long parts",
        "long long places",
    ]
    lines = [f"using F = {working_type(kind, wide)};", f"constexpr int dims = {dims};"]
    lines += [f"const {index} size[] = {{{''.join(f'static_cast<{index}>(size{d}), ' for d in range(dims))}1}};"]
    lines += [f"const Totals<{result.upper()}> to = {{partial, totals, parts, {len(stage.sums)}, places}};"]
    lines += [f"tiles<{kept}, {summed}, {len(stage.sums)}>(size, static_cast<{index}>(chunk), static_cast<int>(width), across != 0,"]
    lines += [f"    [=](const {index} *digit, double *term) {{"]
    for name in views:
        lines += [f"        const long long {name}_step[] = {{{''.join(f'{name}_{d}, ' for d in range(dims))}0}};"]
        where = f"offset_of<dims>(digit, {name}_step)"
        lines += [f"        const long long {name if name == 'index' else f'{name}_i'} = {where};"]
    for name, stored in stage.takes:
        if stored in OTHER:
            lines += [f"        const auto {name} = static_cast<const {OTHER[stored]} *>({name}_at)[{name}_i];"]
        else:
            of = (stored or kind).upper()
            element = f"static_cast<const Stored<{of}> *>({name}_at)[{name}_i]"
            lines += [f"        const F {name} = static_cast<F>(widen<{of}, {WIDENED[of]}>({element}));"]
    lines += [f"        {line}" for line in stage.body.splitlines()]
    for name, stored, text in stage.gives:
        of = (stored or kind).upper()
        lines += [f"        static_cast<Stored<{of}> *>({name}_at)[{name}_i] = narrow<{of}>({text});"]
    lines += [f"        term[{i}] = static_cast<double>({text});" for i, text in enumerate(stage.sums)]
    lines += ["        (void)term;", "    },"]
    lines += [f"    [=](int sum, {index} part, {index} place, double total) {{ to.put(to, sum, part, place, total); }});"]
    inside = "\n".join(f"    {line}" for line in lines)
    head = f'extern "C" __global__ void __launch_bounds__({TEAM}) {prefix}'
    fold = f"fold<{result.upper()}>(partial, totals, parts, places, static_cast<int>(width));"
    return [
        f"namespace fastact {{\n{head}stage({', '.join(takes)}) {{\n{inside}\n}}",
        f"{head}fold(const double *partial, void *totals, long long parts, long long places, long long width) {{\n    {fold}\n}}\n}}",
    ]


#: What the storage types widen to.
WIDENED = {"FLOAT16": "float", "BFLOAT16": "float", "FLOAT32": "float", "FLOAT64": "double"}


@dataclass(frozen=True)
class Walk:
    """How a stage goes through its elements: dimensions that lie as one are one, sizes of one are none."""

    sizes: tuple[int, ...]  #: those with a sum each, then those summed over
    steps: dict[str, tuple[int, ...]]  #: for each array its strides, in elements
    kept: int  #: how many of the sizes come first
    across: bool  #: whether neighbours in memory have sums of their own
    shape: tuple[int, ...]  #: of the sums, as they are numbered
    back: tuple[int, ...]  #: the axes that put them in C order


def walk(shape: tuple[int, ...], strides: Mapping[str, tuple[int, ...]], kept: Sequence[bool], lead: str) -> Walk:
    """Plan how a stage goes through arrays of one shape.

    Parameters
    ----------
    shape
        Of all arrays; what is broadcast has strides of 0.
    strides
        Of each array, in elements.
    kept
        For each axis whether sums have an extent along it.
    lead
        The array in whose memory order the elements are visited.
    """
    axes = sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -abs(strides[lead][d]))
    groups = []
    for wanted in (True, False):
        merged: list[tuple[int, dict[str, int]]] = []
        for d in (d for d in axes if kept[d] == wanted):
            own = {name: s[d] for name, s in strides.items()}
            if merged and all(merged[-1][1][name] == step * shape[d] for name, step in own.items()):
                merged[-1] = (merged[-1][0] * shape[d], own)
            else:
                merged.append((shape[d], own))
        groups.append(merged)
    places, rest = groups
    dims = places + rest
    order = [d for d in axes if kept[d]]
    back = sorted(range(len(order)), key=order.__getitem__)
    return Walk(
        tuple(size for size, _ in dims),
        {name: tuple(own[name] for _, own in dims) for name in strides},
        len(places),
        not axes or kept[axes[-1]],
        tuple(shape[d] for d in order),
        tuple(back),
    )


# ---------------------------------------------------------------- sums


def spread(places: int, many: int, across: bool, sums: bool) -> tuple[int, int, int]:
    """How sums are spread: the neighbouring places of a block, how many elements of a place are a chunk, and the number of chunks."""
    if not sums:
        return TEAM, many, 1
    width = min(32, power(places)) if across else 1
    width = max(width, min(TEAM, TEAM // min(TEAM, power(many))))
    rows = TEAM // width
    wanted = max(1, min(-(-many // (8 * rows)), BLOCKS // -(-places // width)))
    each = -(-many // wanted)
    chunk = -(-each // rows) * rows
    return width, chunk, -(-many // chunk)


def power(n: int) -> int:
    """The least power of two that is not less than n."""
    return 1 << max(0, n - 1).bit_length()


# ---------------------------------------------------------------- products of activations


@dataclass(frozen=True)
class Factor:
    """``function(clamp(x + bias)) + offset``, as text: what is an array or a number has the names that `Stage` is given."""

    name: str  #: of x, and what other names begin with
    function: str = ""  #: the activation; "" is the identity
    params: tuple[str, ...] = ()  #: of the activation
    learned: tuple[str, ...] = ()  #: those of them with a gradient
    bias: bool = False  #: ``<name>_bias``
    clamped: bool = False  #: to ``<name>_low`` and ``<name>_high``
    offset: bool = False  #: ``<name>_offset``
    gate: str = ""  #: the definition, if any, that gives value and slope of the function in a product of two

    @property
    def called(self) -> str:
        """How the activation is called on what is clamped."""
        return f"({', '.join([f'{self.name}_t', *self.params])})"

    def before(self) -> list[str]:
        """From x to what the activation gets."""
        x = self.name
        bias = f" + {x}_bias" if self.bias else ""
        clamp = f"clamped({x}_z, {x}_low, {x}_high)" if self.clamped else f"{x}_z"
        return [f"const F {x}_z = {x}{bias};", f"const F {x}_t = {clamp};"]

    def value(self) -> list[str]:
        """And on to the value, ``<name>_v``."""
        x = self.name
        value = f"defs::{self.function}_value{self.called}" if self.function else f"{x}_t"
        if self.gate:
            value = f"defs::{self.gate}{self.called}.a"
        return [*self.before(), f"const F {x}_v = {value}{self.shift};"]

    @property
    def shift(self) -> str:
        """The offset, added."""
        return f" + {self.name}_offset" if self.offset else ""

    @property
    def inside(self) -> str:
        """The factor that clamping gives to the slope."""
        x = self.name
        return f" * ({x}_z < {x}_low || {x}_z > {x}_high ? F(0) : F(1))" if self.clamped else ""

    def chain(self, grad: str) -> tuple[list[str], dict[str, str]]:
        """The gradient ``<name>_d`` by the activation's own chain rule, and the terms of its parameters' gradients."""
        x = self.name
        if not self.function:
            return [f"const F {x}_d = ({grad}){self.inside};"], {}
        lines = [f"const auto {x}_r = defs::{self.function}_backward({grad}, {self.called[1:]};"]
        first = f"{x}_r.a" if self.learned else f"{x}_r"
        return [*lines, f"const F {x}_d = {first}{self.inside};"], {
            p: f"{x}_r.{field}" for p, field in zip(self.learned, FIELDS[1:], strict=False)
        }


#: Of the results of a lowered function that has several.
FIELDS = "abcdefghijklmn"
DROP = "const F kept = static_cast<long long>(drawn(static_cast<unsigned long long>(seed), index)) < threshold ? keep_scale : F(0);"


def product(factors: Sequence[Factor], weight: bool, dropout: bool) -> tuple[list[str], str]:
    """The value of a product of factors, times ``weight``, some of it dropped: statements, and the expression of the result."""
    lines = [line for f in factors for line in f.value()]
    lines += [f"const F y0 = {' * '.join(f'{f.name}_v' for f in factors)};", f"const F y1 = y0{' * weight' if weight else ''};"]
    if not dropout:
        return lines, "y1"
    return [*lines, DROP, "const F y2 = kept != F(0) ? y1 * kept : F(0);"], "y2"


def product_backward(factors: Sequence[Factor], weight: bool, dropout: bool) -> tuple[list[str], dict[str, str]]:
    """The gradients of `product`: statements, and what is the gradient, or a term of one, for ``<name>``, biases, parameters, ``weight``.

    The order of operations is that of cpu/pipeline.hpp, to the bit.
    """
    lines = [DROP, "const F g0 = kept != F(0) ? grad * kept : F(0);"] if dropout else ["const F g0 = grad;"]
    lines += [f"const F g1 = g0{' * weight' if weight else ''};"]
    terms: dict[str, str] = {}
    if len(factors) == 1:
        (a,) = factors
        lines += a.value() if weight else a.before()
        terms["weight"] = f"g0 * {a.name}_v"
        more, found = a.chain("g1")
        lines, terms = lines + more, terms | found
    else:
        a, b = factors
        slopes = {}
        for f in factors:
            if f.function and not f.learned:
                x = f.name
                lines += [*f.before(), f"const auto {x}_r = defs::{f.gate or f.function + '_value_and_derivative'}{f.called};"]
                lines += [f"const F {x}_v = {x}_r.a{f.shift};", f"const F {x}_s = {x}_r.b{f.inside};"]
                slopes[x] = f"{x}_s"
            else:
                lines += f.value()
        terms["weight"] = f"(g0 * {a.name}_v) * {b.name}_v"
        for f, other in ((a, b), (b, a)):
            if f.name in slopes:
                lines += [f"const F {f.name}_d = (g1 * {other.name}_v) * {slopes[f.name]};"]
            else:
                more, found = f.chain(f"g1 * {other.name}_v")
                lines, terms = lines + more, terms | found
    for f in factors:
        terms |= {f.name: f"{f.name}_d", f"{f.name}_bias": f"{f.name}_d"}
    return lines, terms
