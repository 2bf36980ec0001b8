"""The cheaper division of CUDA kernels over halves: no input shows it in bfloat16, none by more than 0.51 ULP in float16."""

from __future__ import annotations

from pathlib import Path

import pytest
from common import SIX
from cuda_host import COMPILER
from halves import OPERATIONS, Kernels, passes

from fastact.backends import cupy as adapter
from fastact.backends import halves, nvrtc

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
#: (how elements are stored, activation) of all that has a cheaper form, and which of them are quick enough for every run.
CASES = sorted({(kind, OPERATIONS[name].activation.name) for (kind, _), names in halves.PASSED.items() for name in names})
FEW = {(kind, name) for kind in ("bfloat16", "float16") for name in (*SIX, "tanh", "silu")}


def test_the_table() -> None:
    """Each operation has one form, and is one that divides in float32."""
    for kind in ("bfloat16", "float16"):
        listed = [name for (k, _), names in halves.PASSED.items() if k == kind for name in names]
        assert len(listed) == len(set(listed)) > 100
        assert set(listed) <= set(OPERATIONS)
    assert {form for _, form in halves.PASSED} <= set(halves.FORMS)
    gelu = OPERATIONS["gelu_value"]
    assert halves.form(gelu, "float32", False) == halves.form(gelu, "bfloat16", True) == "EXACT"
    assert halves.form(gelu, "bfloat16", False) != "EXACT"


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(*case, marks=[] if case in FEW else pytest.mark.exhaustive, id="-".join(case)) for case in CASES]
)
def test_every_half(tmp_path: Path, kind: str, name: str) -> None:
    """All 65,536 inputs, whatever the last bit of a reciprocal is."""
    names = [n for n, o in OPERATIONS.items() if o.activation.name == name]
    kernels = Kernels(names, kind, tmp_path)
    for operation in map(OPERATIONS.__getitem__, names):
        form = halves.form(operation, kind, False)
        if form != "EXACT":
            assert passes(kernels, operation, form) == "", f"{operation.function} {form}"


@needs_compiler
def test_what_shows_is_seen(tmp_path: Path) -> None:
    """The trial refuses: gelu of subnormals is a tie in bfloat16, which a quotient off by an ULP breaks the other way."""
    assert "differ" in passes(Kernels(["gelu_value"], "bfloat16", tmp_path), OPERATIONS["gelu_value"], "QUOTIENT")


@pytest.mark.parametrize("form", ["EXACT", *halves.FORMS])
def test_the_instructions(form: str) -> None:
    """IEEE's division is nowhere in the cheaper forms, and nothing else is approximate or flushed."""
    try:
        compiler = nvrtc.load()
    except nvrtc.NvrtcError as missing:
        pytest.skip(str(missing))
    entry = adapter.elementwise_entry(OPERATIONS["silu_value"], "bfloat16", False, form=form)
    ptx = compiler.compile(adapter.unit(["silu_value"], "elementwise.cuh", [entry]), "compute_90").decode()
    used, other = ("div.rn.f32", "rcp.approx.ftz.f32")[:: 1 if form == "EXACT" else -1]
    assert ptx.count(used) in (8, 9)  # one for each of a vector, and perhaps for the element by itself
    assert ptx.count(other) == 0
    rest = ptx.replace("rcp.approx.ftz.f32", "")
    assert not [word for word in (".ftz", ".approx", ".full", ".local", "call.") if word in rest]
