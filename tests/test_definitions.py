"""Definitions as plain Python against the compiled kernels, bit by bit; the primitives' own accuracy; what the lowering refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import SAMPLED, some
from scipy import special

from fastact.kernels import lower
from fastact.kernels.cpu import compiled
from fastact.kernels.definitions import DEFINITIONS, language
from fastact.kernels.definitions.language import ELEMENTARY
from fastact.ulp import BOUNDS, float32_bit_patterns, ulp_error, wrong_zeros
from fastact.verify.truth import PARAMETERS, mp, nearest, points

Array = np.ndarray[Any, Any]
PROGRAM = lower.parse()
KINDS = ("float32", "float64")
ELEMENTWISE = {name: d for name, d in DEFINITIONS.items() if d.family == "elementwise"}

# ---------------------------------------------------------------- plain Python


def specials(kind: str) -> Array:
    """Values at which something changes: ends of the format, thresholds of results and of the definitions, roots; 200 patterns beside."""
    ends = np.finfo(kind)
    ends_of_format = [0.0, ends.smallest_subnormal, 3 * ends.smallest_subnormal, ends.smallest_normal, ends.max, math.inf, math.nan]
    middle = [1e-17, 1e-9, 1e-5, 0.1, 1 / 3, 0.3466, 0.5, 0.6932, 1.0, 1.5, 2.0, 3.0, 5.5, 10.0]
    limits = [9.0, 10.5, 13.0, 14.0, 15.0, 18.0, 20.0, 26.5, 28.0, 37.5, 39.0, 39.5, 40.0, 45.0, 88.0, 88.73, 89.0, 104.0]
    far = [120.0, 128.0, 131.0, 700.0, 709.79, 710.0, 745.2, 760.0, 1024.0, 1060.0, 1e5, 1e10, 1e14, 1e20, 1e30, 1e38]
    roots = [root for d in ELEMENTWISE.values() for of_role in d.roots.values() for root in of_role]
    steps = np.array([*middle, *limits, *far, *roots], dtype=kind)
    near = np.concatenate([steps, np.nextafter(steps, 0), np.nextafter(steps, steps.dtype.type(math.inf)), np.array(ends_of_format, kind)])
    patterns = np.frombuffer(np.random.default_rng(5).bytes(200 * near.itemsize), kind)
    return np.concatenate([near, -near, patterns])


def parameters(name: str) -> list[tuple[float, ...]]:
    """Sets of parameters to try: the defaults, if there are any, and the tests' own."""
    default = tuple(ELEMENTWISE[name].params.values())
    return list(dict.fromkeys([*([] if None in default else [default]), *PARAMETERS.get(name, [])]))  # type: ignore[list-item]


def compile_and_run(name: str, arrays: list[Array], params: tuple[float, ...] = ()) -> list[Array]:
    """What the loops of the best instruction set give, all outputs."""
    outs = [np.empty_like(arrays[0]) for _ in range(PROGRAM.operations[name].outputs)]
    kind = arrays[0].dtype.name
    compiled.run_elementwise(name, kind, kind == "float64", arrays, list(params), outs)
    return outs


def as_python(function: Callable[..., Any], *arrays: Array) -> Array:
    """The function element by element; every result must have come in the type of the argument."""
    results = [function(*values) for values in zip(*arrays, strict=True)]
    assert {type(r) for r in results} == {arrays[0].dtype.type}
    return np.array(results)


def assert_same_bits(x: Array, python: Array, kernel: Array) -> None:
    """All NaNs count as one value."""
    view = f"u{x.itemsize}"
    (different,) = np.nonzero((python.view(view) != kernel.view(view)) & ~(np.isnan(python) & np.isnan(kernel)))
    first = different[:5]
    assert not different.size, f"{different.size} differ: x = {x[first]}: Python {python[first]}, kernel {kernel[first]}"


