// Which instruction sets this build has and this machine can run, and the floating-point environment the loops run under.
// Compiled with the baseline's flags alone.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include "interface.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#endif

extern "C" {
extern const fastact_isa fastact_isa_baseline;
#ifdef FASTACT_HAVE_v3
extern const fastact_isa fastact_isa_v3;
#endif
#ifdef FASTACT_HAVE_v4
extern const fastact_isa fastact_isa_v4;
#endif
}

// The builds, best last; null ends the list.
static const fastact_isa *const fastact_isas[] = {
    &fastact_isa_baseline,
#ifdef FASTACT_HAVE_v3
    &fastact_isa_v3,
#endif
#ifdef FASTACT_HAVE_v4
    &fastact_isa_v4,
#endif
    nullptr};

static inline bool fastact_runs(const fastact_isa *isa) {
    if (isa == &fastact_isa_baseline) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    unsigned a, b, c, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
#ifdef FASTACT_HAVE_v3
    if (isa == &fastact_isa_v3) return v3;
#endif
#ifdef FASTACT_HAVE_v4
    if (isa == &fastact_isa_v4)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw");
#endif
#endif
    return false;
}

// Does the baseline build have a fused multiply-add instruction, or does it call the C library for every one?
static inline bool fastact_baseline_fma() {
#if defined(__FMA__) || defined(__aarch64__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMAF)
    return true;
#else
    return false;
#endif
}

// Round to nearest, subnormals kept, no traps, for as long as this object lives: other libraries set these and forget them.
class fastact_environment {
#if defined(__x86_64__)
    unsigned saved = _mm_getcsr();
    static constexpr unsigned settings = 0xffc0, wanted = 0x1f80;  // all but the sticky flags

  public:
    fastact_environment() {
        if ((saved & settings) != wanted) _mm_setcsr(wanted);
    }
    ~fastact_environment() {
        if ((saved & settings) != wanted) _mm_setcsr(saved);
    }
#elif defined(__aarch64__)
    std::uint64_t saved;

  public:
    fastact_environment() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
        if (saved) __asm__ volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}));
    }
    ~fastact_environment() {
        if (saved) __asm__ volatile("msr fpcr, %0" : : "r"(saved));
    }
#else
  public:
    fastact_environment() {}
#endif
};

// A number in float32, rounded to nearest whatever the environment is.
static float fastact_single(double value) {
    fastact_environment environment;
    volatile double waits = value;
    return static_cast<float>(waits);
}

// Bytes of the largest cache, 32 MiB where the processor does not tell. The processor is asked and not the C library, which takes all
// shared caches of a socket together, or, in virtual machines, anything at all (320 MiB for 32, seen).
static std::size_t fastact_cache_bytes() {
    std::size_t most = 0;
#if defined(__x86_64__)
    for (const unsigned leaf : {0x4u, 0x8000001du}) {  // Intel's, AMD's
        unsigned a, b, c, d;
        for (unsigned i = 0; i < 8 && __get_cpuid_count(leaf, i, &a, &b, &c, &d) && (a & 31); i++)
            most = std::max(most, (std::size_t{b >> 22} + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * (std::size_t{c} + 1));
    }
#endif
    return most >= std::size_t{1} << 20 ? most : std::size_t{32} << 20;
}

// From how many bytes on, all arrays of a call together, its results are stored past the caches. Below, the result is likely to be read
// from the cache by what comes next, which is worth more than the half of the time that streaming saves.
static std::atomic<std::size_t> fastact_stream_bytes{fastact_cache_bytes()};

// How `run` is to compute a call on n elements, of which the thread that asks may have a part only: WIDE or not, and STREAM.
static inline int fastact_how(const fastact_entry *entry, int kind, bool wide, std::size_t n) {
    const std::size_t itemsize = kind == FLOAT64 ? 8 : kind == FLOAT32 ? 4 : 2;
    const std::size_t bytes = n * itemsize * static_cast<std::size_t>(entry->arrays + entry->stored);
    return (wide ? WIDE : 0) | (bytes >= fastact_stream_bytes.load(std::memory_order_relaxed) ? STREAM : 0);
}
static inline std::size_t fastact_get_stream_bytes() { return fastact_stream_bytes; }
static inline void fastact_set_stream_bytes(std::size_t bytes) { fastact_stream_bytes = bytes; }

static void fastact_run(const fastact_isa *isa, const fastact_entry *entry, int kind, int how, const void *const *in, const std::ptrdiff_t *step,
                        void *const *out, std::size_t n) {
    fastact_environment environment;
    isa->run(entry, kind, how, in, step, out, n);
}

// One band of a job, and all of them: what threads of any making call.
static void fastact_run_band(const fastact_job *job, std::size_t band) {
    fastact_environment environment;
    job->run(job, band);
}
static void fastact_run_bands(const fastact_job *job) {
    fastact_environment environment;
    for (std::size_t band = 0; band < job->bands; band++) job->run(job, band);
}

// A fixed loop, for the regression check to time kernels against: eight multiply-adds for each element, independent of the next's, so
// that it is bound by throughput and passes through the caches as the kernels do. A loop that stayed in registers would not notice
// most of what slows kernels on a machine that others use, too (tried). Not to be improved.
static void fastact_fma_yardstick(const double *x, double *out, std::size_t n) {
    typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));
    const pair m = {0.999, 0.999}, b = {0.001, 0.001};
    for (std::size_t i = 0; i + 2 <= n; i += 2) {
        const pair a = *reinterpret_cast<const pair *>(x + i);
        *reinterpret_cast<pair *>(out + i) = (((((((a * m + b) * m + b) * m + b) * m + b) * m + b) * m + b) * m + b) * m + b;
    }
}
