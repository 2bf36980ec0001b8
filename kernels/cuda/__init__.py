"""CUDA sources: the vocabulary of lowered definitions and the loops. ``fastact/backends/cupy.py`` puts them together at run time."""
