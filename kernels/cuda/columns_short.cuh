// Columns of halves: the same with a shorter exponential.
#define FASTACT_SHORT_EXP
#include "columns.cuh"
