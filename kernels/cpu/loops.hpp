// Elementwise loops: one per operation and working type, over contiguous data in that type. Other storage types (halves, and
// float32 computed in float64) pass through a block in the first-level cache, so that loops do not multiply by storage types.

// One operation over n elements. step[i] is 1 for an array and 0 for a number, which stands splatted over at least one pack: the
// parameters, and the gradient, where the derivative alone is wanted. `out` may be one of `in`: each pack is read before it is written.
// With `numbers`, all parameters are numbers: they are read once, and what depends on them alone is computed once. With `T`, the
// arrays' type, narrower than the pack's lanes the elements are converted as they are read and written; numbers have the lanes' type.
template <class Op, class F, class T, bool numbers>
static __attribute__((noinline)) void over(const void *const *in, const std::ptrdiff_t *step, T *const *out, std::size_t n) {
    constexpr std::size_t width = Lanes<F>::count;
    [[maybe_unused]] const bool past = n & PAST;
    n &= ~PAST;
    static_assert(Op::inputs <= MAX_INPUTS && Op::outputs <= MAX_OUTPUTS, "raise the limits in interface.hpp");
    constexpr int x = Op::arrays - 1;  // always an array
    F fixed[Op::inputs];
#pragma GCC unroll 16  // what the compiler does not unroll at this level it does not take out of the loop either
    for (int k = 0; k < Op::inputs; k++)
        if (k != x && !step[k]) fixed[k] = load<F>(static_cast<const Scalar<F> *>(in[k]));
    const bool first = !x || step[0];  // of the arrays before x, the gradient alone may be a number: losses have another array there
    std::size_t i = 0;
    for (; i + width <= n; i += width) {
        F argument[Op::inputs], result[Op::outputs];
#pragma GCC unroll 16
        for (int k = 0; k < Op::inputs; k++) {
            const bool array = k > x ? !numbers && step[k] : k || first;
            argument[k] = array ? load<F>(static_cast<const T *>(in[k]) + i) : fixed[k];
        }
        if constexpr (sizeof(T) == sizeof(Scalar<F>)) Op::run(argument, result);
        else Op::run_wide(argument, result);
#if FASTACT_STREAMS
        if constexpr (Op::outputs == 1 && sizeof(T) == sizeof(Scalar<F>))
            if (past) {
                for (int k = 0; k < Op::arrays; k++) fetch_ahead<F>(static_cast<const T *>(in[k]) + (k || first ? i : 0));
                store_past(out[0] + i, result[0]);
                continue;
            }
#endif
#pragma GCC unroll 16
        for (int k = 0; k < Op::outputs; k++) store(out[k] + i, result[k]);
    }
    if (i < n) {  // the last, partial pack goes through a full one, and through the same instructions: code is half as long
        const std::size_t left = (n - i) * sizeof(T);
        T spare_in[Op::inputs][width] = {}, spare_out[Op::outputs][width];
        const void *from[Op::inputs];
        T *to[Op::outputs];
        for (int k = 0; k < Op::inputs; k++) {
            from[k] = step[k] ? spare_in[k] : in[k];
            if (step[k]) __builtin_memcpy(spare_in[k], static_cast<const T *>(in[k]) + i, left);
        }
        for (int k = 0; k < Op::outputs; k++) to[k] = spare_out[k];
        over<Op, F, T, numbers>(from, step, to, width);
        for (int k = 0; k < Op::outputs; k++) __builtin_memcpy(out[k] + i, spare_out[k], left);
    }
}

// The loops that entries have: for functions that most models are made of with numbers apart from arrays, whose packs are then half
// as wide, so that code does not grow by as much; for others one loop for both.
template <class Op, class F, class Half = F>
static void elementwise(const void *const *in, const std::ptrdiff_t *step, Scalar<F> *const *out, std::size_t n) {
    if constexpr (!std::is_same_v<F, Half> && Op::inputs > Op::arrays) {
        for (int k = Op::arrays; k < Op::inputs; k++)
            if (step[k]) return over<Op, Half, Scalar<F>, false>(in, step, out, n);
    }
    over<Op, F, Scalar<F>, !std::is_same_v<F, Half>>(in, step, out, n);
}
// The same for float32 computed in float64.
template <class Op, class F, class Half>
static void elementwise_wide(const void *const *in, const std::ptrdiff_t *step, float *const *out, std::size_t n) {
    for (int k = Op::arrays; k < Op::inputs; k++)
        if (step[k]) return over<Op, Half, float, false>(in, step, out, n);
    over<Op, F, float, true>(in, step, out, n);
}

