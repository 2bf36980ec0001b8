"""The mathematics, once: a file per family, all written in the language of ``language.py``."""

from __future__ import annotations

import importlib
import pkgutil

from .language import DEFINITIONS, LOSSES, Definition

for _found in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_found.name}")

__all__ = ["DEFINITIONS", "LOSSES", "Definition"]
