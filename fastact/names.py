"""Functions by name, as torch, jax, keras, ONNX and others spell them, and with the defaults these have.

Two tables hold what is known: `SPELLINGS`, which peer has which function under which names, and `DEFAULTS`, where a peer's
defaults are not ours. Everything else is derived from them when first needed.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

#: Peer -> our name -> the peer's names for it, with capitals where they are classes. As of torch 2.13, jax 0.10, keras 3.15, Keras 2.15,
#: onnx 1.23 (opset 28), mlx 0.32, thinc 9.1, timm 1.0, transformers 5.23, vLLM 0.11, TransformerEngine 2, Megatron Core 0.14, Liger 0.6,
#: Chainer 7, Paddle 3, optax 0.2 and entmax 1.3.
SPELLINGS: dict[str, dict[str, str]] = {
    "torch": {
        "identity": "Identity",
        "relu": "relu ReLU",
        "relu6": "relu6 ReLU6",
        "leaky_relu": "leaky_relu LeakyReLU",
        "prelu": "prelu PReLU",
        "rrelu": "rrelu RReLU",
        "threshold": "threshold Threshold",
        "elu": "elu ELU",
        "selu": "selu SELU",
        "celu": "celu CELU",
        "gelu": "gelu GELU",
        "silu": "silu SiLU",
        "hard_silu": "hardswish Hardswish",
        "mish": "mish Mish",
        "sigmoid": "sigmoid Sigmoid",
        "hard_sigmoid": "hardsigmoid Hardsigmoid",
        "log_sigmoid": "logsigmoid LogSigmoid",
        "tanh": "tanh Tanh",
        "hard_tanh": "hardtanh Hardtanh",
        "tanh_shrink": "tanhshrink Tanhshrink",
        "soft_shrink": "softshrink Softshrink",
        "hard_shrink": "hardshrink Hardshrink",
        "softplus": "softplus Softplus",
        "softsign": "softsign Softsign",
        "exponential": "exp",
        "sine": "sin",
        "cosine": "cos",
        "arctan": "atan arctan",
        "softmax": "softmax Softmax",
        "log_softmax": "log_softmax LogSoftmax",
        "softmin": "softmin Softmin",
        "logsumexp": "logsumexp",
        "gumbel_softmax": "gumbel_softmax",
        "glu": "glu GLU",
        "softmax_cross_entropy": "cross_entropy CrossEntropyLoss",
        "sigmoid_cross_entropy": "binary_cross_entropy_with_logits BCEWithLogitsLoss",
        "multi_class_hinge": "multi_margin_loss MultiMarginLoss",
        "mse": "mse_loss MSELoss",
        "huber": "huber_loss HuberLoss",
        "focal": "sigmoid_focal_loss",
    },
    "jax": {
        "identity": "identity",
        "relu": "relu",
        "relu6": "relu6",
        "leaky_relu": "leaky_relu",
        "elu": "elu",
        "selu": "selu",
        "celu": "celu",
        "gelu_tanh": "gelu",
        "silu": "silu swish",
        "hard_silu": "hard_silu hard_swish",
        "mish": "mish",
        "sigmoid": "sigmoid",
        "hard_sigmoid": "hard_sigmoid",
        "log_sigmoid": "log_sigmoid",
        "tanh": "tanh",
        "hard_tanh": "hard_tanh",
        "softplus": "softplus",
        "softsign": "soft_sign",
        "squareplus": "squareplus",
        "sparse_plus": "sparse_plus",
        "sparse_sigmoid": "sparse_sigmoid",
        "log1mexp": "log1mexp",
        "softmax": "softmax",
        "log_softmax": "log_softmax",
        "logsumexp": "logsumexp",
        "glu": "glu",
    },
    "keras": {
        "identity": "linear",
        "relu": "relu ReLU",
        "relu6": "relu6",
        "leaky_relu": "leaky_relu LeakyReLU",
        "prelu": "PReLU",
        "threshold": "threshold",
        "elu": "elu ELU",
        "selu": "selu",
        "celu": "celu",
        "gelu": "gelu",
        "gelu_tanh": "ops.gelu",
        "silu": "silu swish",
        "hard_silu": "hard_silu hard_swish",
        "mish": "mish",
        "sigmoid": "sigmoid",
        "hard_sigmoid": "hard_sigmoid",
        "log_sigmoid": "log_sigmoid",
        "tanh": "tanh",
        "hard_tanh": "hard_tanh",
        "tanh_shrink": "tanh_shrink",
        "soft_shrink": "soft_shrink",
        "hard_shrink": "hard_shrink",
        "softplus": "softplus",
        "softsign": "softsign",
        "squareplus": "squareplus",
        "sparse_plus": "sparse_plus",
        "sparse_sigmoid": "sparse_sigmoid",
        "exponential": "exponential",
        "softmax": "softmax Softmax",
        "log_softmax": "log_softmax",
        "logsumexp": "logsumexp",
        "sparsemax": "sparsemax",
        "glu": "glu",
        "hinge": "hinge Hinge",
        "squared_hinge": "squared_hinge SquaredHinge",
        "mse": "mean_squared_error MeanSquaredError mse MSE",
        "huber": "huber Huber",
    },
    "keras2": {
        "identity": "linear",
        "relu": "relu ReLU",
        "leaky_relu": "LeakyReLU",
        "prelu": "PReLU",
        "thresholded_relu": "ThresholdedReLU",
        "elu": "elu ELU",
        "selu": "selu",
        "gelu": "gelu",
        "silu": "swish",
        "mish": "mish",
        "sigmoid": "sigmoid",
        "hard_sigmoid": "hard_sigmoid",
        "tanh": "tanh",
        "softplus": "softplus",
        "softsign": "softsign",
        "exponential": "exponential",
        "softmax": "softmax Softmax",
        "log_softmax": "log_softmax",
        "hinge": "hinge Hinge",
        "squared_hinge": "squared_hinge SquaredHinge",
        "mse": "mean_squared_error MeanSquaredError mse MSE",
        "huber": "huber Huber",
    },
    "onnx": {
        "identity": "Identity",
        "relu": "Relu",
        "leaky_relu": "LeakyRelu",
        "prelu": "PRelu",
        "thresholded_relu": "ThresholdedRelu",
        "elu": "Elu",
        "selu": "Selu",
        "celu": "Celu",
        "gelu": "Gelu",
        "swish_beta": "Swish",
        "hard_silu": "HardSwish",
        "mish": "Mish",
        "sigmoid": "Sigmoid",
        "hard_sigmoid": "HardSigmoid",
        "tanh": "Tanh",
        "shrink": "Shrink",
        "softplus": "Softplus",
        "softsign": "Softsign",
        "exponential": "Exp",
        "sine": "Sin",
        "cosine": "Cos",
        "arctan": "Atan",
        "softmax": "Softmax",
        "log_softmax": "LogSoftmax",
        "hardmax": "Hardmax",
        "logsumexp": "ReduceLogSumExp",
        "softmax_cross_entropy": "SoftmaxCrossEntropyLoss",
    },
    "mlx": {
        "identity": "Identity",
        "relu": "relu ReLU",
        "relu6": "relu6 ReLU6",
        "relu_squared": "relu2 ReLU2",
        "leaky_relu": "leaky_relu LeakyReLU",
        "prelu": "prelu PReLU",
        "elu": "elu ELU",
        "selu": "selu SELU",
        "celu": "celu CELU",
        "gelu": "gelu GELU",
        "gelu_tanh": "gelu_approx",
        "quick_gelu": "gelu_fast_approx",
        "silu": "silu SiLU",
        "hard_silu": "hardswish Hardswish",
        "mish": "mish Mish",
        "sigmoid": "sigmoid Sigmoid",
        "log_sigmoid": "log_sigmoid LogSigmoid",
        "tanh": "tanh Tanh",
        "hard_tanh": "hard_tanh HardTanh",
        "soft_shrink": "softshrink Softshrink",
        "hard_shrink": "hard_shrink HardShrink",
        "softplus": "softplus Softplus",
        "softsign": "softsign Softsign",
        "step": "step Step",
        "softmax": "softmax Softmax",
        "log_softmax": "log_softmax LogSoftmax",
        "softmin": "softmin Softmin",
        "logsumexp": "logsumexp",
        "glu": "glu GLU",
        "softmax_cross_entropy": "cross_entropy",
        "sigmoid_cross_entropy": "binary_cross_entropy",
        "hinge": "hinge_loss",
        "mse": "mse_loss",
        "huber": "huber_loss",
    },
    "thinc": {
        "relu": "relu Relu",
        "clipped_relu": "relu_k ReluK",
        "gelu": "gelu Gelu",
        "gelu_tanh": "gelu_approx",
        "silu": "swish Swish",
        "hard_silu": "hard_swish HardSwish hard_swish_mobilenet HardSwishMobilenet",
        "mish": "mish Mish",
        "dish": "dish Dish",
        "sigmoid": "sigmoid Sigmoid sigmoid_activation Logistic",
        "hard_sigmoid": "hard_sigmoid HardSigmoid",
        "clipped_linear": "clipped_linear ClippedLinear",
        "hard_tanh": "hard_tanh HardTanh",
        "softmax": "softmax Softmax softmax_activation",
        "maxout": "maxout Maxout",
    },
    # With the kinds that older releases had beside the plain ones: "_jit" and, sparing memory, "_me".
    "timm": {
        "identity": "identity",
        "relu": "relu",
        "relu6": "relu6",
        "leaky_relu": "leaky_relu",
        "prelu": "prelu",
        "elu": "elu",
        "selu": "selu",
        "celu": "celu",
        "gelu": "gelu",
        "gelu_tanh": "gelu_tanh",
        "quick_gelu": "quick_gelu",
        "silu": "silu swish swish_me swish_jit",
        "hard_silu": "hard_swish hardswish hard_swish_me hard_swish_jit",
        "mish": "mish mish_me mish_jit",
        "hard_mish": "hard_mish hard_mish_me hard_mish_jit",
        "sigmoid": "sigmoid",
        "hard_sigmoid": "hard_sigmoid hardsigmoid hard_sigmoid_me hard_sigmoid_jit",
        "tanh": "tanh",
        "softmax_cross_entropy": "SoftTargetCrossEntropy",
    },
    "transformers": {
        "identity": "linear",
        "relu": "relu",
        "relu6": "relu6",
        "relu_squared": "relu2",
        "leaky_relu": "leaky_relu",
        "prelu": "prelu",
        "gelu": "gelu gelu_python",
        "gelu_tanh": "gelu_new gelu_fast gelu_accurate gelu_pytorch_tanh gelu_python_tanh",
        "quick_gelu": "quick_gelu",
        "clipped_gelu": "gelu_10",
        "silu": "silu swish",
        "hard_silu": "hardswish",
        "mish": "mish",
        "sigmoid": "sigmoid",
        "tanh": "tanh",
        "laplace": "laplace",
        "xielu": "xielu",
    },
    "vllm": {
        "relu": "relu",
        "relu_squared": "relu2 ReLUSquaredActivation",
        "gelu": "gelu",
        "gelu_tanh": "gelu_new gelu_fast gelu_pytorch_tanh",
        "quick_gelu": "quick_gelu QuickGELU",
        "silu": "silu",
        "sigmoid": "sigmoid",
        "tanh": "tanh",
        "swiglu": "silu_and_mul SiluAndMul",
        "mul_and_silu": "mul_and_silu MulAndSilu",
        "geglu": "gelu_and_mul GeluAndMul geglu",
        "geglu_tanh": "gelu_tanh_and_mul",
        "swiglu_oai": "swigluoai swigluoai_and_mul SwigluOAIAndMul",
        "xielu": "xielu XIELU",
    },
    "transformer_engine": {
        "relu": "relu",
        "relu_squared": "srelu",
        "gelu_tanh": "gelu",
        "quick_gelu": "qgelu",
        "silu": "silu",
        "swiglu": "swiglu",
        "geglu_tanh": "geglu",
        "quick_geglu": "qgeglu",
        "reglu": "reglu",
        "sreglu": "sreglu",
        "swiglu_oai": "clamped_swiglu",
    },
    "megatron": {
        "relu_squared": "squared_relu",
        "quick_gelu": "quick_gelu",
        "swiglu": "swiglu weighted_swiglu bias_swiglu bias_swiglu_impl weighted_bias_swiglu_impl",
        "geglu_tanh": "geglu bias_geglu bias_geglu_impl",
        "quick_geglu": "quick_geglu weighted_quick_geglu weighted_bias_quick_geglu_impl",
        "softmax": "FusedScaleMaskSoftmax SoftmaxOne",
        "softmax_cross_entropy": "vocab_parallel_cross_entropy fused_vocab_parallel_cross_entropy",
    },
    "liger": {
        "softmax": "liger_softmax LigerSoftmax LigerSoftmaxFunction",
        "sparsemax": "liger_sparsemax LigerSparsemax LigerSparsemaxFunction",
        "swiglu": "liger_swiglu LigerSiLUMulFunction",
        "geglu_tanh": "liger_geglu LigerGELUMulFunction",
        "relu_squared": "liger_relu_squared LigerReLUSquared",
        "dyt": "liger_dyt LigerDyT LigerDyTFunction",
        "softmax_cross_entropy": "liger_cross_entropy LigerCrossEntropyLoss LigerCrossEntropyFunction",
    },
    "chainer": {
        "relu": "relu",
        "relu6": "relu6",
        "clipped_relu": "clipped_relu",
        "leaky_relu": "leaky_relu",
        "prelu": "prelu PReLU",
        "rrelu": "rrelu",
        "elu": "elu",
        "selu": "selu",
        "sigmoid": "sigmoid",
        "hard_sigmoid": "hard_sigmoid",
        "tanh": "tanh",
        "softplus": "softplus",
        "swish_beta": "swish",
        "softmax": "softmax",
        "log_softmax": "log_softmax",
        "logsumexp": "logsumexp",
        "gumbel_softmax": "gumbel_softmax",
        "maxout": "maxout",
        "softmax_cross_entropy": "softmax_cross_entropy",
        "sigmoid_cross_entropy": "sigmoid_cross_entropy",
        "mse": "mean_squared_error squared_error",
        "huber": "huber_loss",
    },
    "paddle": {
        "relu": "relu ReLU",
        "relu6": "relu6 ReLU6",
        "leaky_relu": "leaky_relu LeakyReLU",
        "prelu": "prelu PReLU",
        "rrelu": "rrelu RReLU",
        "thresholded_relu": "thresholded_relu ThresholdedReLU",
        "elu": "elu ELU",
        "selu": "selu SELU",
        "celu": "celu CELU",
        "gelu": "gelu GELU",
        "silu": "silu Silu swish Swish",
        "hard_silu": "hardswish Hardswish",
        "mish": "mish Mish",
        "sigmoid": "sigmoid Sigmoid",
        "hard_sigmoid": "hardsigmoid Hardsigmoid",
        "log_sigmoid": "log_sigmoid LogSigmoid",
        "tanh": "tanh Tanh",
        "hard_tanh": "hardtanh Hardtanh",
        "stanh": "stanh",
        "tanh_shrink": "tanhshrink Tanhshrink",
        "soft_shrink": "softshrink Softshrink",
        "hard_shrink": "hardshrink Hardshrink",
        "softplus": "softplus Softplus",
        "softsign": "softsign Softsign",
        "softmax": "softmax Softmax",
        "log_softmax": "log_softmax LogSoftmax",
        "logsumexp": "logsumexp",
        "gumbel_softmax": "gumbel_softmax",
        "glu": "glu GLU",
        "swiglu": "swiglu",
        "maxout": "maxout Maxout",
        "softmax_cross_entropy": "cross_entropy CrossEntropyLoss softmax_with_cross_entropy",
        "sigmoid_cross_entropy": "binary_cross_entropy_with_logits BCEWithLogitsLoss",
        "multi_class_hinge": "multi_margin_loss MultiMarginLoss",
        "mse": "mse_loss MSELoss",
        "huber": "smooth_l1_loss SmoothL1Loss",
        "focal": "sigmoid_focal_loss",
    },
    "optax": {
        "softmax_cross_entropy": "softmax_cross_entropy softmax_cross_entropy_with_integer_labels safe_softmax_cross_entropy",
        "sigmoid_cross_entropy": "sigmoid_binary_cross_entropy",
        "hinge": "hinge_loss",
        "mse": "squared_error",
        "huber": "huber_loss",
    },
    "entmax": {
        "sparsemax": "sparsemax Sparsemax sparsemax_bisect SparsemaxBisect",
        "entmax15": "entmax15 Entmax15",
        "entmax": "entmax_bisect EntmaxBisect",
    },
}  # fmt: skip

#: Peer -> our name, or one of the peer's names where they differ -> defaults that are not ours. Layers that learn a parameter have
#: the value that it starts from.
DEFAULTS: dict[str, dict[str, dict[str, float]]] = {
    "torch": {"PReLU": {"alpha": 0.25}},
    "keras": {"leaky_relu": {"alpha": 0.2}, "LeakyReLU": {"alpha": 0.3}, "PReLU": {"alpha": 0.0}},
    "keras2": {"LeakyReLU": {"alpha": 0.3}, "PReLU": {"alpha": 0.0}, "hard_sigmoid": {"slope": 0.2}},
    "onnx": {"selu": {"alpha": 1.67326319217681884765625, "scale": 1.05070102214813232421875}, "hard_sigmoid": {"slope": 0.2}},
    "mlx": {"PReLU": {"alpha": 0.25}, "selu": {"alpha": 1.67326, "scale": 1.0507}},
    "thinc": {"hard_sigmoid": {"slope": 0.2}, "hard_silu": {"slope": 0.2}, "hard_swish_mobilenet": {}, "HardSwishMobilenet": {}},
    "timm": {"prelu": {"alpha": 0.25}},
    "transformers": {"prelu": {"alpha": 0.25}},
    "chainer": {
        "clipped_relu": {"max_value": 20.0},
        "leaky_relu": {"alpha": 0.2},
        "PReLU": {"alpha": 0.25},
        "hard_sigmoid": {"slope": 0.2},
    },
    "paddle": {"PReLU": {"alpha": 0.25}},
}

#: (peer, or None where no dialect is given; name without separators and capitals) -> why it is an error: it would mean something else
#: than it seems to. Our own names are never refused without a dialect.
CLASHES: dict[tuple[str | None, str], str] = {
    ("torch", "linear"): "torch's is a layer of weights; the activation is identity",
    ("mlx", "linear"): "mlx's is a layer of weights; the activation is identity",
    ("thinc", "linear"): "thinc's is a layer of weights; the activation is identity",
    ("mlx", "gelufast"): "mlx's fast approximation, gelu_fast_approx, is quick_gelu; elsewhere gelu_fast is gelu_tanh",
    ("torch", "sinc"): "torch's is sin(pi x) / (pi x), fastact.sinc is sin(x) / x",
    ("jax", "sinc"): "jax's is sin(pi x) / (pi x), fastact.sinc is sin(x) / x",
    ("torch", "bilinear"): "torch's is a layer of weights; a bilinear gate is fastact.bilinear",
    ("torch", "softmax2d"): "it is softmax(x, axis=-3)",
    ("transformer_engine", "glu"): "TransformerEngine's takes the gate from the first half, fastact.glu from the second",
    ("vllm", "fatreluandmul"): "it is fastact.gated with thresholded_relu",
    ("chainer", "hinge"): "chainer's has a hinge for every class; fastact.hinge is of one label, multi_class_hinge of differences",
    ("optax", "sigmoidfocalloss"): "optax's has no alpha unless told, fastact.focal has 0.25",
    ("optax", "l2loss"): "optax's is half the square, fastact.mse the square",
    ("keras", "logcosh"): "keras's is a loss of two arrays; of their difference it is fastact.logcosh",
    ("optax", "logcosh"): "optax's is a loss of two arrays; of their difference it is fastact.logcosh",
    # Losses of something else than logits, or with another formula.
    **{
        (peer, spelling): says
        for says, spellings, peers_of_it in (
            ("it takes probabilities unless told otherwise; of logits it is sigmoid_cross_entropy",
             "binarycrossentropy bce bceloss binarycrossentropyloss", "torch keras keras2 paddle"),
            ("it takes probabilities unless told otherwise; of logits it is softmax_cross_entropy",
             "categoricalcrossentropy sparsecategoricalcrossentropy", "keras keras2 thinc"),
            ("it takes probabilities unless told otherwise; of logits it is focal",
             "binaryfocalcrossentropy categoricalfocalcrossentropy", "keras keras2"),
            ("it takes log-probabilities; of logits it is softmax_cross_entropy",
             "nllloss negativeloglikelihoodloss", "torch mlx paddle onnx"),
            ("of the wrong classes it takes the largest alone; fastact.multi_class_hinge takes them all",
             "categoricalhinge multiclasshingeloss", "keras keras2 optax"),
            ("fastact.huber(delta=beta) / beta is the function; paddle's is fastact.huber itself",
             "smoothl1loss smoothl1", "torch mlx"),
        )
        for spelling in spellings.split()
        for peer in (None, *peers_of_it.split())
    },
}  # fmt: skip

#: What may stand before a name and a dot -> the peer that it stands for, if it does for one.
PREFIXES: dict[str, str | None] = {
    **{peer: peer for peer in SPELLINGS},
    "fastact": None, "nn": None, "functional": None, "activations": None, "layers": None, "ops": None, "api": None,
    "losses": None, "functions": None, "links": None, "incubate": None,
    "pytorch": None, "te": "transformer_engine", "liger_kernel": "liger",
    "F": "torch", "torchvision": "torch", "jnp": "jax", "mx": "mlx", "ai": "onnx", "numpy": None, "scipy": None, "special": None,
}  # fmt: skip

#: One of our functions, and defaults of its own.
Target = tuple[str, tuple[tuple[str, float], ...]]
#: Where a name was found: peer, or "fastact", and its name there.
Place = tuple[str, str]


def get(name: str, dialect: str | None = None) -> Any:
    """The function that a framework calls `name`, if asked with that framework's defaults: an activation, a gated function, a loss.

    Parameters
    ----------
    name : str
        As one of the frameworks below writes it, or fastact: "leaky_relu", "LeakyReLU", "torch.nn.LeakyReLU", "F.leaky_relu",
        "SiluAndMul", "optax.huber_loss". Capitals, underscores, hyphens and blanks count only where names differ in nothing else.
    dialect : str, optional
        One of "torch", "jax", "keras", "keras2", "onnx", "mlx", "thinc", "timm", "transformers", "vllm", "transformer_engine",
        "megatron", "liger", "chainer", "paddle", "optax", "entmax": whose meaning and defaults to take; "keras" is Keras 3. A name
        that begins with its framework, "jax.nn.gelu", says so itself. By default a name means what it means in fastact and torch,
        which agree, and otherwise what it means wherever it is known.

    Returns
    -------
    callable
        fastact's own function, or one with other defaults, as by ``Activation.with_defaults``.

    Raises
    ------
    TypeError
        If `name` is not a string.
    ValueError
        If nothing is called so, with the closest names; if frameworks mean different functions by it and no dialect decides;
        if there is no such dialect.

    Notes
    -----
    The functions that dialects differ in: leaky_relu (keras), hard_sigmoid (onnx, thinc, keras2), thinc's hard_swish, selu's
    constants (onnx, mlx), gelu, which is ``gelu_tanh`` in jax, keras.ops and TransformerEngine, geglu, which is ``geglu_tanh`` in
    TransformerEngine and Megatron, leaky_relu, hard_sigmoid and clipped_relu (chainer), and PReLU, whose layers start from 0.25, in
    keras from 0. A function that a framework lacks has fastact's defaults in its dialect too. What differs at a single point, such
    as slopes at kinks, and torch's threshold in softplus, which changes it by less than 2.1e-9, are no part of a dialect. torch's
    rrelu is meant as in evaluation. Nor are `axis`, `reduction` and the order of arguments: row-wise and gated functions go along
    the last axis, losses take the logits first and their mean, whichever framework has another default.

    Parameters have fastact's names: `alpha` is ``negative_slope`` of torch, jax, keras and mlx in leaky_relu and ``slope`` of ONNX in
    prelu; `slope` and `offset` are ``alpha`` and ``beta`` of ONNX in hard_sigmoid; `scale` is its ``gamma`` in selu, `beta` its
    ``alpha`` in swish_beta; `threshold` is its ``alpha`` and Keras 2's ``theta`` in thresholded_relu; `lambd` is ``threshold`` of
    keras; `value` is its ``default_value`` in threshold; `max_value` is ``n`` and ``k`` of thinc in clipped_relu.

    Examples
    --------
    >>> import fastact
    >>> fastact.get("LeakyReLU")
    <fastact.leaky_relu>
    >>> fastact.get("leaky_relu", dialect="keras")
    <fastact.leaky_relu(alpha=0.2)>
    >>> fastact.get("gelu_pytorch_tanh") is fastact.get("jax.nn.gelu") is fastact.gelu_tanh
    True
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    if dialect is not None and (not isinstance(dialect, str) or dialect not in SPELLINGS):
        raise ValueError(f"dialect must be one of {', '.join(map(repr, SPELLINGS))}, not {dialect!r}")
    return _get(name, dialect)


