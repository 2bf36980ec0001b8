"""The texts of CUDA pipelines: what is done with an element, and how kernels go through arrays of any strides."""

from __future__ import annotations

import functools
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

#: Threads of a block: of one that sums, as in pipeline.cuh; of others, where arrays lie in one piece, and where they do not. (On an
#: H100 512 were best for arrays in one piece, 256 with plain loads 3 % better for the halves of an array.)
TEAM, FLAT, SPLIT = 256, 512, 256
#: Blocks among which a sum is spread, about; the same on every device, for the order of additions follows from it.
BLOCKS = 2048
#: Sums that a thread keeps in registers, at most, where lanes have places of their own.
KEPT = 40
#: Bytes that a thread takes at a time; and whether it does where it can, or takes each element by itself (tests do both).
VECTOR, VECTORS = 16, True
ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def working_type(kind: str, wide: bool) -> str:
    """The C++ type that a kernel computes in."""
    return "double" if wide or kind == "float64" else "float"


@dataclass(frozen=True)
class Stage:
    """What a pipeline does with one element: C++ from which a kernel is made. `F` is the working type, ``defs`` has the definitions."""

    functions: tuple[str, ...]  #: lowered definitions that are called
    takes: tuple[str, ...]  #: arrays read: in the text the name is the element
    numbers: tuple[str, ...]  #: passed by value, in the working type
    body: str  #: statements
    gives: tuple[tuple[str, str], ...] = ()  #: arrays written, and the expression
    sums: tuple[str, ...] = ()  #: expressions that are summed, in float64, for each place
    wholes: tuple[str, ...] = ()  #: ... and over all elements, where `sums` are not
    result: str = ""  #: how sums are stored ("" as x is)
    places: bool = False  #: whether the text uses `index`, the element's place in C order, `seed` and `threshold`

    @property
    def arrays(self) -> tuple[str, ...]:
        """All arrays by name, those written last."""
        return (*self.takes, *(name for name, _ in self.gives))


@dataclass(frozen=True)
class Form:
    """The kernel that serves a call of a stage: all that its text depends on."""

    kind: str  #: how elements are stored
    wide: bool = False  #: computed in float64
    kept: int = 1  #: how many dimensions have a sum each, or are just gone through
    summed: int = 0  #: ... and how many are summed over
    lanes: int = 1  #: neighbours on the last dimension that a thread takes at a time
    across: bool = True  #: whether that is one of those kept
    small: bool = True  #: whether indices and steps fit in 32 bits
    #: Of each array, how it is read or written: ``vector``, ``passing`` (the same, past the caches), ``element`` (one, also for all lanes),
    #: ``once`` (the same for all), ``even:other`` (it takes turns with another, and comes first) and ``odd:other``.
    access: tuple[str, ...] = ()

    @property
    def dims(self) -> int:
        """How many dimensions there are."""
        return self.kept + self.summed


