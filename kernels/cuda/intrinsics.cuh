// The vocabulary of lowered definitions on CUDA, and the storage types: one lane a thread, F is float or double. Needs no header.
//
// Included inside a namespace, so that fma and the like are these and not CUDA's own. With FASTACT_HOST, which leaves out inline PTX,
// the same text compiles as plain C++ behind a header that has CUDA's own functions: so it is judged without a GPU.

#define FASTACT_FUNCTION static __device__ __forceinline__

template <class T> struct WholeOf;
template <> struct WholeOf<float> { using type = int; };
template <> struct WholeOf<double> { using type = long long; };
template <class F> using Whole = typename WholeOf<F>::type;

template <class F> using Scalar = F;
template <class F> inline constexpr bool is_float64 = sizeof(F) == 8;
template <class F> inline constexpr bool is_brief = false;  // but those of brief.cuh
template <class F> FASTACT_FUNCTION F lit(double value) { return static_cast<F>(value); }
template <class F> FASTACT_FUNCTION Whole<F> whole(long long value) { return static_cast<Whole<F>>(value); }

FASTACT_FUNCTION float select(bool mask, float a, float b) { return mask ? a : b; }
FASTACT_FUNCTION double select(bool mask, double a, double b) { return mask ? a : b; }
FASTACT_FUNCTION float pymin(float a, float b) { return b < a ? b : a; }
FASTACT_FUNCTION double pymin(double a, double b) { return b < a ? b : a; }
FASTACT_FUNCTION float pymax(float a, float b) { return b > a ? b : a; }
FASTACT_FUNCTION double pymax(double a, double b) { return b > a ? b : a; }
FASTACT_FUNCTION int shift_left(int i, int n) { return static_cast<int>(static_cast<unsigned>(i) << n); }
FASTACT_FUNCTION long long shift_left(long long i, int n) { return static_cast<long long>(static_cast<unsigned long long>(i) << n); }
FASTACT_FUNCTION int shift_right(int i, int n) { return static_cast<int>(static_cast<unsigned>(i) >> n); }
FASTACT_FUNCTION long long shift_right(long long i, int n) { return static_cast<long long>(static_cast<unsigned long long>(i) >> n); }

FASTACT_FUNCTION float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
FASTACT_FUNCTION double fma(double a, double b, double c) { return __fma_rn(a, b, c); }
FASTACT_FUNCTION float fabs(float x) { return ::fabsf(x); }
FASTACT_FUNCTION double fabs(double x) { return ::fabs(x); }
FASTACT_FUNCTION float copysign(float magnitude, float sign) { return ::copysignf(magnitude, sign); }
FASTACT_FUNCTION double copysign(double magnitude, double sign) { return ::copysign(magnitude, sign); }
FASTACT_FUNCTION float fsqrt(float x) { return __fsqrt_rn(x); }
FASTACT_FUNCTION double fsqrt(double x) { return __dsqrt_rn(x); }
FASTACT_FUNCTION int bits(float x) { return __float_as_int(x); }
FASTACT_FUNCTION long long bits(double x) { return __double_as_longlong(x); }
FASTACT_FUNCTION float from_bits(int i) { return __int_as_float(i); }
FASTACT_FUNCTION double from_bits(long long i) { return __longlong_as_double(i); }

// ---------------------------------------------------------------- storage types

enum Kind { FLOAT16, BFLOAT16, FLOAT32, FLOAT64 };  // how elements are stored; as in cpu/interface.hpp
template <int kind> struct StorageOf;
template <> struct StorageOf<FLOAT16> { using type = unsigned short; };
template <> struct StorageOf<BFLOAT16> { using type = unsigned short; };
template <> struct StorageOf<FLOAT32> { using type = float; };
template <> struct StorageOf<FLOAT64> { using type = double; };
template <int kind> using Stored = typename StorageOf<kind>::type;
template <class F> inline constexpr int own_kind = is_float64<F> ? FLOAT64 : FLOAT32;

FASTACT_FUNCTION unsigned word_of(float x) { return static_cast<unsigned>(bits(x)); }
FASTACT_FUNCTION float float_of(unsigned u) { return from_bits(static_cast<int>(u)); }

FASTACT_FUNCTION float from_bfloat16(unsigned short h) { return float_of(static_cast<unsigned>(h) << 16); }
FASTACT_FUNCTION unsigned short round_to_bfloat16(float x) {
    const unsigned u = word_of(x), rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    return static_cast<unsigned short>(x == x ? rounded : (u >> 16) | 0x40u);
}
FASTACT_FUNCTION unsigned joined(unsigned short low, unsigned short high) { return low | static_cast<unsigned>(high) << 16; }

FASTACT_FUNCTION float from_float16(unsigned short h) {
#ifdef FASTACT_HOST
    return ::float_from_half(h);
#else
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
#endif
}
FASTACT_FUNCTION unsigned short to_float16(float x) {
#ifdef FASTACT_HOST
    return ::half_from_float(x);
#else
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
#endif
}
// Two halves as one word; since Ampere that is one instruction.
#if !defined(FASTACT_HOST) && __CUDA_ARCH__ >= 800
FASTACT_FUNCTION unsigned to_float16s(float low, float high) {
    unsigned u;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
    return u;
}
FASTACT_FUNCTION unsigned to_bfloat16s(float low, float high) {
    unsigned u;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
    return u;
}
#else
FASTACT_FUNCTION unsigned to_float16s(float low, float high) { return joined(to_float16(low), to_float16(high)); }
FASTACT_FUNCTION unsigned to_bfloat16s(float low, float high) { return joined(round_to_bfloat16(low), round_to_bfloat16(high)); }
#endif

