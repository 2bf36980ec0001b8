// One instruction set's build of every loop, with that set's flags and these macros: FASTACT_ISA (its name), FASTACT_VECTOR_BYTES
// (0: no vectors), FASTACT_F16C. Compiled several times, so that they compile side by side: with FASTACT_PART (its number) and
// FASTACT_OPERATIONS (a file), for those elementwise operations; with FASTACT_ROWS, for row-wise calls; with FASTACT_PIPELINE, for pipelines; without, for all else.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
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
#include "stream.hpp"
#include "loops.hpp"

#if FASTACT_VECTOR_BYTES
using PackF = Duo<VecF>;
using PackD = Duo<VecD>;
#else
using PackF = float;
using PackD = double;
#endif
// Longer chains of instructions, of float64, take more of them in flight, where there are registers for it.
using LongD = std::conditional_t<FASTACT_VECTOR_BYTES == 64, Duo<PackD>, PackD>;
static_assert(Lanes<PackF>::count <= SPLAT);
#ifdef FASTACT_PART
#include FASTACT_OPERATIONS  // written by lower.py: structs and the table `entries`
#elif defined(FASTACT_PIPELINE)
#include "pipeline.hpp"
#elif defined(FASTACT_ROWS)
#include "rows.hpp"
#endif
}  // namespace
}  // namespace

#define FASTACT_RUN_PIPELINE FASTACT_JOIN(fastact_pipeline_, FASTACT_ISA)
extern "C" void FASTACT_RUN_PIPELINE(const fastact_job *job, std::size_t band);
#define FASTACT_RUN_ROWS FASTACT_JOIN(fastact_rows_, FASTACT_ISA)
extern "C" void FASTACT_RUN_ROWS(const fastact_job *job, std::size_t band);
#define FASTACT_TABLE(part) FASTACT_JOIN(FASTACT_JOIN(FASTACT_JOIN(fastact_table_, FASTACT_ISA), _), part)
#ifdef FASTACT_PART
extern "C" const fastact_table FASTACT_TABLE(FASTACT_PART);
const fastact_table FASTACT_TABLE(FASTACT_PART) = {sizeof(FASTACT_JOIN(fastact_, FASTACT_ISA)::entries) / sizeof(fastact_entry),
                                                  FASTACT_JOIN(fastact_, FASTACT_ISA)::entries};
#elif defined(FASTACT_PIPELINE)
void FASTACT_RUN_PIPELINE(const fastact_job *job, std::size_t band) { FASTACT_JOIN(fastact_, FASTACT_ISA)::pipeline(job, band); }
#elif defined(FASTACT_ROWS)
void FASTACT_RUN_ROWS(const fastact_job *job, std::size_t band) { FASTACT_JOIN(fastact_, FASTACT_ISA)::rows(job, band); }
#else
#include "parts.hpp"  // written by the build: FASTACT_PARTS(each)
extern "C" {
#define FASTACT_DECLARE(part) extern const fastact_table FASTACT_TABLE(part);
FASTACT_PARTS(FASTACT_DECLARE)
// Visible, for the regression check (fastact/regression/driver.cpp) and for benchmarks that disassemble loops.
extern __attribute__((visibility("default"))) const fastact_isa FASTACT_JOIN(fastact_isa_, FASTACT_ISA);
}
#define FASTACT_ADDRESS(part) &FASTACT_TABLE(part),
static const fastact_table *const FASTACT_JOIN(tables_, FASTACT_ISA)[] = {FASTACT_PARTS(FASTACT_ADDRESS)};
const fastact_isa FASTACT_JOIN(fastact_isa_, FASTACT_ISA) = {
    FASTACT_TEXT(FASTACT_ISA),
    FASTACT_VECTOR_BYTES,
    sizeof(FASTACT_JOIN(tables_, FASTACT_ISA)) / sizeof(fastact_table *),
    FASTACT_JOIN(tables_, FASTACT_ISA),
    FASTACT_JOIN(fastact_, FASTACT_ISA)::run,
    FASTACT_RUN_ROWS,
    FASTACT_RUN_PIPELINE,
};
#endif
