// What CUDA text needs to compile as plain C++ and run on the CPU, thread by thread: enough to judge its arithmetic and its
// indices. Kernels with barriers get a stack for each thread of a block, block after block.
#include <math.h>
#define FASTACT_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static

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

// What inline PTX does on the device, a fault at a misaligned address included.
static int faults;
extern "C" int misaligned() { return faults; }
template <class P> static inline P *checked(P *p) {
    faults += reinterpret_cast<unsigned long long>(p) % 16 != 0;
    return p;
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
// The threads of a block are stacks of their own that take turns: each runs until it waits for others, in the order of their numbers.
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>
struct Fiber {
    ucontext_t context;
    jmp_buf here;
    char *stack;
    bool started, done;
    unsigned long block, warp;  // how often it has waited for its block, and for its warp
};
static jmp_buf scheduler;
static Fiber fibers[1024];
static unsigned self;
static void (*body)(const void *);
static const void *body_of;

static void yield() {
    if (!_setjmp(fibers[self].here)) _longjmp(scheduler, 1);
}
// Waits until everyone of [first, last) who still runs has come as far. A barrier that only some reach is a fault.
static void meet(unsigned long Fiber::*count, unsigned first, unsigned last) {
    const unsigned long mine = ++(fibers[self].*count);
    for (unsigned tries = 0;; tries++) {
        bool all = true;
        for (unsigned t = first; t < last; t++) {
            faults += fibers[t].done && fibers[t].*count < mine;
            all &= fibers[t].done || fibers[t].*count >= mine;
        }
        if (all) return;
        if (tries > 100000) abort();  // they wait for one another
        yield();
    }
}
static inline void __syncthreads() { meet(&Fiber::block, 0, blockDim.x); }
template <class T> static T shuffled(T value, unsigned from) {
    static T slot[2][1024];
    static_assert(sizeof(T) <= 8);
    const unsigned turn = fibers[self].warp & 1, first = self & ~31u, last = first + 32 < blockDim.x ? first + 32 : blockDim.x;
    slot[turn][self] = value;
    meet(&Fiber::warp, first, last);
    return from < last ? slot[turn][from] : value;
}
template <class T> static T __shfl_xor_sync(unsigned, T value, int lanes) { return shuffled(value, self ^ static_cast<unsigned>(lanes)); }

static unsigned __ballot_sync(unsigned, bool one) {
    static unsigned char slot[2][1024];
    const unsigned turn = fibers[self].warp & 1, first = self & ~31u, last = first + 32 < blockDim.x ? first + 32 : blockDim.x;
    slot[turn][self] = one;
    meet(&Fiber::warp, first, last);
    unsigned word = 0;
    for (unsigned t = first; t < last; t++) word |= static_cast<unsigned>(slot[turn][t]) << (t - first);
    return word;
}

static void enter() {
    body(body_of);
    fibers[self].done = true;
    _longjmp(scheduler, 1);
}
template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid;
    body = [](const void *k) { (*static_cast<const Kernel *>(k))(); };
    body_of = &kernel;
    if (block > sizeof fibers / sizeof *fibers) abort();
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++) {
        for (unsigned t = 0; t < block; t++) fibers[t].started = fibers[t].done = false, fibers[t].block = fibers[t].warp = 0;
        static bool running;  // static: what a jump leaves alone
        for (running = true; running;) {
            running = false;
            for (self = 0; self < block; self++) {
                Fiber &f = fibers[self];
                if (f.done) continue;
                running = true, threadIdx.x = self;
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
        }
    }
}
#else
template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) kernel();
}
#endif
