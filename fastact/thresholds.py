"""From how many elements on threads pay, by cost class and storage type, where nobody has run ``fastact tune``.

Generated: written by ``benchmarks/crossover.py`` on AMD EPYC (family 25, model 17), 2 threads.
"""

CROSSOVER: dict[str, dict[str, int]] = {
    "move": {"float16": 524288, "bfloat16": 524288, "float32": 524288, "float64": 262144},
    "exp": {"float16": 131072, "bfloat16": 131072, "float32": 262144, "float64": 65536},
    "erf": {"float16": 65536, "bfloat16": 65536, "float32": 65536, "float64": 32768},
}
#: From how many on Numba's threads are faster than ours: nowhere.
NUMBA: dict[str, dict[str, int]] = {cost: dict.fromkeys(row, 1 << 62) for cost, row in CROSSOVER.items()}
