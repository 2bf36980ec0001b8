// What CUDA text needs to compile as plain C++ and run on the CPU, thread by thread: enough to judge its arithmetic and its
// indices. Kernels with barriers get a stack for each thread of a block, block after block.
#include <math.h>
#include <stdio.h>
#include <string.h>
#define FASTACT_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __cluster_dims__(blocks, y, z)

struct Index {
    unsigned x;
};
static Index blockIdx, threadIdx, blockDim, gridDim;

static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline double __dsqrt_rn(double x) { return sqrt(x); }
template <class To, class From> static inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float x) { return same_bits<int>(x); }
static inline float __int_as_float(int i) { return same_bits<float>(i); }
static inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
static inline double __longlong_as_double(long long i) { return same_bits<double>(i); }
static inline float __double2float_rz(double x) {
    const float nearest = static_cast<float>(x);
    return fabs(static_cast<double>(nearest)) > fabs(x) ? nextafterf(nearest, 0.0f) : nearest;
}

// A reciprocal as the device's instruction gives it: without subnormals, within an ULP. How many it is off is chosen; with 2 it varies.
static int off;
extern "C" void reciprocals_off(int ulps) { off = ulps; }
static inline float approximate_reciprocal(float x) {
    const auto flushed = [](float y) { return fabsf(y) < 0x1p-126f ? copysignf(0.0f, y) : y; };
    const float r = flushed(1.0f / flushed(x));
    if (!off || !(fabsf(r) > 0 && fabsf(r) < INFINITY)) return r;
    const int some = static_cast<int>(static_cast<unsigned>(__float_as_int(x)) * 2654435761u >> 16) % 3 - 1;
    return flushed(__int_as_float(__float_as_int(r) + (off == 2 ? some : off)));
}

// What inline PTX does on the device, a fault at a misaligned address included.
static int faults;
extern "C" int faults_found() { return faults; }
extern "C" void forget_faults() { faults = 0; }
template <class P> static inline P *checked(P *p) {
    faults += reinterpret_cast<unsigned long long>(p) % 16 != 0;
    return p;
}
// Arrays that are there, if a test tells. Sixteen bytes are then read only where some are of such an array, and written only inside one.
struct Range {
    unsigned long long first, last;
};
static Range ranges[64];
static unsigned many_ranges;
extern "C" void forget_arrays() { many_ranges = 0; }
extern "C" void know_array(void *p, long long bytes) {
    const auto first = reinterpret_cast<unsigned long long>(p);
    if (bytes) ranges[many_ranges++] = {first, first + static_cast<unsigned long long>(bytes)};
}
template <class P> static P *in_arrays(P *p, bool wholly) {
    const auto at = reinterpret_cast<unsigned long long>(p);
    bool found = !many_ranges;
    for (unsigned i = 0; i < many_ranges; i++)
        found |= wholly ? at >= ranges[i].first && at + 16 <= ranges[i].last : at + 16 > ranges[i].first && at < ranges[i].last;
    faults += !found;
    return checked(p);
}
template <class P> static P *readable(P *p) { return in_arrays(p, false); }
template <class P> static P *writable(P *p) { return in_arrays(p, true); }
static inline unsigned __funnelshift_r(unsigned low, unsigned high, int bits) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (bits & 31));
}
static inline float float_from_half(unsigned short h) {
    const int exponent = h >> 10 & 31, rest = h & 1023;
    const float x = exponent == 31 ? (rest ? NAN : INFINITY) : exponent ? ldexpf(rest + 1024, exponent - 25) : ldexpf(rest, -24);
    return h & 0x8000 ? -x : x;
}
static inline unsigned short half_from_float(float x) {
    const unsigned sign = signbit(x) ? 0x8000u : 0u;
    const double a = fabs(static_cast<double>(x));
    if (a != a) return 0x7e00;
    if (a >= 65520.0) return static_cast<unsigned short>(sign | 0x7c00u);
    const int exponent = a < 0x1p-14 ? -14 : ilogb(a);  // the exponent of the last digit is 10 less, subnormals included
    return static_cast<unsigned short>(sign | static_cast<unsigned>((exponent + 14) * 1024 + nearbyint(ldexp(a, 10 - exponent))));
}

#ifdef FASTACT_HOST_BARRIERS
// The threads of a cluster of blocks are stacks of their own that take turns: each runs until it waits for others, in the order of their
// numbers, or from the last to the first: what depends on that order is a fault that a test sees.
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>
struct Fiber {
    ucontext_t context;
    jmp_buf here;
    char *stack;
    bool started, done;
    unsigned long block, warp;       // how often it has waited for its block, and for its warp
    unsigned long arrived, waited;  // at the barrier of its cluster
};
static jmp_buf scheduler;
static const unsigned MOST_BLOCK = 1024, MOST_CLUSTER = 16;
static Fiber *fibers;  // of all blocks of a cluster
static unsigned self, cluster_blocks, shared_bytes;
static bool descending;
static unsigned long moves;  // waits that are over
static void (*body)(const void *);
static const void *body_of;
extern "C" void last_first(int yes) { descending = yes; }