def stage_entries(stage: Stage, form: Form, prefix: str = "") -> list[str]:
    """The entry points of a pipeline: `stage`, and `fold`, which adds up the sums of its chunks.

    Parameters
    ----------
    stage
        What is done.
    form
        With what arrays; `access` in the order of the stage's.
    prefix
        Of the entry points' names.
    """
    kind, lanes, dims, result = form.kind.upper(), form.lanes, form.dims, (stage.result or form.kind).upper()
    index, step = ("unsigned", "int") if form.small else ("long long", "long long")
    real, summing = working_type(form.kind, form.wide), bool(stage.sums)
    views = (*stage.arrays, "index") if stage.places else stage.arrays
    takes = [f"long long {part}{d}" for d in range(dims) for part in ("size", "magic", "shift")]
    takes += [f"const void *{name}_at" for name in stage.takes] + [f"void *{name}_at" for name, _ in stage.gives]
    takes += [f"long long {name}_{d}" for name in views for d in range(dims)]
    takes += ["long long index_lane", "long long seed", "long long threshold"] * stage.places
    takes += [f"{real} {name}" for name in stage.numbers]
    if summing:
        takes += ["double *partial", "void *totals", "double *whole_partial", "void *whole_totals"]
        takes += [f"long long {name}" for name in ("parts", "places", "many", "chunk", "width", "results")]
    else:
        takes += ["long long count"]
    takes += ["long long last"]

    def steps(name: str) -> str:
        of = ", ".join(f"static_cast<{step}>({name}_{d})" for d in range(dims))
        return f"const {step} {name}_step[] = {{{of or 0}}};"

    access, where = dict(zip(stage.arrays, form.access, strict=True)), f"at<{dims}>"
    passing = {name: str(how == "passing").lower() for name, how in access.items()}

    def widened(value: str) -> str:
        return f"static_cast<F>(widen<{kind}, {WIDENED[kind]}>({value}))"

    # What is read.
    before: list[str] = []
    fields: list[str] = []
    fetch: list[str] = []
    first: list[str] = []
    inner: list[str] = []
    for name in stage.takes:
        how, _, other = access[name].partition(":")
        if how == "once":
            before += [f"const F {name} = {widened(f'*static_cast<const Stored<{kind}> *>({name}_at)')};"]
            continue
        wide = how != "element"
        fields += [f"{'Words' if wide else f'Stored<{kind}>'} {name};"]
        if wide:
            first += [f"F {name}_x[lanes];", f"unpack<{kind}>(taken.{name}, {name}_x);"]
            inner += [f"const F {name} = {name}_x[e];"]
        else:
            first += [f"const F {name} = {widened(f'taken.{name}')};"]
        if how == "odd":
            continue
        fetch += [steps(name), f"const char *const {name}_from = {where}({name}_at, digit, {name}_step);"]
        if how == "even":
            fetch += [f"apart<{kind}>(loaded<false>({name}_from), loaded<false>({name}_from + {VECTOR}), taken.{name}, taken.{other});"]
        else:
            fetch += [f"taken.{name} = {f'loaded<{passing[name]}>' if wide else f'element<{kind}>'}({name}_from);"]

    # What is written.
    results: list[str] = []
    then: list[str] = []
    for name, text in stage.gives:
        how, _, other = access[name].partition(":")
        first += [f"F {name}_y[lanes];"]
        results += [f"{name}_y[e] = {text};"]
        if how == "odd":
            continue
        then += [steps(name), f"char *const {name}_to = {where}({name}_at, digit, {name}_step);"]
        if how == "element":
            then += [f"put_element<{kind}>({name}_to, {name}_y[0]);"]
        elif how == "even":
            then += [f"Words {name}_low, {name}_high;"]
            then += [f"together<{kind}>(pack<{kind}>({name}_y), pack<{kind}>({other}_y), {name}_low, {name}_high);"]
            then += [f"stored<false>({name}_to, {name}_low);", f"stored<false>({name}_to + {VECTOR}, {name}_high);"]
        else:
            store = f"stored<{passing[name]}>({name}_to, pack<{kind}>({name}_y));"
            rest = f"else store_some<{kind}>({name}_to, pack<{kind}>({name}_y), valid);"
            then += [f"if (valid == lanes) {store}", rest] if dims == 1 else [store]

    # What is summed. Of a last vector that is not full, lanes that have places of their own are left out later. A vector of halves with
    # one place adds up in float32, which has bits to spare: a conversion to float64 costs as much as eight other instructions.
    own = lanes if form.across else 1
    there = "if (e < valid) " if dims == 1 and lanes > 1 else ""
    short = lanes > 1 and real == "float" and form.kind != "float32"
    sums: list[str] = []
    for where_to, texts, apart in (("sum", stage.sums, own > 1), ("whole", stage.wholes, False)):
        for i, text in enumerate(texts):
            if apart:
                sums += [f"{where_to}[{i * own} + e] += static_cast<double>({text});"]
            elif short:
                first += [f"F {where_to}_{i} = 0;"]
                sums += [f"{there}{where_to}_{i} += {text};"]
                then += [f"{where_to}[{i}] += static_cast<double>({where_to}_{i});"]
            else:
                sums += [f"{there}{where_to}[{i}] += static_cast<double>({text});"]

    if stage.places:
        first += [steps("index"), f"const long long index_i = offset_of<{dims}>(digit, index_step);"]
        inner = ["const long long index = index_i + e * index_lane;", *inner]
    body = [*inner, *stage.body.splitlines(), *results, *sums]
    extents = ", ".join(f"{{{', '.join(f'static_cast<{index}>({part}{d})' for part in ('size', 'magic', 'shift'))}}}" for d in range(dims))
    lines = [f"using F = {real};", f"constexpr int lanes = {lanes};", *before]
    lines += [f"const Extent<{index}> extent[] = {{{extents or '{1, 1, 0}'}}};"]
    lines += ["struct Taken {", *(f"    {line}" for line in fields), "};"]
    lines += [f"const auto fetch = [=](const {index} *digit) {{", "    Taken taken;", *(f"    {line}" for line in fetch)]
    lines += ["    (void)digit;", "    return taken;", "};"]
    more = ", double *sum, double *whole" if summing else ""
    lines += [f"const auto use = [=](const {index} *digit, const Taken &taken, int valid{more}) {{", *(f"    {line}" for line in first)]
    lines += ["#pragma unroll", "    for (int e = 0; e < lanes; e++) {", *(f"        {line}" for line in body), "    }"]
    lines += [*(f"    {line}" for line in then), f"    (void)digit, (void)taken, (void)valid{', (void)sum, (void)whole' * summing};", "};"]
    if summing:
        threads, many = TEAM, len(stage.sums)
        lines += [f"const Totals<{result}> to = {{partial, totals, parts, {many}, results}};"]
        lines += [f"const Totals<{result}> all = {{whole_partial, whole_totals, gridDim.x, {len(stage.wholes)}, 1}};"]
        cast = ", ".join(f"static_cast<{index}>({name})" for name in ("places", "many", "chunk"))
        lines += [f"const Shares<{index}> shares = {{{cast}, static_cast<int>(width), {str(form.across).lower()}}};"]
        lines += [f"sweep<{form.kept}, {form.summed}, {many}, {own}, {len(stage.wholes)}>("]
        lines += ["    extent, shares, lanes, static_cast<int>(last), fetch, use,"]
        lines += ["    [=](int sum, long long part, long long place, int lane, double total) {"]
        lines += [f"        to.put(to, sum, part, place * {own} + lane, total);", "    },"]
        lines += ["    [=](int which, double total) { all.put(all, which, blockIdx.x, 0, total); });"]
    else:
        threads = FLAT if dims <= 1 else SPLIT
        several = VECTOR // ITEMSIZE[form.kind] // lanes
        lines += [f"each<{dims}, lanes, {several}>(extent, static_cast<{index}>(count), static_cast<int>(last), fetch, use);"]
    inside = "\n".join(line if line.startswith("#") else f"    {line}" for line in lines)
    head = 'extern "C" __global__ void __launch_bounds__'
    entry = f"namespace fastact {{\n{head}({threads}) {prefix}stage({', '.join(takes)}) {{\n{inside}\n}}\n}}"
    if not summing:
        return [entry]
    fold = f"fold<{result}>(partial, totals, parts, places, static_cast<int>(width));"
    takes = ["const double *partial", "void *totals", "long long parts", "long long places", "long long width"]
    return [entry, f"namespace fastact {{\n{head}({TEAM}) {prefix}fold({', '.join(takes)}) {{\n    {fold}\n}}\n}}"]


