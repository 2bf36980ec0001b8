"""The mathematics, once: a file per family, all written in the language of ``language.py``."""

from __future__ import annotations

from . import gaussians, primitives, rectifiers, rowwise, sigmoids, softplus
from .language import DEFINITIONS, Definition

__all__ = ["DEFINITIONS", "Definition", "gaussians", "primitives", "rectifiers", "rowwise", "sigmoids", "softplus"]