@cache
def functions() -> dict[str, Any]:
    """All public functions by all their names: what is called and has a gradient."""
    import fastact

    public = {name: getattr(fastact, name) for name in fastact.__all__}
    return {
        name: f
        for name, f in public.items()
        if callable(f) and not isinstance(f, type) and (hasattr(type(f), "backward") or "backward" in getattr(f, "__dict__", ()))
    }


def peers(name: str) -> dict[str, tuple[str, ...]]:
    """The peers that have the function, each with its names for it."""
    return {peer: tuple(table[name].split()) for peer, table in SPELLINGS.items() if name in table}


@lru_cache(512)
def _get(name: str, dialect: str | None) -> Any:
    peer, parts = _told(name, dialect)
    # As much of the name as is one: "ops.gelu" is not "gelu".
    for spelling in (".".join(parts[i:]) for i in range(len(parts))):
        target = _in_dialect(name, spelling, peer) if peer else _anywhere(name, spelling)
        if target:
            function = functions()[target[0]]
            return function.with_defaults(**dict(target[1])) if target[1] else function
    known = f"{peer} or fastact" if peer else "fastact or any framework it knows"
    raise ValueError(f"name: {name!r} is no function of {known}{_suggestion(parts[-1], peer)}")


def _told(name: str, dialect: str | None) -> tuple[str | None, list[str]]:
    """The peer to ask, and the name in its parts, without the version that thinc's registry puts at the end."""
    *prefixes, _ = parts = re.sub(r"\.v\d+$", "", name).split(".")
    unknown = [prefix for prefix in prefixes if prefix not in PREFIXES]
    if unknown:
        raise ValueError(f"name: {name!r} contains {unknown[0]!r}, but known before a dot are {', '.join(PREFIXES)}")
    told = {peer for prefix in prefixes if (peer := PREFIXES[prefix])}
    if len(told) > 1 or (dialect and told - {dialect} and (told, dialect) != ({"keras"}, "keras2")):  # Keras 2 too is imported as keras
        raise ValueError(f"name: {name!r} is a name in {' and '.join(sorted(told))}, but dialect is {dialect!r}")
    return dialect or next(iter(told), None), parts


