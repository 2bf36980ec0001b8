"""Activation functions and their gradients on any array, at the speed of the memory, to the last bit of accuracy.

>>> import numpy as np, fastact
>>> fastact.relu(np.array([-1.0, 0.5]))
array([0. , 0.5])

``fastact.ACTIVATIONS`` holds all functions by name; each has ``derivative`` and ``backward``; ``fastact.get`` finds
them by the names of other frameworks, ``fastact.catalogue()`` tells what is known of each.
"""

from ._source_tree import check as _check

_check()

from . import backends as _backends  # first: the package must not take the name of the function below
from .activation import ACTIVATIONS, ALIASES, Activation, count_calls, explain
from .catalogue import catalogue
from .dispatch import backends, use_accuracy, use_backend
from .fused import act_dropout, bias_act
from .gated import GATED, GATED_ALIASES, Gated, gated
from .learnable import FUNCTIONS as _LEARNABLE
from .learnable import LearnedFunction
from .losses import LOSS_ALIASES, LOSSES, Loss
from .memory import PoolStats, empty_cache, pool_stats, set_pool_limit
from .names import get
from .rowwise import RowwiseActivation
from .threads import get_num_threads, set_num_threads
from .warm import warmup

__version__ = "0.1.0"
globals().update(ACTIVATIONS)
globals().update(ALIASES)
globals().update(_LEARNABLE)
globals().update(LOSSES)
globals().update(LOSS_ALIASES)
globals().update(GATED)
globals().update(GATED_ALIASES)
#: The docstring examples of what are instances, for doctest.
__test__ = {name: function.__doc__ for name, function in {**ACTIVATIONS, **_LEARNABLE, **LOSSES, **GATED}.items()}
__all__ = sorted(
    [
        "ACTIVATIONS",
        "Activation",
        "LOSSES",
        "Loss",
        "Gated",
        "LearnedFunction",
        "PoolStats",
        "RowwiseActivation",
        "act_dropout",
        "backends",
        "bias_act",
        "catalogue",
        "count_calls",
        "empty_cache",
        "explain",
        "gated",
        "get",
        "get_num_threads",
        "pool_stats",
        "set_num_threads",
        "set_pool_limit",
        "use_accuracy",
        "use_backend",
        "warmup",
        *ACTIVATIONS,
        *ALIASES,
        *_LEARNABLE,
        *LOSSES,
        *LOSS_ALIASES,
        *GATED,
        *GATED_ALIASES,
    ]
)