// The float32 that a half is rounded from. A float64 is cut, and its last bit set if anything was lost (round to odd): rounding
// once more is then right.
FASTACT_FUNCTION float before_half(float x) { return x; }
FASTACT_FUNCTION float before_half(double x) {
    const float cut = __double2float_rz(x);
    return static_cast<double>(cut) == x ? cut : float_of(word_of(cut) | 1);
}

template <int kind, class F> FASTACT_FUNCTION F widen(Stored<kind> v) {
    if constexpr (kind == FLOAT16) return from_float16(v);
    else if constexpr (kind == BFLOAT16) return from_bfloat16(v);
    else return v;
}
template <int kind, class F> FASTACT_FUNCTION Stored<kind> narrow(F x) {
    if constexpr (kind == FLOAT16) return to_float16(before_half(x));
    else if constexpr (kind == BFLOAT16) return round_to_bfloat16(before_half(x));
    else return static_cast<Stored<kind>>(x);
}

// ---------------------------------------------------------------- sixteen bytes

struct alignas(16) Words {
    unsigned w[4];
};
template <int kind> inline constexpr int lanes_of = sizeof(Words) / sizeof(Stored<kind>);

template <int kind, class F> FASTACT_FUNCTION void unpack(const Words &words, F *x) {
#pragma unroll
    for (int i = 0; i < lanes_of<kind>; i++) {
        if constexpr (kind == FLOAT64)
            x[i] = from_bits(static_cast<long long>(words.w[2 * i] | static_cast<unsigned long long>(words.w[2 * i + 1]) << 32));
        else if constexpr (kind == FLOAT32) x[i] = float_of(words.w[i]);
        else x[i] = widen<kind, F>(static_cast<unsigned short>(words.w[i / 2] >> (i % 2 * 16)));
    }
}
template <int kind, class F> FASTACT_FUNCTION Words pack(const F *x) {
    Words words;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (kind == FLOAT64) words.w[i] = static_cast<unsigned>(static_cast<unsigned long long>(bits(x[i / 2])) >> (i % 2 * 32));
        else if constexpr (kind == FLOAT32) words.w[i] = word_of(static_cast<float>(x[i]));
        else if constexpr (kind == FLOAT16) words.w[i] = to_float16s(before_half(x[2 * i]), before_half(x[2 * i + 1]));
        else words.w[i] = to_bfloat16s(before_half(x[2 * i]), before_half(x[2 * i + 1]));
    }
    return words;
}

// Data that is used once: past the first-level cache. The read-only path (nc) is allowed only where nothing writes what is read.
FASTACT_FUNCTION Words load_words(const void *p, bool in_place) {
    Words r;
#ifdef FASTACT_HOST
    (void)in_place;
    r = *static_cast<const Words *>(::readable(p));
#else
    if (in_place)
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3]) : "l"(p) : "memory");
    else
        asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3]) : "l"(p));
#endif
    return r;
}
FASTACT_FUNCTION void store_words(void *p, const Words &v) {
#ifdef FASTACT_HOST
    *static_cast<Words *>(::writable(p)) = v;
#else
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.w[0]), "r"(v.w[1]), "r"(v.w[2]), "r"(v.w[3]) : "memory");
#endif
}

// ---------------------------------------------------------------- sixteen bytes anywhere

// A line is sixteen bytes at a multiple of sixteen. How far p is beyond the beginning of its own:
FASTACT_FUNCTION int beyond_line(const void *p) { return static_cast<int>(reinterpret_cast<unsigned long long>(p) & 15); }

// The sixteen bytes from `bytes` on of two neighbouring lines; it is a multiple of `size`, and not 0.
template <int size> FASTACT_FUNCTION Words shifted(const Words &low, const Words &high, int bytes) {
    const unsigned all[8] = {low.w[0], low.w[1], low.w[2], low.w[3], high.w[0], high.w[1], high.w[2], high.w[3]};
    unsigned some[6], few[5];
    Words r;
#pragma unroll
    for (int i = 0; i < 6; i++) some[i] = size == 8 || bytes & 8 ? all[i + 2] : all[i];
#pragma unroll
    for (int i = 0; i < 5; i++) few[i] = size < 8 && bytes & 4 ? some[i + 1] : some[i];
#pragma unroll
    for (int i = 0; i < 4; i++) r.w[i] = size < 4 ? __funnelshift_r(few[i], few[i + 1], (bytes & 3) * 8) : few[i];
    return r;
}

// Where p is inside a line both lines have some of its sixteen bytes, so that none is read that belongs to someone else entirely. The
// neighbour reads each line, too: the first-level cache keeps it.
FASTACT_FUNCTION Words load_line(const char *p, bool in_place) {
    Words r;
#ifdef FASTACT_HOST
    (void)in_place;
    r = *reinterpret_cast<const Words *>(::readable(p));
#else
    if (in_place)
        asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3]) : "l"(p) : "memory");
    else
        asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.w[0]), "=r"(r.w[1]), "=r"(r.w[2]), "=r"(r.w[3]) : "l"(p));
#endif
    return r;
}
template <int size> FASTACT_FUNCTION Words load_anywhere(const void *p, bool in_place) {
    const int bytes = beyond_line(p);
    if (!bytes) return load_words(p, in_place);
    const char *const line = static_cast<const char *>(p) - bytes;
    const Words low = load_line(line, in_place), high = load_line(line + 16, in_place);
    return shifted<size>(low, high, bytes);
}
