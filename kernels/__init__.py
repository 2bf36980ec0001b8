"""Everything that computes: the definitions, their lowering, and the loops for CPU, Numba and CUDA.

Inside this package imports are relative only: the build loads ``lower.py`` by path, before anything is installed.
"""