@SAMPLED
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "params"),
    [
        pytest.param(name, p, marks=[] if i == 0 else pytest.mark.exhaustive)  # a second of plain Python each
        for name in ELEMENTWISE
        for i, p in enumerate(parameters(name))
    ],
)
def test_roles_as_python(name: str, params: tuple[float, ...], kind: str, stride: int) -> None:
    x, roles = some(specials(kind), stride, name, kind), dict(ELEMENTWISE[name].roles)
    constants = [np.full_like(x, p) for p in params]
    if kind == "float32":
        roles.pop("second_derivative", None)  # is computed in float64 alone
    for role in [r for r in ("value", "derivative", "second_derivative") if r in roles]:
        (kernel,) = compile_and_run(f"{name}_{role}", [x], params)
        assert_same_bits(x, as_python(roles.pop(role), x, *constants), kernel)
    # The other roles have no loop of their own: they are in the further outputs of the backward passes.
    kernels = compile_and_run(f"{name}_backward", [np.ones_like(x), x], params)[1:]
    gradients = [roles.pop(f"gradient_{p}") for p in ELEMENTWISE[name].learnable]
    for gradient, kernel in zip(gradients, kernels, strict=True):
        assert_same_bits(x, as_python(gradient, x, *constants), kernel)
    if from_output := roles.pop("derivative_from_output", None):
        (kernel,) = compile_and_run(f"{name}_backward_from_output", [np.ones_like(x), x], params)
        assert_same_bits(x, as_python(from_output, x, *constants), kernel)
    assert not roles, f"{list(roles)} are not compared with anything"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_backward_is_the_chain_rule(name: str, kind: str) -> None:
    x, params = specials(kind), parameters(name)[0]
    grad = np.random.default_rng(6).permutation(x)
    results = compile_and_run(f"{name}_backward", [grad, x], params)
    (derivative,) = compile_and_run(f"{name}_derivative", [x], params)
    (value,) = compile_and_run(f"{name}_value", [x], params)
    for one, both in zip((value, derivative), compile_and_run(f"{name}_value_and_derivative", [x], params), strict=True):
        assert_same_bits(x, one, both)
    gradients = compile_and_run(f"{name}_backward", [np.ones_like(x), x], params)[1:]
    with np.errstate(all="ignore"):
        for result, factor in zip(results, [derivative, *gradients], strict=True):
            assert_same_bits(x, grad * factor, result)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ELEMENTARY)
def test_primitives_as_python(name: str, kind: str) -> None:
    x = specials(kind)
    assert_same_bits(x, as_python(ELEMENTARY[name], x), compile_and_run(name, [x])[0])


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (1.0 + 2.0**-23, 1.0 - 2.0**-23, -1.0), (3.0, 1 / 3, -1.0), (0.0, -1.0, 0.0), (-0.0, 1.0, -0.0), (1.0, 1.0, -1.0),
        (1.0, -1.0, 1.0), (1e38, 10.0, -math.inf), (1e38, 1e38, 1.0), (-1e38, 1e38, 1.0), (0.0, math.inf, 1.0), (math.nan, 1.0, 1.0),
        (2.0**-149, 0.5, 0.0), (2.0**-149, 0.75, 0.0), (2.0**-149, -0.5, 0.0), (2.0**-100, 2.0**-49, 2.0**-126),
        (2.0**64, 2.0**63, 2.0**127), (2.0**100, 2.0**-124, 1.0),
        (1.0 + 2.0**-23, 1.0 + 2.0**-23, 2.0**-60), (2.0**127, 2.0 - 2.0**-23, 2.0**102), (2.0**127, 2.0 - 2.0**-23, 2.0**103),
    ],
)  # fmt: skip
def test_fma(a: float, b: float, c: float) -> None:
    """Against twice the digits: a product and a sum of float32 rounded to odd in float64, then once more."""
    got = language.fma(np.float32(a), np.float32(b), np.float32(c))
    assert type(got) is np.float32
    with np.errstate(all="ignore"):
        wide = [np.float64(np.float32(v)) for v in (a, b, c)]
        product = wide[0] * wide[1]  # exact
        total = product + wide[2]
        lost = (product - (total - (total - product))) + (wide[2] - (total - product))
        if np.isfinite(lost) and lost != 0.0 and not total.view(np.int64) & 1:
            total = np.nextafter(total, np.copysign(math.inf, lost))
        expected = np.float32(total)
    assert (math.isnan(got) and math.isnan(expected)) or (got == expected and np.signbit(got) == np.signbit(expected))


