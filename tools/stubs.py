"""Write ``fastact/__init__.pyi``, the public names for type checkers, from the definitions. A test tells when it is stale."""

from __future__ import annotations

from pathlib import Path

import fastact

STUB = Path(__file__).parents[1] / "fastact" / "__init__.pyi"


def text() -> str:
    """The stub as it should be."""
    from fastact.activation import ACTIVATIONS, ALIASES
    from fastact.gated import GATED, GATED_ALIASES
    from fastact.learnable import FUNCTIONS
    from fastact.losses import LOSS_ALIASES, LOSSES

    fixed = {
        ".activation": ("ACTIVATIONS", "Activation", "count_calls", "explain"),
        ".catalogue": ("catalogue",),
        ".dispatch": ("backends", "use_accuracy", "use_backend"),
        ".fused": ("act_dropout", "bias_act"),
        ".gated": ("Gated", "gated"),
        ".learnable": ("LearnedFunction",),
        ".losses": ("LOSSES", "Loss"),
        ".memory": ("PoolStats", "empty_cache", "pool_stats", "set_pool_limit"),
        ".names": ("get",),
        ".rowwise": ("RowwiseActivation",),
        ".threads": ("get_num_threads", "set_num_threads"),
        ".warm": ("warmup",),
    }
    lines = ["# Written by tools/stubs.py; do not edit."]
    lines += [f"from {module} import {name} as {name}" for module, names in fixed.items() for name in names]
    lines += ["", "__version__: str", "__all__: list[str]", ""]
    lines += [f"{name}: {type(f).__name__}" for name, f in {**ACTIVATIONS, **ALIASES, **FUNCTIONS, **GATED, **GATED_ALIASES}.items()]
    lines += [f"{name}: Loss" for name in {**LOSSES, **LOSS_ALIASES}]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    STUB.write_text(text())
    print(f"{STUB.name}: {len(fastact.__all__)} names")