// ---------------------------------------------------------------- storage types

// Numbers as in interface.hpp's Kind.
template <int kind> struct StorageOf;
template <> struct StorageOf<FLOAT16> { using type = std::uint16_t; };
template <> struct StorageOf<BFLOAT16> { using type = std::uint16_t; };
template <> struct StorageOf<FLOAT32> { using type = float; };
template <> struct StorageOf<FLOAT64> { using type = double; };

FASTACT_FUNCTION float float_of(std::uint32_t u) { return cast_bits<float>(u); }
FASTACT_FUNCTION std::uint32_t word_of(float x) { return cast_bits<std::uint32_t>(x); }

// The float32 next to x that keeps what was lost in its last bit (round to odd): rounding it once more to a half is then right.
FASTACT_FUNCTION float round_to_odd(double x) {
    const float nearest = static_cast<float>(x);
    const double lost = x - static_cast<double>(nearest);
    const std::uint32_t u = word_of(nearest);
    const bool outward = (lost > 0.0) == (x > 0.0);
    return (u & 1) || !(lost > 0.0 || lost < 0.0) ? nearest : float_of(outward ? u + 1 : u - 1);
}

FASTACT_FUNCTION float from_bfloat16(std::uint16_t h) { return float_of(static_cast<std::uint32_t>(h) << 16); }
FASTACT_FUNCTION std::uint16_t to_bfloat16(float x) {
    const std::uint32_t u = word_of(x);
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    return static_cast<std::uint16_t>(x == x ? rounded : (u >> 16) | 0x40u);
}

#if FASTACT_F16C
FASTACT_FUNCTION float from_float16(std::uint16_t h) { return _cvtsh_ss(h); }
FASTACT_FUNCTION std::uint16_t to_float16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
#else
FASTACT_FUNCTION float from_float16(std::uint16_t h) {
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
    const std::uint32_t rest = h & 0x7fffu;
    // A product with 2^112 moves the exponent, subnormals included; what was infinite or NaN gets its exponent back by hand.
    const float finite = float_of(rest << 13) * float_of(0x77800000u);
    const std::uint32_t u = rest >= 0x7c00u ? (rest << 13) | 0x7f800000u | (rest > 0x7c00u ? 0x400000u : 0u) : word_of(finite);
    return float_of(u | sign);
}
FASTACT_FUNCTION std::uint16_t to_float16(float x) {
    const std::uint32_t sign = word_of(x) & 0x80000000u;
    const std::uint32_t u = word_of(x) ^ sign;
    // Normal: add half a unit less the tie, then drop 13 bits. Subnormal: adding 1/2 leaves the rounded digits at the end.
    const std::uint32_t normal = (u - 0x38000000u + 0xfffu + ((u >> 13) & 1)) >> 13;
    const std::uint32_t small = word_of(float_of(u) + 0.5f) - 0x3f000000u;
    const std::uint32_t finite = u < 0x38800000u ? small : normal;
    const std::uint32_t h = u > 0x7f800000u ? 0x7e00u | ((u >> 13) & 0x3ffu) : (u >= 0x477ff000u ? 0x7c00u : finite);
    return static_cast<std::uint16_t>(h | (sign >> 16));
}
#endif

template <int kind, class T> static void widen(const typename StorageOf<kind>::type *in, T *out, std::size_t n) {
    std::size_t i = 0;
#if FASTACT_F16C
    if constexpr (kind == FLOAT16 && sizeof(T) == 4)
        for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(in + i))));
    if constexpr (kind == FLOAT16 && sizeof(T) == 8)
        for (; i + 4 <= n; i += 4) _mm256_storeu_pd(out + i, _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(in + i)))));
#endif
    for (; i < n; i++) {
        if constexpr (kind == FLOAT16) out[i] = from_float16(in[i]);
        else if constexpr (kind == BFLOAT16) out[i] = from_bfloat16(in[i]);
        else out[i] = static_cast<T>(in[i]);
    }
}