def test_fma_float64() -> None:
    tiny, huge = np.float64(5e-324), np.float64(1.7976931348623157e308)
    assert language.fma(huge, huge, 1.0) == math.inf
    assert language.fma(huge, -2.0, huge) == -huge
    assert language.fma(1.0 + np.float64(2.0**-52), 1.0 - 2.0**-52, -1.0) == -(2.0**-104)
    assert language.fma(tiny, tiny, 1.0) == 1.0
    assert np.signbit(language.fma(-tiny, tiny, 0.0))
    assert language.fma(tiny, 1.5, 0.0) == 2 * tiny  # a tie, to even
    assert language.fma(tiny, 0.5, 0.0) == 0.0


def test_literals_take_the_type_of_the_numbers() -> None:
    one = np.float32(1.0)
    for result in (language.max(one, 2.0), language.min(0.1, one), language.fma(0.1, 3.0, one), language.copysign(0.1, one)):
        assert type(result) is np.float32
    assert language.fma(0.1, 1.0, np.float32(0.0)) == np.float32(0.1)
    assert type(DEFINITIONS["relu"](np.float32(-1.0))) is np.float32
    assert type(DEFINITIONS["elu"](-1.0, 1.0)) is np.float64


def test_softmax_as_python() -> None:
    softmax = DEFINITIONS["softmax"]
    x = np.array([1e7 + 2.0, 1e7, 1e7 + 1.0], np.float32)
    np.testing.assert_allclose(softmax(x), [0.66524096, 0.09003057, 0.24472847], rtol=1e-6)
    assert {type(v) for v in softmax(x)} == {np.float32}
    for row in ([-math.inf, -math.inf], [1.0, math.inf], [1.0, math.nan]):
        assert np.isnan(softmax(np.array(row))).all()
    assert softmax(np.array([-math.inf, 3.0])) == [0.0, 1.0]
    assert softmax(np.array([])) == []


# ---------------------------------------------------------------- the accuracy of the primitives

#: (the oracle in float64, the truth in mpmath)
TRUTHS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    "exp": (np.exp, mp.exp),
    "expm1": (np.expm1, mp.expm1),
    "log1p": (np.log1p, mp.log1p),
    "tanh": (np.tanh, mp.tanh),
    "erf": (special.erf, mp.erf),
    "erfc": (special.erfc, mp.erfc),
}


def test_every_primitive_is_judged() -> None:
    assert set(TRUTHS) == set(ELEMENTARY)


@pytest.mark.parametrize("name", ELEMENTARY)
def test_primitives_float32(name: str) -> None:
    x = np.concatenate([float32_bit_patterns(4099), specials("float32")])
    (result,) = compile_and_run(name, [x])
    with np.errstate(all="ignore"):
        expected = TRUTHS[name][0](x.astype(np.float64))
    error = ulp_error(result, expected)
    at = int(error.argmax())
    assert error[at] <= BOUNDS["fast"], f"{error[at]} ULP at {x[at]!r}: {result[at]!r}, not {expected[at]!r}"
    assert not wrong_zeros(result, expected).size


@pytest.mark.parametrize("name", ELEMENTARY)
def test_primitives_float64(name: str) -> None:
    x = np.concatenate([points(), specials("float64")])
    x = x[np.isfinite(x)]
    if name == "log1p":
        x = np.concatenate([x[x > -1.0], -1.0 + 10.0 ** np.random.default_rng(7).uniform(-15, 0, 60)])
    (result,) = compile_and_run(name, [x])
    # mpmath takes no shortcut where a function has vanished or saturated; beyond 1e5 nothing changes any more, but for log1p.
    bounded = x if name == "log1p" else np.clip(x, -1e5, 1e5)
    pairs = np.array([nearest(TRUTHS[name][1](mp.mpf(float(v)))) for v in bounded])
    error = ulp_error(result, (pairs[:, 0], pairs[:, 1]))
    at = int(error.argmax())
    assert error[at] <= 2.0, f"{error[at]} ULP at {x[at]!r}: {result[at]!r}, not {pairs[at]}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ELEMENTARY)
def test_primitives_limits(name: str, kind: str) -> None:
    """At both zeros, infinities, -1 and below for log1p, and NaN: what C has."""
    x = np.array([0.0, -0.0, math.inf, -math.inf, -1.0, -1.5, math.nan], dtype=kind)
    (result,) = compile_and_run(name, [x])
    with np.errstate(all="ignore"):
        expected = TRUTHS[name][0](x)
    exactly = [0, 1, 2, 3, 6] if name != "log1p" else slice(None)
    np.testing.assert_array_equal(result[exactly], expected[exactly])
    np.testing.assert_array_equal(np.signbit(result[:4]) & ~np.isnan(result[:4]), np.signbit(expected[:4]) & ~np.isnan(expected[:4]))