static void fault(const char *what) {
    if (!faults++) fprintf(stderr, "block %u, thread %u: %s\n", blockIdx.x, threadIdx.x, what);
}
static unsigned first_of_block() { return self / blockDim.x * blockDim.x; }

static void yield() {
    if (!_setjmp(fibers[self].here)) _longjmp(scheduler, 1);
}
// Waits until everyone of [first, last) who still runs has come as far. A barrier that only some reach is a fault.
static void meet(unsigned long Fiber::*count, unsigned first, unsigned last, unsigned long mine) {
    for (;; yield()) {
        bool all = true;
        for (unsigned t = first; t < last; t++) {
            if (fibers[t].done && fibers[t].*count < mine) fault("others ended without coming to this barrier");
            all &= fibers[t].done || fibers[t].*count >= mine;
        }
        if (all) break;
    }
    moves++;
}
static void meet_warp() {
    const unsigned from = first_of_block(), first = from + (threadIdx.x & ~31u), end = from + blockDim.x;
    meet(&Fiber::warp, first, first + 32 < end ? first + 32 : end, ++fibers[self].warp);
}
static inline void __syncthreads() { meet(&Fiber::block, first_of_block(), first_of_block() + blockDim.x, ++fibers[self].block); }
static inline void __syncwarp(unsigned = 0xffffffffu) { meet_warp(); }
template <class T> static T shuffled(T value, unsigned from) {
    static T slot[2][MOST_CLUSTER * MOST_BLOCK];
    static_assert(sizeof(T) <= 8);
    const unsigned turn = fibers[self].warp & 1, first = first_of_block();
    slot[turn][self] = value;
    meet_warp();
    return from < blockDim.x ? slot[turn][first + from] : value;
}
template <class T> static T __shfl_xor_sync(unsigned, T value, int lanes) { return shuffled(value, threadIdx.x ^ static_cast<unsigned>(lanes)); }
template <class T> static T __shfl_sync(unsigned, T value, int lane, int width = 32) {
    return shuffled(value, threadIdx.x - threadIdx.x % static_cast<unsigned>(width) + static_cast<unsigned>(lane) % static_cast<unsigned>(width));
}

static unsigned __ballot_sync(unsigned, bool one) {
    static unsigned char slot[2][MOST_CLUSTER * MOST_BLOCK];
    const unsigned turn = fibers[self].warp & 1, from = self - (threadIdx.x & 31u);
    slot[turn][self] = one;
    meet_warp();
    unsigned word = 0;
    for (unsigned t = 0; t < 32 && (threadIdx.x & ~31u) + t < blockDim.x; t++) word |= static_cast<unsigned>(slot[turn][from + t]) << t;
    return word;
}
static inline int __any_sync(unsigned, bool one) { return __ballot_sync(0xffffffffu, one) != 0; }
static inline int __all_sync(unsigned, bool one) { return __ballot_sync(0xffffffffu, !one) == 0; }
static inline int __syncthreads_or(int one) {
    static unsigned char any[2][MOST_CLUSTER];
    const unsigned turn = fibers[self].block & 1, rank = self / blockDim.x;
    if (one) any[turn][rank] = 1;
    __syncthreads();
    const int found = any[turn][rank];
    __syncthreads();
    any[turn][rank] = 0;
    return found;
}

// ---- the shared memory of each block of a cluster, and what blocks do together (kernels/cuda/cluster.cuh)
static const unsigned GUARD = 256;
static unsigned char *memories[MOST_CLUSTER];
static unsigned char *block_memory() { return memories[self / blockDim.x]; }
static int cluster_rank() { return static_cast<int>(self / blockDim.x); }
static void cluster_arrive() {
    Fiber &f = fibers[self];
    if (f.arrived++ != f.waited) fault("a second arrival without a wait");
}
static void cluster_wait() {
    Fiber &f = fibers[self];
    if (f.arrived != ++f.waited) fault("a wait without an arrival");
    meet(&Fiber::arrived, 0, cluster_blocks * blockDim.x, f.waited);
}
static bool in_own_memory(const void *p, size_t bytes) {
    const unsigned char *const at = static_cast<const unsigned char *>(p), *const own = block_memory();
    return at >= own && at + bytes <= own + shared_bytes;
}
template <class T> static T *in_block(T *p, int rank) {
    if (!fibers[self].waited) fault("something is given to a block that may not have started");
    if (rank < 0 || rank >= static_cast<int>(cluster_blocks)) abort();
    if (!in_own_memory(p, sizeof(T))) abort();
    if (fibers[rank * blockDim.x].done) fault("something is given to a block that has ended");
    return reinterpret_cast<T *>(memories[rank] + (reinterpret_cast<unsigned char *>(p) - block_memory()));
}

