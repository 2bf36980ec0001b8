"""The oracle: every activation in float64, textbook formulas with NumPy and SciPy, a file a family; it imports no kernel and no definition.

The kernels are judged by it, and it is judged by mpmath (``tests/test_reference.py``).
"""

from __future__ import annotations

import importlib
import pkgutil

from .oracle import Oracle
from .rowwise import softmax, softmax_backward, softmax_backward_from_output

#: Every oracle by the name of its activation.
REFERENCE: dict[str, Oracle] = {}
for _found in pkgutil.iter_modules(__path__):
    REFERENCE.update(getattr(importlib.import_module(f"{__name__}.{_found.name}"), "ORACLES", {}))

__all__ = ["REFERENCE", "Oracle", "softmax", "softmax_backward", "softmax_backward_from_output"]
