"""What the tests iterate over, and a few helpers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

import fastact
from fastact.kernels.definitions import DEFINITIONS

ELEMENTWISE = [name for name, d in DEFINITIONS.items() if d.family == "elementwise"]
ROWWISE = [name for name, d in DEFINITIONS.items() if d.family == "rowwise"]
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
#: Backends for NumPy arrays that are there.
BACKENDS = [name for name, info in fastact.backends().items() if info.available and name != "cupy"]


def params(name: str) -> tuple[float, ...]:
    """Parameters for a call: the required ones."""
    return tuple(0.25 for default in DEFINITIONS[name].params.values() if default is None)


def same_bits(a: Any, b: Any) -> bool:
    """Equal as integers, all NaNs being one value."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "iu":
        return bool((a == b).all())
    unsigned = f"u{a.dtype.itemsize}"
    with np.errstate(invalid="ignore"):  # signalling NaNs
        nan = np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64))
    return bool(((np.ascontiguousarray(a).view(unsigned) == np.ascontiguousarray(b).view(unsigned)) | nan).all())