def _in_dialect(name: str, spelling: str, peer: str) -> Target | None:
    """What `peer` means by a name: first by its own names, then by ours, for what it calls otherwise or lacks."""
    _refuse_clash(name, spelling, peer)
    found = _only(name, _exactly([peer], spelling)) or _only(name, _alike([peer], spelling))
    if found:
        return found
    ours = _only(name, _alike(["fastact"], spelling))
    return ours and (_only(name, [(peer, s) for s in SPELLINGS[peer].get(ours[0], "").split()]) or ours)


def _anywhere(name: str, spelling: str) -> Target | None:
    """What a name means without a dialect: in fastact and torch first."""
    for look in _exactly, _alike:
        for table in "fastact", "torch":
            found = _only(name, look([table], spelling))
            if found:
                return found
    _refuse_clash(name, spelling, None)
    return _only(name, _exactly(list(SPELLINGS), spelling)) or _only(name, _alike(list(SPELLINGS), spelling))


def _refuse_clash(name: str, spelling: str, peer: str | None) -> None:
    says = CLASHES.get((peer, _plain(spelling)))
    if says:
        raise ValueError(f"name: {name!r} is ambiguous: {says}")


def _only(name: str, places: list[Place]) -> Target | None:
    """The one target that all places have; None if there are no places."""
    targets = {place: _table(place[0])[place[1]] for place in places}
    if len(set(targets.values())) > 1:
        found = ", ".join(f"{peer}'s {spelling} is {_described(target)}" for (peer, spelling), target in targets.items())
        raise ValueError(f"name: {name!r} is ambiguous: {found}")
    return next(iter(targets.values()), None)


