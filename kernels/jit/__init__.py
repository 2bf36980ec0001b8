"""The Numba side: what the lowered definitions stand on, and the loops around them.

`intrinsics.py` and `rowwise.py` are not imported by the package: their text becomes part of the self-contained modules that
`loops.py` writes, because Numba's cache sees a change only in the file that a function stands in.
"""