template <int kind, class T> static void narrow(const T *in, typename StorageOf<kind>::type *out, std::size_t n) {
    std::size_t i = 0;
#if FASTACT_F16C
    if constexpr (kind == FLOAT16 && sizeof(T) == 4)
        for (; i + 8 <= n; i += 8)
            _mm_storeu_si128(reinterpret_cast<__m128i *>(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
    for (; i < n; i++) {
        float x;
        if constexpr (sizeof(T) == 8 && kind != FLOAT32) x = round_to_odd(in[i]);
        else x = static_cast<float>(in[i]);
        if constexpr (kind == FLOAT16) out[i] = to_float16(x);
        else if constexpr (kind == BFLOAT16) out[i] = to_bfloat16(x);
        else out[i] = static_cast<typename StorageOf<kind>::type>(x);
    }
}

template <class T> static void widen_any(int kind, const void *in, T *out, std::size_t n) {
    switch (kind) {
    case FLOAT16: return widen<FLOAT16>(static_cast<const std::uint16_t *>(in), out, n);
    case BFLOAT16: return widen<BFLOAT16>(static_cast<const std::uint16_t *>(in), out, n);
    case FLOAT32: return widen<FLOAT32>(static_cast<const float *>(in), out, n);
    default: return widen<FLOAT64>(static_cast<const double *>(in), out, n);
    }
}
template <class T> static void narrow_any(int kind, const T *in, void *out, std::size_t n) {
    switch (kind) {
    case FLOAT16: return narrow<FLOAT16>(in, static_cast<std::uint16_t *>(out), n);
    case BFLOAT16: return narrow<BFLOAT16>(in, static_cast<std::uint16_t *>(out), n);
    case FLOAT32: return narrow<FLOAT32>(in, static_cast<float *>(out), n);
    default:
        if constexpr (sizeof(T) == 8) __builtin_memcpy(out, in, n * sizeof(T));
    }
}
static const std::size_t kind_size[] = {2, 2, 4, 8};

// ---------------------------------------------------------------- the driver

template <class T> using Loop = void (*)(const void *const *, const std::ptrdiff_t *, T *const *, std::size_t);

template <class T>
static void loop_of(const Entry *e, const void *const *in, const std::ptrdiff_t *step, T *const *out, std::size_t n);

template <class T>
static void through_blocks(const Entry *e, int kind, const void *const *in, const std::ptrdiff_t *step, void *const *out, std::size_t n) {
    constexpr std::size_t block = 512;  // 512 doubles, three in and two out: 20 KiB, in the first-level cache
    alignas(64) T scratch_in[MAX_INPUTS][block];
    alignas(64) T scratch_out[MAX_OUTPUTS][block];
    const void *from[MAX_INPUTS];
    T *to[MAX_OUTPUTS];
    for (int k = 0; k < e->inputs; k++) from[k] = step[k] ? scratch_in[k] : in[k];
    for (int k = 0; k < e->outputs; k++) to[k] = scratch_out[k];
    const std::size_t size = kind_size[kind];
    for (std::size_t i = 0; i < n; i += block) {
        const std::size_t m = n - i < block ? n - i : block;
        for (int k = 0; k < e->inputs; k++)
            if (step[k]) widen_any(kind, static_cast<const char *>(in[k]) + i * size, scratch_in[k], m);
        loop_of<T>(e, from, step, to, m);
        for (int k = 0; k < e->outputs; k++)
            if (k < e->stored) narrow_any(kind, scratch_out[k], static_cast<char *>(out[k]) + i * size, m);
            else __builtin_memcpy(static_cast<T *>(out[k]) + i, scratch_out[k], m * sizeof(T));
    }
}

template <class T> struct Ones {
    T values[SPLAT];
    constexpr Ones() : values{} {
        for (T &v : values) v = T(1);
    }
};
template <class T> static constexpr Ones<T> all_ones;

// One loop after the other over a block that stays in the first-level cache. An output may be the input: what it overwrites comes last.
template <class T>
static void composed(const Entry *e, const void *const *in, const std::ptrdiff_t *step, T *const *out, std::size_t n) {
    const auto value = reinterpret_cast<Loop<T>>(sizeof(T) == 8 ? e->loop64 : e->loop32);
    const auto derivative = reinterpret_cast<Loop<T>>(sizeof(T) == 8 ? e->derivative64 : e->derivative32);
    constexpr std::size_t block = 1024;
    for (std::size_t i = 0; i < n; i += block) {
        const std::size_t m = n - i < block ? n - i : block;
        const void *from[MAX_INPUTS + 1] = {all_ones<T>.values};
        std::ptrdiff_t steps[MAX_INPUTS + 1] = {0};
        bool first_overwrites = false;
        for (int k = 0; k < e->inputs; k++) {
            from[k + 1] = static_cast<const T *>(in[k]) + (step[k] ? i : 0), steps[k + 1] = step[k];
            first_overwrites |= in[k] == out[0];
        }
        T *const y = out[0] + i, *const d = out[1] + i;
        if (first_overwrites) derivative(from, steps, &d, m), value(from + 1, steps + 1, &y, m);
        else value(from + 1, steps + 1, &y, m), derivative(from, steps, &d, m);
    }
}

template <class T>
static void loop_of(const Entry *e, const void *const *in, const std::ptrdiff_t *step, T *const *out, std::size_t n) {
    if (e->derivative64) return composed<T>(e, in, step, out, n);
    const auto loop = reinterpret_cast<Loop<T>>(sizeof(T) == 8 ? e->loop64 : e->loop32);
    if (!e->unit_gradient) return loop(in, step, out, n);
    const void *from[MAX_INPUTS + 1] = {all_ones<T>.values};  // the derivative is the gradient's product with 1
    std::ptrdiff_t steps[MAX_INPUTS + 1] = {0};
    for (int k = 0; k < e->inputs; k++) from[k + 1] = in[k], steps[k + 1] = step[k];
    loop(from, steps, out, n);
}

template <class T>
static void run_typed(const Entry *e, int kind, const void *const *in, const std::ptrdiff_t *step, void *const *out, std::size_t n) {
    if (kind == (sizeof(T) == 8 ? FLOAT64 : FLOAT32))
        loop_of<T>(e, in, step, reinterpret_cast<T *const *>(out), n);
    else through_blocks<T>(e, kind, in, step, out, n);
}

// The same; past the caches, if that can be and is faster. In place it is not: the line that is overwritten has been read anyway.
template <class T>
static void run_as(bool stream, const Entry *e, int kind, const void *const *in, const std::ptrdiff_t *step, void *const *out, std::size_t n) {
#if FASTACT_STREAMS
    stream &= sizeof(T) == kind_size[kind] && e->outputs == 1;
    for (int k = 0; k < e->inputs; k++) stream &= in[k] != out[0];
    const std::size_t head = -reinterpret_cast<std::uintptr_t>(out[0]) % FASTACT_VECTOR_BYTES / sizeof(T);
    if (stream && n > head) {
        const void *from[MAX_INPUTS];
        for (int k = 0; k < e->inputs; k++) from[k] = static_cast<const T *>(in[k]) + (step[k] ? head : 0);
        void *const to = static_cast<T *>(out[0]) + head;
        if (head) run_typed<T>(e, kind, in, step, out, head);
        run_typed<T>(e, kind, from, step, &to, (n - head) | PAST);
        _mm_sfence();
        return;
    }
#endif
    run_typed<T>(e, kind, in, step, out, n);
}

// Runs entry `e` over n elements stored as `kind`, as `how` says: computing in float64 if WIDE, else in float32; storing past the caches
// if STREAM and if that is faster. Numbers (step 0) stand splatted in the working type; outputs beyond the stored ones, terms of a
// parameter's gradient, are given in the working type.
static void run(const Entry *e, int kind, int how, const void *const *in, const std::ptrdiff_t *step, void *const *out, std::size_t n) {
    if ((how & WIDE) && kind == FLOAT32 && e->loop_wide)
        reinterpret_cast<Loop<float>>(e->loop_wide)(in, step, reinterpret_cast<float *const *>(out), n);
    else if ((how & WIDE) || !e->loop32) run_as<double>(how & STREAM, e, kind, in, step, out, n);
    else run_as<float>(how & STREAM, e, kind, in, step, out, n);
}
