// What a call needs beside the loops. Compiled with the baseline's flags alone.
#pragma once
#include <cmath>
#include <cstddef>
#include "interface.hpp"
#include "select.hpp"

// A number as an array of that storage type holds it, rounded to nearest whatever the environment is.
static double fastact_rounded(double value, int kind) {
    if (kind == FLOAT64) return value;
    const double single = fastact_single(value);
    if (kind == FLOAT32) return single;
    // NumPy rounds a double to float16 at once; ml_dtypes goes to bfloat16 through float32.
    const double from = kind == FLOAT16 ? value : single;
    if (from == 0.0 || !std::isfinite(from)) return from;
    fastact_environment environment;
    const int digits = kind == FLOAT16 ? 11 : 8, lowest = kind == FLOAT16 ? -24 : -133;  // the smallest subnormal's exponent
    int exponent;
    std::frexp(from, &exponent);
    const int unit = exponent - digits > lowest ? exponent - digits : lowest;
    volatile double scaled = std::ldexp(from, -unit);
    const double rounded = std::ldexp(std::nearbyint(scaled), unit);
    const double largest = kind == FLOAT16 ? 65504.0 : 0x1.fep127;
    return std::fabs(rounded) > largest ? std::copysign(HUGE_VAL, from) : rounded;
}

// The sum of n terms in float64, in the order and so with the bits of pipeline.hpp's sum of one block.
static double fastact_sum_of(const void *terms, bool wide, std::size_t n) {
    enum { LANES = 32 };  // pipeline.hpp's SUM_LANES
    double lane[LANES] = {};
    fastact_environment environment;
    for (std::size_t i = 0; i < n; i++) lane[i % LANES] += wide ? static_cast<const double *>(terms)[i] : static_cast<const float *>(terms)[i];
    for (int left = LANES / 2; left; left /= 2)
        for (int j = 0; j < left; j++) lane[j] += lane[j + left];
    return 0.0 + lane[0];
}
