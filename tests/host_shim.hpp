// What CUDA text needs to compile as plain C++ and run on the CPU, thread by thread: enough to judge its arithmetic and its
// indices. Kernels with barriers get one real thread for each of theirs, block after block.
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
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;

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
#include <barrier>
#include <thread>
#include <vector>
static std::barrier<> *everyone;
static inline void __syncthreads() { everyone->arrive_and_wait(); }

template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    std::barrier<> barrier(block);
    everyone = &barrier;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < block; t++)
        threads.emplace_back([=] {
            threadIdx.x = t, blockDim.x = block, gridDim.x = grid;
            for (unsigned b = 0; b < grid; b++) {
                blockIdx.x = b;
                kernel();
                __syncthreads();
            }
        });
    for (auto &t : threads) t.join();
}
#else
template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) kernel();
}
#endif