# ---------------------------------------------------------------- what the lowering refuses

WRITERS: list[Callable[[lower.Program], str]] = [
    lower.to_cxx,
    lambda program: lower.to_numba(program, list(program.functions), "float32"),
]


@pytest.mark.parametrize("write", WRITERS, ids=["cxx", "numba"])
@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("    while x > 0.0:\n        pass\n    return x", 6, "while"),
        ("    if x > 0.0:\n        return x\n    return -x", 6, "if x > 0.0"),
        ("    y = x + 1.0\n    y = y * 2.0\n    return y", 7, "`y` is assigned twice"),
        ("    x = x + 1.0\n    return x", 6, "`x` is assigned twice"),
        ("    y = x + 1.0\n    y += x\n    return y", 7, "outside the language"),
        ("    return x + alpha", 6, "unknown name `alpha`"),
        ("    return fma(x, x, c=x)", 6, "outside the language"),
        ("    return fma(x, x)", 6, "fma takes 3 arguments, not 2"),
        ("    return helper(x, x)", 6, "helper takes 1 arguments"),
        ("    return x + arctan(x)", 6, "`arctan` is neither a definition nor one of"),
        ("    return math.exp(x)", 6, "outside the language"),
        ("    return x if x > 'a' else 1.0", 6, "constants are numbers"),
        ("    return x if True else 1.0", 6, "outside the language"),
        ("    return x ** 2.0", 6, "outside the language"),
        ("    return x if 0.0 < x < 1.0 else 1.0", 6, "outside the language"),
        ("    return [x, x]", 6, "outside the language"),
        ("    x + 1.0", 6, "outside the language"),
        ("    return poly(x + 1.0, (1.0, 2.0), (1.0, 2.0))", 6, "poly takes a local name"),
        ("    return poly(x, 3.0, 3.0)", 6, "poly takes its coefficients as a tuple"),
        ("    n = 3\n    return from_bits(bits(x) << n)", 7, "a shift takes a constant count"),
        ("    return broken(x)", 5, "calls itself: broken -> broken"),
    ],
)  # fmt: skip
def test_unsupported(tmp_path: Path, body: str, line: int, says: str, write: Callable[[lower.Program], str]) -> None:
    """An error that names the function, the file and the line."""
    file = tmp_path / "mine.py"
    text = f"@primitive\ndef helper(x):\n    return x\n@primitive\ndef broken(x):\n{body}\n"
    program = lower.Program({}, {}, {})
    lower.parse_text(text, file, program)
    with pytest.raises(lower.LoweringError) as caught:
        write(program)
    message = str(caught.value)
    assert message.startswith(f"broken, {file}:{line}: "), message
    assert says in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@primitive\ndef broken(x, y=1.0):\n    return x\n", ":2: a definition takes plain positional arguments"),
        ("@primitive\ndef broken(x, *y):\n    return x\n", ":2: a definition takes plain positional arguments"),
        ("@cache\ndef broken(x):\n    return x\n", ":2: unknown decorator @cache"),
    ],
)
def test_unsupported_headers(tmp_path: Path, text: str, says: str) -> None:
    def lowered() -> str:
        program = lower.Program({}, {}, {})
        lower.parse_text(text, tmp_path / "mine.py", program)
        return lower.to_cxx(program)

    with pytest.raises(lower.LoweringError) as caught:
        lowered()
    assert str(caught.value).startswith(f"broken, {tmp_path / 'mine.py'}{says}")


def test_mutual_recursion(tmp_path: Path) -> None:
    program = lower.Program({}, {}, {})
    text = "@primitive\ndef one(x):\n    return two(x)\n@primitive\ndef two(x):\n    return one(x)\n"
    lower.parse_text(text, tmp_path / "mine.py", program)
    with pytest.raises(lower.LoweringError, match="one -> two -> one"):
        lower.to_cxx(program)


def test_the_language_is_what_the_lowering_knows() -> None:
    """Every intrinsic is there in plain Python, by the same name and with as many arguments; abs is Python's own."""
    for name in lower.ARITY.keys() - {"abs"}:
        assert getattr(language, name).__code__.co_argcount == lower.ARITY[name]