def _described(target: Target) -> str:
    defaults = ", ".join(f"{name}={value!r}" for name, value in target[1])
    return f"{target[0]}({defaults})" if defaults else target[0]


def _exactly(tables: list[str], spelling: str) -> list[Place]:
    return [(table, spelling) for table in tables if spelling in _table(table)]


def _alike(tables: list[str], spelling: str) -> list[Place]:
    return [(table, s) for table in tables for s in _by_plain_name(table).get(_plain(spelling), [])]


@cache
def _table(peer: str) -> dict[str, Target]:
    """Every name that `peer` has, "fastact" being one too."""
    if peer == "fastact":
        found = functions()
        return {name: (f.__name__ if f.__name__ in found else name, ()) for name, f in found.items()}
    defaults = DEFAULTS.get(peer, {})
    return {
        spelling: (name, tuple(defaults.get(spelling, defaults.get(name, {})).items()))
        for name, spellings in SPELLINGS[peer].items()
        if name in functions()
        for spelling in spellings.split()
    }


@cache
def _by_plain_name(peer: str) -> dict[str, list[str]]:
    """The names that `peer` has, by what is left of them when capitals and separators are not counted."""
    found: dict[str, list[str]] = {}
    for spelling in _table(peer):
        found.setdefault(_plain(spelling), []).append(spelling)
    return found


def _plain(spelling: str) -> str:
    return re.sub(r"[-_\s]", "", spelling).lower()


def _suggestion(spelling: str, peer: str | None) -> str:
    """The end of a message: the closest names, if any is close."""
    from difflib import get_close_matches

    tables = ["fastact", peer] if peer else ["fastact", *SPELLINGS]
    known = {plain: spellings[0] for table in reversed(tables) for plain, spellings in _by_plain_name(table).items()}
    close = [repr(known[plain]) for plain in get_close_matches(_plain(spelling), known)]
    return f"; did you mean {' or '.join(filter(None, [', '.join(close[:-1]), close[-1]]))}?" if close else ""
