"""A clear word to whoever starts Python in the source tree of a package that is installed elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def check() -> None:
    """Raise ImportError if this is ``./fastact`` of the source tree, without its compiled kernels."""
    if find_spec("fastact.kernels") is None and (Path(__file__).parents[1] / "setup.py").exists():
        raise ImportError(
            "this is fastact's source tree, whose kernels are not built: start Python elsewhere to use the installed package, "
            "or run `pip install -e .` here"
        )
