"""From how many elements on numba's threads are faster than cython's one core, by cost class and storage type.

Generated: written by ``benchmarks/crossover.py`` on AMD EPYC (family 25, model 17), 2 cores, numba 0.68.1.
"""

CROSSOVER: dict[str, dict[str, int]] = {
    "move": {"float16": 131072, "bfloat16": 131072, "float32": 1048576, "float64": 524288},
    "exp": {"float16": 65536, "bfloat16": 131072, "float32": 262144, "float64": 65536},
    "erf": {"float16": 65536, "bfloat16": 65536, "float32": 262144, "float64": 524288},
}
