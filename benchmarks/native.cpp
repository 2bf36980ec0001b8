// What benchmarks/cpu.py measures beside the libraries: the best copy loops there are, cycles, and kernels without the call around them.
// Compiled when that script starts, for the machine it runs on.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>
#include <dlfcn.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include "interface.hpp"

namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

const fastact_entry *find(const fastact_isa *isa, const char *name) {
    for (int t = 0; t < isa->tables; t++)
        for (int i = 0; i < isa->table[t]->entries; i++)
            if (!std::strcmp(isa->table[t]->entry[i].name, name)) return &isa->table[t]->entry[i];
    return nullptr;
}

// A piece of `bytes`, a multiple of 256, from and to addresses that are multiples of 64. `past`: stores pass the caches by.
void copy_piece(char *to, const char *from, std::size_t bytes, bool past) {
#if defined(__AVX512F__)
    using Vector = __m512i;
#define FASTACT_STREAM(at, v) _mm512_stream_si512(at, v)
#elif defined(__AVX2__)
    using Vector = __m256i;
#define FASTACT_STREAM(at, v) _mm256_stream_si256(at, v)
#else
#define FASTACT_PLAIN
    std::memcpy(to, from, bytes);
#endif
#ifndef FASTACT_PLAIN
    const Vector *source = reinterpret_cast<const Vector *>(from), *const end = reinterpret_cast<const Vector *>(from + bytes);
    Vector *target = reinterpret_cast<Vector *>(to);
    for (; source < end; source += 4, target += 4) {
        const Vector a = source[0], b = source[1], c = source[2], d = source[3];
        if (past) FASTACT_STREAM(target, a), FASTACT_STREAM(target + 1, b), FASTACT_STREAM(target + 2, c), FASTACT_STREAM(target + 3, d);
        else target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
    if (past) _mm_sfence();
#endif
}
}  // namespace

extern "C" {
// Copies `bytes`, a multiple of 256 times `threads`.
void native_copy(char *to, const char *from, std::size_t bytes, int threads, int past) {
    const std::size_t piece = bytes / static_cast<std::size_t>(threads) / 256 * 256;
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) others.emplace_back(copy_piece, to + t * piece, from + t * piece, t + 1 < threads ? piece : bytes - t * piece, past);
    copy_piece(to, from, threads == 1 ? bytes : piece, past);
    for (auto &other : others) other.join();
}

// The least seconds of a cycle: a chain of additions, each waiting for the last.
double native_cycle(int rounds) {
    double least = 1;
#if defined(__x86_64__)
    for (int r = 0; r < rounds; r++) {
        const double begin = now();
        long sum = 0;
        for (int i = 0; i < 2000; i++) __asm__ volatile(".rept 100\n add $1, %0\n .endr" : "+r"(sum));
        const double seconds = (now() - begin) / 200000;
        least = seconds < least ? seconds : least;
    }
#endif
    return least;
}

// The least seconds that kernel `name` takes over n elements of float32, many calls in a sample.
double native_kernel(const fastact_isa *isa, const char *name, int wide, const float *x, float *y, std::size_t n, int calls, int rounds) {
    const fastact_entry *const entry = find(isa, name);
    static double splat[MAX_INPUTS][SPLAT];
    static float narrow[MAX_INPUTS][SPLAT];
    const void *in[MAX_INPUTS] = {x};
    std::ptrdiff_t step[MAX_INPUTS] = {1};
    void *out[MAX_OUTPUTS] = {y};
    for (int k = 1; k < entry->inputs; k++) {
        for (int i = 0; i < SPLAT; i++) splat[k][i] = narrow[k][i] = 1;
        in[k] = wide ? static_cast<const void *>(splat[k]) : narrow[k];
    }
    double least = 1;
    for (int r = 0; r < rounds; r++) {
        const double begin = now();
        for (int i = 0; i < calls; i++) isa->run(entry, FLOAT32, wide, in, step, out, n);
        const double seconds = (now() - begin) / calls;
        least = seconds < least ? seconds : least;
    }
    return least;
}

// Where in the module's file the loop of an operation starts.
std::size_t native_place(const fastact_isa *isa, const char *name, int wide) {
    const fastact_entry *const entry = find(isa, name);
    Dl_info info;
    void *const loop = reinterpret_cast<void *>(wide ? entry->loop64 : entry->loop32);
    return dladdr(loop, &info) ? static_cast<std::size_t>(static_cast<char *>(loop) - static_cast<char *>(info.dli_fbase)) : 0;
}
}
