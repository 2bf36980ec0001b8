"""The regression check: has a kernel become slower? ``python -m fastact.regression``.

Every row of the speed suite (`suite`) is timed against a yardstick (`yardstick`) that shares its noise, and the ratio of the two is
compared with the one that was stored for this processor and instruction set (`baseline`). Nothing is imported before it is used.
"""