#: What the storage types widen to.
WIDENED = {"FLOAT16": "float", "BFLOAT16": "float", "FLOAT32": "float", "FLOAT64": "double"}


# ---------------------------------------------------------------- plans


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
    axes = sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -(abs(strides[lead][d]) or math.inf))
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


@dataclass(frozen=True)
class Plan:
    """How a call of a stage is launched."""

    form: Form
    grid: int
    block: int
    walked: Walk
    sizes: tuple[int, ...]  #: of the dimensions, each with what divides by it
    steps: tuple[int, ...]  #: of the arrays, in bytes, and of the index
    shares: tuple[int, ...]  #: parts, places, many, chunk, width, results; or how many vectors there are
    last: int  #: elements of the last vector
    parts: int  #: chunks of the sums
    index_lane: int  #: how far apart neighbours are in C order


@functools.lru_cache(maxsize=4096)
def plan(
    stage: Stage,
    kind: str,
    wide: bool,
    shape: tuple[int, ...],
    strides: tuple[tuple[int, ...], ...],
    kept: tuple[bool, ...],
    lead: str,
    residues: tuple[int, ...],
    partners: tuple[str, ...],
    in_place: bool,
    vectors: bool = True,
) -> Plan:
    """Plan a call of a stage; no extent is 0.

    Parameters
    ----------
    stage, kind, wide
        What is done, how elements are stored, and whether they are computed in float64.
    shape
        Of all arrays.
    strides
        Of the stage's arrays, in elements; 0 where they are broadcast.
    kept
        For each axis whether sums have an extent along it.
    lead
        The array in whose memory order elements are visited.
    residues
        Of the arrays' addresses modulo 16.
    partners
        For each array ``even:other`` or ``odd:other`` if its elements may take turns with another's; else "".
    in_place
        Whether an array that is written is read, too.
    vectors
        Whether to take several elements at a time.
    """
    itemsize, names = ITEMSIZE[kind], stage.arrays
    by_name = dict(zip(names, strides, strict=True))
    if stage.places:
        by_name["index"] = tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))
    walked = walk(shape, by_name, kept, lead)
    dims, across = len(walked.sizes), walked.across
    last = walked.kept - 1 if across else dims - 1  # the dimension whose neighbours lie together
    summing = bool(stage.sums)
    full = VECTOR // itemsize if vectors else 1
    kinds = [_access(walked.steps[n], last, itemsize, r, p) for n, r, p in zip(names, residues, partners, strict=True)]
    pairs = any(k.startswith("even") for k in kinds)
    filled = dims > 0 and walked.sizes[last] % full == 0
    fits = all(kinds) and (pairs or "vector" in kinds) and (filled or (dims == 1 and not pairs))
    fits = fits and not (summing and across and full * len(stage.sums) > KEPT)
    for lanes in (full, 1) if fits else (1,):  # one at a time where indices need more than 32 bits
        sizes = tuple(-(-n // lanes) if d == last else n for d, n in enumerate(walked.sizes))
        steps = {n: tuple(s * (lanes if d == last else 1) for d, s in enumerate(walked.steps[n])) for n in by_name}
        in_bytes = [s * (1 if n == "index" else itemsize) for n in by_name for s in steps[n]]
        small = math.prod(sizes) < 2**31 and all(abs(s) < 2**31 for s in in_bytes)
        if small:
            break
    # Past the caches goes what is used once; the halves of an array are read better without (see `SPLIT`).
    passing = not in_place and (summing or dims <= 1)
    access = []
    for name, how in zip(names, kinds, strict=True):
        steps_of = walked.steps[name]
        if not any(steps_of) and name in stage.takes:
            how = "once"
        elif lanes == 1:
            how = "element"
        elif how == "vector" and passing and all(steps_of):
            how = "passing"
        access.append(how)
    summed = dims - walked.kept
    form = Form(kind, wide, walked.kept, summed, lanes, across, small, tuple(access))
    places, many = math.prod(sizes[: walked.kept]), math.prod(sizes[walked.kept :])
    rest = walked.sizes[0] - (sizes[0] - 1) * lanes if dims == 1 else lanes
    divisors = tuple(v for n in sizes for v in (n, *(magic(n) if small else (0, 0))))
    index_lane = walked.steps["index"][last] if stage.places and dims else 0
    results = math.prod(walked.sizes[: walked.kept])
    if summing:
        width, chunk, parts = spread(places, many, across)
        shares: tuple[int, ...] = (parts, places, many, chunk, width, results)
        grid, block = -(-places // width) * parts, TEAM
    else:
        parts, shares, block = 1, (places,), FLAT if dims <= 1 else SPLIT
        grid = -(-places // (block * (VECTOR // itemsize // lanes)))
    return Plan(form, grid, block, walked, divisors, tuple(in_bytes), shares, rest, parts, index_lane)


def _access(steps: tuple[int, ...], last: int, itemsize: int, residue: int, partner: str) -> str:
    """How vectors of an array are read; "" if they cannot be."""
    if last < 0 or steps[last] == 0:
        return "element"
    aligned = all(s * itemsize % VECTOR == 0 for d, s in enumerate(steps) if d != last)
    if steps[last] == 1 and aligned and residue == 0:
        return "vector"
    if steps[last] == 2 and aligned and partner and residue == (0 if partner.startswith("even") else itemsize):
        return partner
    return ""


def magic(size: int) -> tuple[int, int]:
    """The factor and the shift that divide numbers below 2^31 by `size`, as `quotient` in pipeline.cuh does."""
    shift = (size - 1).bit_length()
    return 2**32 * (2**shift - size) // size + 1, shift


def passes(patterns: Sequence[tuple[bool, ...]]) -> list[tuple[tuple[bool, ...], list[int], list[int]]]:
    """Share sums out among passes over the arrays, as few as can be: the extents of each, its sums, and those over all elements.

    Parameters
    ----------
    patterns
        For each sum and axis whether it has an extent there.
    """
    alike: dict[tuple[bool, ...], list[int]] = {}
    for i, pattern in enumerate(patterns):
        alike.setdefault(pattern, []).append(i)
    over_all = next((p for p in alike if not any(p)), None)
    wholes = alike.pop(over_all) if over_all is not None and len(alike) > 1 else []
    return [(kept, asked, wholes if i == 0 else []) for i, (kept, asked) in enumerate(alike.items())]


def summed(name: str, kind: str, functions: Container[str]) -> str:
    """The definition of cheaper terms for gradients of parameters that are summed, if an activation has one; "" if not.

    It has the same results as the activation's ``backward``. Where it is for float32, its dx has the same bits, too.
    """
    wanted = {"float16": ("_half_sums", "_sums"), "bfloat16": ("_half_sums", "_sums"), "float32": ("_sums",)}.get(kind, ())
    return next((name + ending for ending in wanted if name + ending in functions), "")


# ---------------------------------------------------------------- sums


def spread(places: int, many: int, across: bool) -> tuple[int, int, int]:
    """How sums are spread: the neighbouring places of a block, how many vectors of a place are a chunk, and the number of chunks."""
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
