"""Writes the self-contained Numba modules: intrinsics, lowered definitions and the loop around them, as one text each.

Every module has a function ``run``. It takes addresses and numbers only, and is compiled, or loaded from Numba's cache, when the
module is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..lower import Operation, Program, to_numba

#: Elements of one piece of work; arrays of fewer are not worth a second thread.
CHUNK = 16384

_HERE = Path(__file__).parent


def working(kind: str, wide: bool) -> str:
    """The type computed with for the storage `kind`."""
    return "float64" if wide or kind == "float64" else "float32"


def _set(text: str, **values: object) -> str:
    """`text` with its settings, the lines ``NAME = ...``, rewritten."""
    for name, value in values.items():
        text, found = re.subn(rf"^{name} = .*?(?=  #|$)", f"{name} = {value}", text, count=1, flags=re.MULTILINE)
        assert found, name
    return text


def _heading(what: str, kind: str, wide: bool) -> str:
    return f'"""fastact: {what}, {kind} computed in {working(kind, wide)}. Written by kernels/jit/loops.py; do not edit."""\n\n'


def _opening(program: Program, names: list[str], kind: str, wide: bool) -> str:
    type_ = working(kind, wide)
    shorter = wide and kind == "float32" and all(n in program.operations and program.wide(program.operations[n]) for n in names)
    text = (_HERE / "intrinsics.py").read_text(encoding="utf-8").partition('"""\n\n')[2]
    return f"{_set(text, FLOAT=f'types.{type_}', KIND=repr(kind))}\n\n{to_numba(program, names, 'wide' if shorter else type_)}\n"


def elementwise(program: Program, operation: Operation, kind: str, wide: bool, parallel: bool, arrays: Sequence[bool]) -> str:
    """The module of one operation; `arrays` says for each parameter whether it is an array or a number.

    ``run(n, inputs ..., outputs ...)``: addresses of `n` stored elements each, numbers as float64, and as outputs beyond the stored
    ones the addresses of arrays in the working type.
    """
    params = [f"p{i}" for i in range(len(arrays))]
    addresses = [f"x{i}" for i in range(operation.arrays)] + [p for p, array in zip(params, arrays, strict=True) if array]
    inputs = [f"x{i}" for i in range(operation.arrays)] + params
    outputs = [f"y{i}" for i in range(operation.outputs)]
    call = f"def_{operation.function}({', '.join(f'load({a}_, i)' if a in addresses else f'{a}_' for a in inputs)})"
    stored = operation.stored
    pointers = [f"{a}_ = stored({a})" for a in [*addresses, *outputs[:stored]]] + [f"{a}_ = working({a})" for a in outputs[stored:]]
    pointers += [f"{p}_ = REAL({p})" for p in params if p not in addresses]
    if operation.outputs == 1:
        body = ["for i in range(begin, end):", f"    store(y0_, i, {call})"]
    else:  # what is stored may be an input and waits on the stack until everything is read
        blocks = [f"block{i}" for i in range(stored)]
        body = [
            *(f"{block} = stack(REAL)" for block in blocks),
            "for first in range(begin, end, BLOCK):",
            "    last = min(end, first + BLOCK)",
            "    for i in range(first, last):",
            f"        {', '.join([*(f'{block}[i - first]' for block in blocks), *(f'{y}_[i]' for y in outputs[stored:])])} = {call}",
            *(
                line
                for i, block in enumerate(blocks)
                for line in ("    for i in range(first, last):", f"        store(y{i}_, i, {block}[i - first])")
            ),
        ]
    names = ", ".join([*inputs, *outputs])
    kinds = ", ".join("types.intp" if a in addresses else "types.float64" for a in inputs) + ", types.intp" * len(outputs)
    lines = [
        f"CHUNK = {CHUNK}",
        "",
        "",
        "@loop",
        f"def compute(begin, end, {names}):",
        *(f"    {line}" for line in ["keep_apart()", *pointers, *body]),
        "",
        "",
        "@loop",
        f"def chunk(begin, end, {names}):",
        "    before = plain_environment()",
        f"    compute(begin, end, {names})",
        "    restore_environment(before)",
        "",
        "",
        f"@entry({parallel}, types.intp, {kinds})",
        f"def run(n, {names}):",
        "    for i in prange((n + CHUNK - 1) // CHUNK):",
        f"        chunk(i * CHUNK, min(n, (i + 1) * CHUNK), {names})",
    ]
    return _heading(operation.function, kind, wide) + _opening(program, [operation.function], kind, wide) + "\n".join([*lines, ""])
