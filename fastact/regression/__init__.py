"""The regression check: has a kernel become slower? ``python -m fastact.regression --help``.

Every row of the speed suite (`suite`) is timed in turns with a yardstick (`yardstick`); the ratio of the two is compared (`check`)
with what was stored for this processor and instruction set (`baseline`). Beside it the instructions of every compiled kernel are
counted under Valgrind (`instructions`), which gives the same numbers every time. Needs the extra ``test``.
"""