// An arrival's state: 1 once prepared, 2 once it expects, bytes to come from bit 8 on. Copies are made when somebody waits, not before: who
// does not wait reads what is no number.
struct Copy {
    void *to;
    const void *from;
    unsigned bytes;
    unsigned long long *state;
};
static Copy copies[1024];
static unsigned many_copies;
static void arrival_prepare(unsigned long long *state) {
    if (!in_own_memory(state, 8)) abort();
    *state = 1;
}
static void arrival_expect(unsigned long long *state, unsigned bytes) {
    if (*state != 1) fault("an arrival that is not prepared, or expects twice");
    *state = 3 | static_cast<unsigned long long>(bytes) << 8;
}
static void arrival_copy(void *to, const void *from, unsigned bytes, unsigned long long *state) {
    const auto off = [](const void *p) { return reinterpret_cast<unsigned long long>(p) % 16 != 0; };
    if (off(to) || off(from) || bytes % 16 || !bytes) fault("a copy off the borders of 16 bytes");
    if ((*state & 255) != 3 || *state >> 8 < bytes) fault("a copy of more than was expected");
    if (!in_own_memory(to, bytes) || many_copies == sizeof copies / sizeof *copies) abort();
    *state -= static_cast<unsigned long long>(bytes) << 8;
    copies[many_copies++] = {to, from, bytes, state};
}
static void arrival_wait(unsigned long long *state) {
    while ((*state & 255) != 3) yield();
    moves++;
    if (*state >> 8) fault("more was expected than is copied");  // it would wait for ever
    for (unsigned i = 0; i < many_copies;) {
        if (copies[i].state == state) {
            __builtin_memcpy(copies[i].to, copies[i].from, copies[i].bytes);
            copies[i] = copies[--many_copies];
        } else i++;
    }
}

static void enter() {
    body(body_of);
    Fiber &f = fibers[self];
    if (f.arrived != f.waited) fault("ends without waiting for its cluster");
    f.done = true, moves++;
    _longjmp(scheduler, 1);
}
static void run_cluster(unsigned threads) {
    for (unsigned t = 0; t < threads; t++) {
        Fiber &f = fibers[t];
        f.started = f.done = false, f.block = f.warp = f.arrived = f.waited = 0;
    }
    static bool running;  // static: what a jump leaves alone
    static unsigned turn, of, first;
    static unsigned long before;
    of = threads, first = blockIdx.x, before = moves;
    for (running = true; running;) {
        running = false;
        for (turn = 0; turn < of; turn++) {
            self = descending ? of - 1 - turn : turn;
            Fiber &f = fibers[self];
            if (f.done) continue;
            running = true, threadIdx.x = self % blockDim.x, blockIdx.x = first + self / blockDim.x;
            if (_setjmp(scheduler)) continue;
            if (f.started) _longjmp(f.here, 1);
            f.started = true;
            const size_t room = 1 << 17;
            if (!f.stack) f.stack = static_cast<char *>(malloc(room));
            getcontext(&f.context);
            f.context.uc_stack.ss_sp = f.stack, f.context.uc_stack.ss_size = room, f.context.uc_link = nullptr;
            makecontext(&f.context, enter, 0);
            setcontext(&f.context);
        }
        if (running && before == moves) {
            fault("all wait for one another");
            break;
        }
        before = moves;
    }
    if (many_copies) fault("copies that nobody has waited for");
    many_copies = 0;
}
template <class Kernel> static void launch(unsigned grid, unsigned block, unsigned cluster, unsigned shared, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid, cluster_blocks = cluster, shared_bytes = shared;
    body = [](const void *k) { (*static_cast<const Kernel *>(k))(); };
    body_of = &kernel;
    if (!fibers) fibers = static_cast<Fiber *>(calloc(MOST_CLUSTER * MOST_BLOCK, sizeof(Fiber)));
    if (block > MOST_BLOCK || cluster > MOST_CLUSTER || grid % cluster) abort();
    for (unsigned r = 0; r < cluster; r++) memories[r] = static_cast<unsigned char *>(aligned_alloc(128, (shared + 127) / 128 * 128 + GUARD));
    for (unsigned at = 0; at < grid; at += cluster) {
        for (unsigned r = 0; r < cluster; r++) memset(memories[r], 0xff, shared + GUARD);  // not a number
        blockIdx.x = at;
        run_cluster(block * cluster);
        for (unsigned r = 0; r < cluster; r++)
            for (unsigned i = 0; i < GUARD; i++)
                if (memories[r][shared + i] != 0xff) fault("written beyond the shared memory");
    }
    for (unsigned r = 0; r < cluster; r++) free(memories[r]);
}
#else
static unsigned char *block_memory() { return nullptr; }
template <class Kernel> static void launch(unsigned grid, unsigned block, unsigned, unsigned, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) kernel();
}
#endif
