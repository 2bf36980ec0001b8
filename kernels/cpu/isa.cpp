// One instruction set's build of every loop. Compiled once per set, with that set's flags and these macros:
// FASTACT_ISA (its name), FASTACT_VECTOR_BYTES (0: no vectors), FASTACT_F16C.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#if FASTACT_F16C || FASTACT_VECTOR_BYTES >= 32
#include <immintrin.h>
#endif
#include "interface.hpp"

#define FASTACT_JOIN2(a, b) a##b
#define FASTACT_JOIN(a, b) FASTACT_JOIN2(a, b)
#define FASTACT_TEXT2(a) #a
#define FASTACT_TEXT(a) FASTACT_TEXT2(a)

// The set's name is in every symbol, and all but the table has internal linkage.
namespace FASTACT_JOIN(fastact_, FASTACT_ISA) {
namespace {
using Entry = fastact_entry;
#include "intrinsics.hpp"
#include "definitions.hpp"  // written by lower.py
#include "loops.hpp"
#include "rowwise.hpp"

#if FASTACT_VECTOR_BYTES
using PackF = Duo<VecF>;
using PackD = Duo<VecD>;
#else
using PackF = float;
using PackD = double;
#endif
static_assert(Lanes<PackF>::count <= SPLAT);
#include "operations.hpp"  // written by lower.py: the structs and the table `entries`
}  // namespace
}  // namespace

extern "C" const fastact_isa FASTACT_JOIN(fastact_isa_, FASTACT_ISA);
const fastact_isa FASTACT_JOIN(fastact_isa_, FASTACT_ISA) = {
    FASTACT_TEXT(FASTACT_ISA),
    FASTACT_VECTOR_BYTES,
    sizeof(FASTACT_JOIN(fastact_, FASTACT_ISA)::entries) / sizeof(fastact_entry),
    FASTACT_JOIN(fastact_, FASTACT_ISA)::entries,
    FASTACT_JOIN(fastact_, FASTACT_ISA)::run,
    FASTACT_JOIN(fastact_, FASTACT_ISA)::softmax,
    FASTACT_JOIN(fastact_, FASTACT_ISA)::softmax_backward,
    FASTACT_JOIN(fastact_, FASTACT_ISA)::softmax_backward_from_output,
};
