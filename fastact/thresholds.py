"""From how many elements on numba's threads are faster than cython's one core. Written by ``benchmarks/crossover.py``."""

CROSSOVER: dict[str, dict[str, int]] = {
    "move": {"float16": 262144, "bfloat16": 262144, "float32": 262144, "float64": 262144},
    "exp": {"float16": 65536, "bfloat16": 65536, "float32": 65536, "float64": 32768},
    "erf": {"float16": 32768, "bfloat16": 32768, "float32": 32768, "float64": 16384},
}
