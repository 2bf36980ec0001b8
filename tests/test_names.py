"""Names and defaults of other frameworks, compared with these frameworks themselves where they are installed."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from common import same_bits

import fastact
from fastact import names
from fastact.activation import ACTIVATIONS
from fastact.names import CLASHES, DEFAULTS, SPELLINGS, functions

Array = np.ndarray[Any, Any]
ROWS = [(peer, name, spelling) for peer, table in SPELLINGS.items() for name, spellings in table.items() for spelling in spellings.split()]
X = np.linspace(-3, 3, 7, dtype=np.float32)

#: What means something else where no dialect is given.
MEANING_ANOTHER = {
    ("jax", "gelu"), ("onnx", "Swish"), ("chainer", "swish"), ("transformer_engine", "gelu"), ("transformer_engine", "geglu"),
    ("transformer_engine", "srelu"), ("megatron", "geglu"),
}  # fmt: skip

# ---------------------------------------------------------------- the tables


def test_tables_name_functions_that_exist() -> None:
    assert not {name for _, name, _ in ROWS} - set(functions())


def test_functions_are_all_that_has_a_gradient() -> None:
    """And nothing else that is public: no class, no switch, no table."""
    assert set(ACTIVATIONS) <= set(functions())
    assert {"softmax", "logsumexp", "swiglu", "glu", "bias_act", "pau", "softmax_cross_entropy", "focal"} <= set(functions())
    assert not set(functions()) & {"get", "catalogue", "backends", "explain", "use_backend", "Activation", "ACTIVATIONS"}
    assert all(callable(f.backward) for f in functions().values())


@pytest.mark.parametrize("peer", SPELLINGS)
def test_tables_are_consistent(peer: str) -> None:
    spellings = [spelling for p, _, spelling in ROWS if p == peer]
    assert len(set(spellings)) == len(spellings)
    functions = {**{spelling: name for p, name, spelling in ROWS if p == peer}, **{name: name for name in SPELLINGS[peer]}}
    for key, defaults in DEFAULTS.get(peer, {}).items():
        known = ACTIVATIONS[functions[key]].definition.params
        for parameter, value in defaults.items():
            assert known[parameter] != value, f"{key}: {parameter}={value} is the default already"


def test_own_names_differ_in_more_than_capitals() -> None:
    """Otherwise a name could not be found whatever its capitals and separators."""
    for plain, found in names._by_plain_name("fastact").items():
        assert len({names._table("fastact")[spelling] for spelling in found}) == 1, plain


@pytest.mark.parametrize("name", functions())
def test_own_names_mean_themselves(name: str) -> None:
    assert fastact.get(name) is getattr(fastact, name)


@pytest.mark.parametrize("peer", SPELLINGS)
def test_every_spelling_is_found(peer: str) -> None:
    for _, name, spelling in (row for row in ROWS if row[0] == peer):
        found = fastact.get(spelling, dialect=peer)
        changed = DEFAULTS.get(peer, {}).get(spelling, DEFAULTS.get(peer, {}).get(name, {}))
        assert found is (ACTIVATIONS[name].with_defaults(**changed) if changed else functions()[name])
        # Without a dialect it is that function too, but where torch or fastact means another.
        if (peer, spelling) in MEANING_ANOTHER:
            assert fastact.get(spelling).__name__ != name
        elif (None, names._plain(spelling)) not in CLASHES:
            assert fastact.get(spelling).__name__ == functions()[name].__name__


# ---------------------------------------------------------------- what the frameworks themselves compute

#: What is compared otherwise, or cannot be: random, of a layer's weights, in bfloat16.
APART = {"gumbel_softmax", "maxout", "xielu"}
#: Losses: logits, labels, and what turns the labels into what a framework wants.
LOGITS = np.random.default_rng(4).standard_normal((6, 5)).astype(np.float32) * 2
CLASSES = np.array([0, 4, 2, 2, 1, 3])
SIDES = np.random.default_rng(5).integers(0, 2, LOGITS.shape).astype(np.float32)
LABELS: dict[str, Array] = {
    "softmax_cross_entropy": CLASSES, "multi_class_hinge": CLASSES, "sigmoid_cross_entropy": SIDES, "focal": SIDES,
    "hinge": 2 * SIDES - 1, "squared_hinge": 2 * SIDES - 1, "mse": LOGITS[::-1] / 3, "huber": LOGITS[::-1] / 3,
}  # fmt: skip
#: Arguments of functions and layers that have no defaults for them.
ARGUMENTS = {"prelu": (0.3,), "threshold": (0.5, -1.0)}
#: Away from kinks.
POINTS = np.linspace(-6.05, 6.13, 48, dtype=np.float32)


def torch_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    torch = pytest.importorskip("torch")
    spaces = (torch.nn.functional, torch.nn, torch)
    function = getattr(next(space for space in spaces if hasattr(space, spelling)), spelling)
    options = {"dim": -1} if spelling == "logsumexp" or "softm" in spelling.lower() else {}
    if inspect.isclass(function):
        module = function(*args, **options).eval()
        return np.asarray(module(torch.tensor(x)).detach())
    weights = [torch.tensor(a) for a in args] if spelling == "prelu" else args
    return np.asarray(function(torch.tensor(x), *weights, **options))


def jax_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    jax = pytest.importorskip("jax")
    return np.asarray(getattr(jax.nn, spelling)(x, *args))


def keras_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    keras = pytest.importorskip("keras", exc_type=ImportError)
    if spelling.startswith("ops."):
        return np.asarray(keras.ops.convert_to_numpy(getattr(keras.ops, spelling[4:])(x)))
    if hasattr(keras.layers, spelling):
        return np.asarray(keras.ops.convert_to_numpy(getattr(keras.layers, spelling)()(x[None])))[0]
    return np.asarray(keras.ops.convert_to_numpy(getattr(keras.activations, spelling)(keras.ops.convert_to_tensor(x), *args)))


def mlx_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    mx = pytest.importorskip("mlx.core", exc_type=ImportError)
    nn = pytest.importorskip("mlx.nn", exc_type=ImportError)
    function = getattr(nn, spelling)
    return np.asarray((function() if inspect.isclass(function) else function)(mx.array(x), *(() if inspect.isclass(function) else args)))


def onnx_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    inputs = {"x": x, **{f"p{i}": np.array([a], np.float32) for i, a in enumerate(args)}}
    node = onnx.helper.make_node(spelling, list(inputs), ["y"])
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in [*inputs, "y"]]
    graph = onnx.helper.make_graph([node], "one", values[:-1], values[-1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version())])
    return np.asarray(reference.ReferenceEvaluator(model).run(None, inputs)[0])


def thinc_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array | None:
    api = pytest.importorskip("thinc.api")
    ops = api.NumpyOps()
    if hasattr(ops, spelling):
        return np.asarray(getattr(ops, spelling)(x[None].copy()))[0]
    assert hasattr(api, spelling)  # a layer, with weights before the activation
    return None


def timm_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array | None:
    torch = pytest.importorskip("torch")
    layers = pytest.importorskip("timm.layers", exc_type=ImportError)
    if spelling.endswith("_jit"):  # gone since
        return None
    function = getattr(layers.activations_me, spelling) if spelling.endswith("_me") else layers.get_act_layer(spelling)()
    return np.asarray(function(torch.tensor(x)).detach())


def transformers_call(spelling: str, x: Array, args: tuple[float, ...]) -> Array:
    torch = pytest.importorskip("torch")
    activations = pytest.importorskip("transformers.activations", exc_type=ImportError)
    return np.asarray(activations.ACT2FN[spelling](torch.tensor(x)).detach())


CALLS: dict[str, Callable[[str, Array, tuple[float, ...]], Array | None]] = {
    "torch": torch_call, "jax": jax_call, "keras": keras_call, "mlx": mlx_call, "onnx": onnx_call, "thinc": thinc_call,
    "timm": timm_call, "transformers": transformers_call,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("peer", CALLS)
def test_dialects_compute_what_the_frameworks_do(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name the tables give a framework is there, and by its defaults is the same function."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    wrong = []
    for _, name, spelling in (row for row in ROWS if row[0] == peer and row[1] not in {*APART, *LABELS}):
        ours = fastact.get(spelling, dialect=peer)
        args = ARGUMENTS[name] if name in ACTIVATIONS and None in ours.definition.params.values() else ()
        x = np.abs(POINTS) if name == "log1mexp" else POINTS
        theirs = CALLS[peer](spelling, x, args)
        if theirs is not None and not np.allclose(ours(x, *args), theirs, rtol=1e-5, atol=1e-5):
            wrong.append(f"{spelling} is not {ours!r}")
    assert not wrong


@pytest.mark.parametrize("spelling", [row[2] for row in ROWS if row[0] == "torch" and row[1] in LABELS and row[1] != "focal"])
def test_losses_compute_what_torch_does(spelling: str) -> None:
    torch = pytest.importorskip("torch")
    ours = fastact.get(spelling, dialect="torch")
    labels = LABELS[ours.__name__]
    theirs = getattr(torch.nn.functional, spelling, None) or getattr(torch.nn, spelling)()
    expected = theirs(torch.tensor(LOGITS), torch.tensor(labels.copy()))
    np.testing.assert_allclose(ours(LOGITS, labels), expected, rtol=1e-5)


def test_losses_compute_what_keras_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", exc_type=ImportError)
    for _, name, spelling in (row for row in ROWS if row[0] == "keras" and row[1] in LABELS):
        theirs = getattr(keras.losses, spelling)
        expected = (theirs() if inspect.isclass(theirs) else theirs)(LABELS[name], LOGITS)
        np.testing.assert_allclose(fastact.get(spelling, "keras")(LOGITS, LABELS[name]), np.mean(expected), rtol=1e-5)


def test_losses_compute_what_optax_does() -> None:
    optax = pytest.importorskip("optax", exc_type=ImportError)
    for _, name, spelling in (row for row in ROWS if row[0] == "optax" and row[1] in LABELS):
        labels = LABELS[name]
        if name == "softmax_cross_entropy" and "integer" not in spelling:
            labels = np.eye(LOGITS.shape[1], dtype=np.float32)[labels]
        expected = np.mean(getattr(optax.losses, spelling)(LOGITS, labels))
        np.testing.assert_allclose(fastact.get(spelling, "optax")(LOGITS, labels), expected, rtol=1e-5)


# ---------------------------------------------------------------- single names


@pytest.mark.parametrize(
    ("name", "dialect", "expected"),
    [
        ("leaky_relu", None, "leaky_relu"),
        ("leaky_relu", "torch", "leaky_relu"),
        ("leaky_relu", "jax", "leaky_relu"),
        ("leaky_relu", "keras", "leaky_relu(alpha=0.2)"),
        ("keras.activations.leaky_relu", None, "leaky_relu(alpha=0.2)"),
        ("keras.ops.leaky_relu", None, "leaky_relu(alpha=0.2)"),
        ("LeakyReLU", "keras", "leaky_relu(alpha=0.3)"),
        ("leaky_relu", "keras2", "leaky_relu(alpha=0.3)"),
        ("keras.layers.LeakyReLU", "keras2", "leaky_relu(alpha=0.3)"),
        ("LeakyReLU", None, "leaky_relu"),
        ("LeakyRelu", "onnx", "leaky_relu"),
        ("hard_sigmoid", None, "hard_sigmoid"),
        ("Hard-Sigmoid", None, "hard_sigmoid"),
        ("hard_sigmoid", "keras", "hard_sigmoid"),
        ("hard_sigmoid", "keras2", "hard_sigmoid(slope=0.2)"),
        ("HardSigmoid", "onnx", "hard_sigmoid(slope=0.2)"),
        ("hard_sigmoid", "onnx", "hard_sigmoid(slope=0.2)"),
        ("hard_sigmoid", "thinc", "hard_sigmoid(slope=0.2)"),
        ("HardSwish", "onnx", "hard_silu"),
        ("hard_swish", "thinc", "hard_silu(slope=0.2)"),
        ("HardSwish.v1", "thinc", "hard_silu(slope=0.2)"),
        ("hard_swish_mobilenet", "thinc", "hard_silu"),
        ("hardswish", None, "hard_silu"),
        ("hard_silu", "torch", "hard_silu"),
        ("gelu", None, "gelu"),
        ("gelu", "torch", "gelu"),
        ("nn.GELU", None, "gelu"),
        ("F.gelu", None, "gelu"),
        ("torch.nn.functional.gelu", None, "gelu"),
        ("gelu", "jax", "gelu_tanh"),
        ("jax.nn.gelu", None, "gelu_tanh"),
        ("gelu", "keras", "gelu"),
        ("keras.activations.gelu", None, "gelu"),
        ("keras.ops.gelu", None, "gelu_tanh"),
        ("ops.gelu", "keras", "gelu_tanh"),
        ("gelu_tanh", "keras", "gelu_tanh"),
        ("gelu_fast", None, "gelu_tanh"),
        ("gelu_fast_approx", None, "quick_gelu"),
        ("gelu_10", None, "clipped_gelu"),
        ("selu", "torch", "selu"),
        ("Selu", "onnx", f"selu(alpha={float(np.float32(1.6732632423543772))!r}, scale={float(np.float32(1.0507009873554805))!r})"),
        ("selu", "mlx", "selu(alpha=1.67326, scale=1.0507)"),
        ("swish", None, "silu"),
        ("swish", "jax", "silu"),
        ("Swish", "onnx", "swish_beta"),
        ("relu2", None, "relu_squared"),
        ("relu_k", None, "clipped_relu"),
        ("prelu", None, "prelu"),
        ("nn.PReLU", None, "prelu(alpha=0.25)"),
        ("PReLU", "keras", "prelu(alpha=0.0)"),
        ("logsigmoid", None, "log_sigmoid"),
        ("LogSigmoid", None, "log_sigmoid"),
        ("soft_sign", None, "softsign"),
        ("linear", "keras", "identity"),
        ("ai.onnx.Relu", None, "relu"),
        ("mish", "thinc", "mish"),
        ("tanh_shrink", "jax", "tanh_shrink"),
        ("hard_mish_jit", None, "hard_mish"),
        ("torch.nn.LogSoftmax", None, "log_softmax"),
        ("F.gumbel_softmax", None, "gumbel_softmax"),
        ("scipy.special.logsumexp", None, "logsumexp"),
        ("jax.nn.logsumexp", None, "logsumexp"),
        ("ai.onnx.Hardmax", None, "hardmax"),
        ("entmax_bisect", None, "entmax"),
        ("entmax.Entmax15", None, "entmax15"),
        ("GLU", "torch", "glu"),
        ("glu", "jax", "glu"),
        ("SiluAndMul", None, "swiglu"),
        ("SwiGLU", None, "swiglu"),
        ("MulAndSilu", "vllm", "mul_and_silu"),
        ("gelu_tanh_and_mul", None, "geglu_tanh"),
        ("geglu", None, "geglu"),
        ("geglu", "vllm", "geglu"),
        ("geglu", "megatron", "geglu_tanh"),
        ("geglu", "transformer_engine", "geglu_tanh"),
        ("te.pytorch.geglu", None, "geglu_tanh"),
        ("qgeglu", None, "quick_geglu"),
        ("SwigluOAIAndMul", None, "swiglu_oai"),
        ("srelu", None, "srelu"),
        ("srelu", "transformer_engine", "relu_squared"),
        ("AconC", None, "acon_c"),
        ("SnakeBeta", None, "snake_beta"),
        ("LigerDyT", None, "dyt"),
        ("leaky_relu", "chainer", "leaky_relu(alpha=0.2)"),
        ("chainer.functions.clipped_relu", None, "clipped_relu(max_value=20.0)"),
        ("CrossEntropyLoss", None, "softmax_cross_entropy"),
        ("F.binary_cross_entropy_with_logits", None, "sigmoid_cross_entropy"),
        ("binary_cross_entropy", "mlx", "sigmoid_cross_entropy"),
        ("MultiMarginLoss", None, "multi_class_hinge"),
        ("optax.softmax_cross_entropy_with_integer_labels", None, "softmax_cross_entropy"),
        ("keras.losses.SquaredHinge", None, "squared_hinge"),
        ("MSE", None, "mse"),
        ("optax.huber_loss", None, "huber"),
        ("smooth_l1_loss", "paddle", "huber"),
        ("torchvision.ops.sigmoid_focal_loss", None, "focal"),
    ],
)  # fmt: skip
def test_names(name: str, dialect: str | None, expected: str) -> None:
    assert repr(fastact.get(name, dialect)) == f"<fastact.{expected}>"


@pytest.mark.parametrize(
    ("name", "dialect", "message"),
    [
        ("gellu", None, r"^name: 'gellu' is no function of fastact or any framework it knows; did you mean 'gelu'"),
        ("hard-swich", None, "did you mean '(hardswish|hard_swish)'"),
        ("gelu_approxx", "mlx", "'gelu_approxx' is no function of mlx or fastact; did you mean 'gelu_approx'"),
        ("gelu_fast", "mlx", "ambiguous: mlx's fast approximation, gelu_fast_approx, is quick_gelu"),
        ("xyzzy123", None, "any framework it knows$"),
        ("", None, "'' is no function"),
        ("relu.gelu", None, "contains 'relu', but known before a dot are torch, jax"),
        ("gelu", "tensorflow", "^dialect must be one of 'torch', 'jax', .* not 'tensorflow'"),
        ("gelu", ["torch"], "^dialect must be one of"),
        ("jax.nn.gelu", "torch", "'jax.nn.gelu' is a name in jax, but dialect is 'torch'"),
        ("keras.layers.ReLU", "jax", "is a name in keras, but dialect is 'jax'"),
        ("leakyrelu", "keras", r"ambiguous: keras's leaky_relu is leaky_relu\(alpha=0.2\), keras's LeakyReLU is leaky_relu\(alpha=0.3\)"),
        ("hard_silu", "thinc", r"ambiguous: thinc's hard_swish is hard_silu\(slope=0.2\)"),
        ("linear", "torch", "ambiguous: torch's is a layer of weights"),
        ("torch.nn.Linear", None, "ambiguous: torch's is a layer of weights"),
        ("sinc", "torch", "ambiguous"),
        ("glu", "transformer_engine", "ambiguous: TransformerEngine's takes the gate from the first half"),
        ("BCELoss", None, "ambiguous: it takes probabilities unless told otherwise; of logits it is sigmoid_cross_entropy"),
        ("keras.losses.categorical_crossentropy", None, "of logits it is softmax_cross_entropy"),
        ("torch.nn.NLLLoss", None, "it takes log-probabilities"),
        ("categorical_hinge", "keras", "the largest alone"),
        ("optax.multiclass_hinge_loss", None, "the largest alone"),
        ("nn.Bilinear", "torch", "layer of weights"),
        ("Softmax2d", "torch", "axis=-3"),
        ("optax.l2_loss", None, "half the square"),
    ],
)  # fmt: skip
def test_errors(name: str, dialect: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastact.get(name, dialect=dialect)


def test_names_are_strings() -> None:
    with pytest.raises(TypeError, match=r"name must be a string, not <fastact\.gelu>"):
        fastact.get(fastact.gelu)  # type: ignore[arg-type]


@pytest.mark.parametrize(("peer", "spelling"), CLASHES)
def test_clashes_are_errors(peer: str | None, spelling: str) -> None:
    if peer is None and spelling in functions():
        assert fastact.get(spelling) is getattr(fastact, spelling)
    else:
        with pytest.raises(ValueError, match="ambiguous"):
            fastact.get(spelling, dialect=peer)


def test_the_docstring_lists_the_dialects() -> None:
    listed = ", ".join(f'"{peer}"' for peer in SPELLINGS)
    assert f"One of {listed}: whose" in " ".join((fastact.get.__doc__ or "").split())


# ---------------------------------------------------------------- with_defaults


def all_params(name: str) -> tuple[float, ...]:
    """A value for every parameter: the defaults, or what tests try where there are none."""
    definition = ACTIVATIONS[name].definition
    defaults = tuple(0.25 if default is None else default for default in definition.params.values())
    return definition.examples[0] if None in definition.params.values() and definition.examples else defaults


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name, f in ACTIVATIONS.items() if isinstance(f, fastact.Activation) and f.definition.params])
def test_with_defaults(name: str, dtype: Any) -> None:
    """What giving the parameters in the call would be, in every direction, on the fast path and beside it."""
    f = ACTIVATIONS[name]
    values = [0.75 * value + 0.125 for value in all_params(name)]
    g = f.with_defaults(**dict(zip(f.definition.params, values, strict=True)))
    whole = X.astype(dtype)
    for x in (whole, whole[::2], whole.reshape(7, 1)):
        assert same_bits(g(x), f(x, *values))
        assert same_bits(g.derivative(x), f.derivative(x, *values))
        ours, theirs = g.backward(x, x), f.backward(x, x, *values)
        for a, b in zip(ours, theirs, strict=True) if f.learnable else [(ours, theirs)]:
            assert same_bits(np.asarray(a), np.asarray(b))
        assert same_bits(g(x, *all_params(name)), f(x, *all_params(name)))


def test_with_defaults_looks_like_a_function() -> None:
    f = fastact.leaky_relu.with_defaults(alpha=0.2)
    assert repr(f) == "<fastact.leaky_relu(alpha=0.2)>"
    assert repr(f.backward) == "<fastact.leaky_relu(alpha=0.2).backward>"
    assert f.__name__ == "leaky_relu"
    for part in (f, f.derivative, f.backward):
        assert inspect.signature(part).parameters["alpha"].default == 0.2
        assert copy.copy(part) is copy.deepcopy(part) is part
        assert pickle.loads(pickle.dumps(part)) is part
    assert "``alpha = 0.2``" in (f.__doc__ or "")
    assert inspect.signature(fastact.leaky_relu).parameters["alpha"].default == 0.01
    assert fastact.explain(f, X).backend == "cython"


def test_with_defaults_is_the_same_object_for_the_same_defaults() -> None:
    f = fastact.leaky_relu.with_defaults(alpha=0.2)
    assert f is fastact.leaky_relu.with_defaults(alpha=np.float64(0.2)) is fastact.get("leaky_relu", dialect="keras")
    assert f.with_defaults() is f.with_defaults(alpha=0.2) is f
    assert fastact.leaky_relu.with_defaults(alpha=0.01) is fastact.leaky_relu
    assert f.with_defaults(alpha=0.3) is fastact.leaky_relu.with_defaults(alpha=0.3)


def test_with_defaults_unpickles_where_it_is_new() -> None:
    text = pickle.dumps(fastact.leaky_relu.with_defaults(alpha=0.625))
    assert repr(pickle.loads(text)) == "<fastact.leaky_relu(alpha=0.625)>"


def test_with_defaults_of_required_parameters() -> None:
    f = fastact.prelu.with_defaults(alpha=0.25)
    assert same_bits(f(X), fastact.prelu(X, 0.25))
    assert same_bits(f(X, np.float32(0.5)), fastact.prelu(X, 0.5))
    _, slope = f.backward(X, X)
    assert slope == fastact.prelu.backward(X, X, 0.25)[1]


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("leaky_relu", {"beta": 1.0}, r"leaky_relu.with_defaults\(\) got an unexpected keyword argument 'beta'; it takes alpha"),
        ("gelu", {"alpha": 1.0}, "it takes none"),
        ("leaky_relu", {"alpha": None}, "leaky_relu.with_defaults: alpha must be a real number, not None"),
        ("leaky_relu", {"alpha": True}, "alpha must be a real number"),
        ("leaky_relu", {"alpha": "0.2"}, "alpha must be a real number"),
        ("leaky_relu", {"alpha": np.ones(3)}, "alpha must be a real number"),
    ],
)
def test_with_defaults_errors(function: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        getattr(fastact, function).with_defaults(**given)


def test_defaults_must_not_leave_a_gap() -> None:
    with pytest.raises(TypeError, match="value comes after threshold and has no default"):
        fastact.threshold.with_defaults(threshold=1.0)
    assert fastact.threshold.with_defaults(threshold=1.0, value=0.0)(np.array([0.5, 2.0])).tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("qgelu", "quick_gelu"),
        ("gelu_sigmoid", "quick_gelu"),
        ("fast_gelu", "gelu_tanh"),
        ("swish1", "silu"),
        ("htanh", "hard_tanh"),
        ("brelu", "clipped_relu"),
        ("situ_gate", "situ"),
        ("jnp.tanh", "tanh"),
        ("jax.numpy.tanh", "tanh"),
        ("scipy.special.expit", "sigmoid"),
    ],
)
def test_more_spellings(name: str, ours: str) -> None:
    assert fastact.get(name) is getattr(fastact, ours)
