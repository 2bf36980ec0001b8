// The vocabulary of lowered definitions on the CPU: packs of lanes and what can be done with them. Nothing else lives here.
//
// Included by each instruction set's translation unit inside that set's own namespace, so that the linker cannot merge what was
// compiled for one set with another's. `F` is what a definition computes with: one vector of the compiler's (`Vec`; a plain float
// or double where FASTACT_VECTOR_BYTES is 0), or a `Duo` of two F, which keeps several vectors in flight.

#define FASTACT_FUNCTION static inline __attribute__((always_inline))

template <class T> struct WholeOf;
template <> struct WholeOf<float> { using type = std::int32_t; };
template <> struct WholeOf<double> { using type = std::int64_t; };

#if FASTACT_VECTOR_BYTES
template <class T> struct VecOf {
    typedef T type __attribute__((vector_size(FASTACT_VECTOR_BYTES)));
};
template <class T> using Vec = typename VecOf<T>::type;
#else
template <class T> using Vec = T;
#endif
using VecF = Vec<float>;
using VecD = Vec<double>;
using VecI = Vec<std::int32_t>;
using VecL = Vec<std::int64_t>;

// ---------------------------------------------------------------- one vector

template <class F> struct Lanes;
template <> struct Lanes<VecF> { using scalar = float; using whole = VecI; static constexpr int count = sizeof(VecF) / sizeof(float); };
template <> struct Lanes<VecD> { using scalar = double; using whole = VecL; static constexpr int count = sizeof(VecD) / sizeof(double); };

template <class V, class T> FASTACT_FUNCTION V fill(T value) {
#if FASTACT_VECTOR_BYTES
    V v;
    for (unsigned i = 0; i < sizeof(V) / sizeof(T); i++) v[i] = value;
    return v;
#else
    return value;
#endif
}
template <class To, class From> FASTACT_FUNCTION To cast_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
template <class V, class T> FASTACT_FUNCTION V load_vec(const T *p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
FASTACT_FUNCTION void store(float *p, VecF v) { __builtin_memcpy(p, &v, sizeof v); }
FASTACT_FUNCTION void store(double *p, VecD v) { __builtin_memcpy(p, &v, sizeof v); }
// Lanes of float64 as float32.
#if FASTACT_VECTOR_BYTES
typedef float HalfF __attribute__((vector_size(FASTACT_VECTOR_BYTES / 2)));
FASTACT_FUNCTION VecD widened(const float *p) { return __builtin_convertvector(load_vec<HalfF>(p), VecD); }
FASTACT_FUNCTION void store(float *p, VecD v) {
    const HalfF narrow = __builtin_convertvector(v, HalfF);
    __builtin_memcpy(p, &narrow, sizeof narrow);
}
#else
FASTACT_FUNCTION double widened(const float *p) { return static_cast<double>(*p); }
FASTACT_FUNCTION void store(float *p, double v) { *p = static_cast<float>(v); }
#endif
FASTACT_FUNCTION VecI bits(VecF x) { return cast_bits<VecI>(x); }
FASTACT_FUNCTION VecL bits(VecD x) { return cast_bits<VecL>(x); }
FASTACT_FUNCTION VecF from_bits(VecI i) { return cast_bits<VecF>(i); }
FASTACT_FUNCTION VecD from_bits(VecL i) { return cast_bits<VecD>(i); }
FASTACT_FUNCTION VecI shift_left(VecI i, int n) { return i << n; }
FASTACT_FUNCTION VecL shift_left(VecL i, int n) { return i << n; }
FASTACT_FUNCTION VecI shift_right(VecI i, int n) { return cast_bits<VecI>(cast_bits<Vec<std::uint32_t>>(i) >> n); }
FASTACT_FUNCTION VecL shift_right(VecL i, int n) { return cast_bits<VecL>(cast_bits<Vec<std::uint64_t>>(i) >> n); }
template <class M> FASTACT_FUNCTION VecF select(M mask, VecF a, VecF b) { return mask ? a : b; }
template <class M> FASTACT_FUNCTION VecD select(M mask, VecD a, VecD b) { return mask ? a : b; }

#if FASTACT_VECTOR_BYTES == 32
FASTACT_FUNCTION VecF fma(VecF a, VecF b, VecF c) { return _mm256_fmadd_ps(a, b, c); }
FASTACT_FUNCTION VecD fma(VecD a, VecD b, VecD c) { return _mm256_fmadd_pd(a, b, c); }
// The instructions return their second operand when either is NaN: just what b < a ? b : a does.
FASTACT_FUNCTION VecF pymin(VecF a, VecF b) { return _mm256_min_ps(b, a); }
FASTACT_FUNCTION VecD pymin(VecD a, VecD b) { return _mm256_min_pd(b, a); }
FASTACT_FUNCTION VecF pymax(VecF a, VecF b) { return _mm256_max_ps(b, a); }
FASTACT_FUNCTION VecD pymax(VecD a, VecD b) { return _mm256_max_pd(b, a); }
FASTACT_FUNCTION VecF fsqrt(VecF x) { return _mm256_sqrt_ps(x); }
FASTACT_FUNCTION VecD fsqrt(VecD x) { return _mm256_sqrt_pd(x); }
#elif FASTACT_VECTOR_BYTES == 64
FASTACT_FUNCTION VecF fma(VecF a, VecF b, VecF c) { return _mm512_fmadd_ps(a, b, c); }
FASTACT_FUNCTION VecD fma(VecD a, VecD b, VecD c) { return _mm512_fmadd_pd(a, b, c); }
FASTACT_FUNCTION VecF pymin(VecF a, VecF b) { return _mm512_min_ps(b, a); }
FASTACT_FUNCTION VecD pymin(VecD a, VecD b) { return _mm512_min_pd(b, a); }
FASTACT_FUNCTION VecF pymax(VecF a, VecF b) { return _mm512_max_ps(b, a); }
FASTACT_FUNCTION VecD pymax(VecD a, VecD b) { return _mm512_max_pd(b, a); }
FASTACT_FUNCTION VecF fsqrt(VecF x) { return _mm512_sqrt_ps(x); }
FASTACT_FUNCTION VecD fsqrt(VecD x) { return _mm512_sqrt_pd(x); }
#elif FASTACT_VECTOR_BYTES
// The compiler's own vectors: it turns these loops into vector instructions where the machine has them.
template <class V, class Op> FASTACT_FUNCTION V each(Op op, V a, V b, V c) {
    V r;
    for (int i = 0; i < Lanes<V>::count; i++) r[i] = op(a[i], b[i], c[i]);
    return r;
}
FASTACT_FUNCTION VecF fma(VecF a, VecF b, VecF c) { return each([](float x, float y, float z) { return __builtin_fmaf(x, y, z); }, a, b, c); }
FASTACT_FUNCTION VecD fma(VecD a, VecD b, VecD c) { return each([](double x, double y, double z) { return __builtin_fma(x, y, z); }, a, b, c); }
FASTACT_FUNCTION VecF pymin(VecF a, VecF b) { return b < a ? b : a; }
FASTACT_FUNCTION VecD pymin(VecD a, VecD b) { return b < a ? b : a; }
FASTACT_FUNCTION VecF pymax(VecF a, VecF b) { return b > a ? b : a; }
FASTACT_FUNCTION VecD pymax(VecD a, VecD b) { return b > a ? b : a; }
FASTACT_FUNCTION VecF fsqrt(VecF x) { return each([](float v, float, float) { return __builtin_sqrtf(v); }, x, x, x); }
FASTACT_FUNCTION VecD fsqrt(VecD x) { return each([](double v, double, double) { return __builtin_sqrt(v); }, x, x, x); }
#else
FASTACT_FUNCTION float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
FASTACT_FUNCTION double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
FASTACT_FUNCTION float pymin(float a, float b) { return b < a ? b : a; }
FASTACT_FUNCTION double pymin(double a, double b) { return b < a ? b : a; }
FASTACT_FUNCTION float pymax(float a, float b) { return b > a ? b : a; }
FASTACT_FUNCTION double pymax(double a, double b) { return b > a ? b : a; }
FASTACT_FUNCTION float fsqrt(float x) { return __builtin_sqrtf(x); }
FASTACT_FUNCTION double fsqrt(double x) { return __builtin_sqrt(x); }
#endif

// ---------------------------------------------------------------- two of a kind

template <class H> struct Duo {
    H a, b;
};
template <class H> struct Lanes<Duo<H>> {
    using scalar = typename Lanes<H>::scalar;
    using whole = Duo<typename Lanes<H>::whole>;
    static constexpr int count = 2 * Lanes<H>::count;
};

#define FASTACT_DUO_OPERATOR(op)                                                                                                 \
    template <class H> FASTACT_FUNCTION auto operator op(Duo<H> x, Duo<H> y) {                                                   \
        return Duo<decltype(x.a op y.a)>{x.a op y.a, x.b op y.b};                                                                \
    }
FASTACT_DUO_OPERATOR(+)
FASTACT_DUO_OPERATOR(-)
FASTACT_DUO_OPERATOR(*)
FASTACT_DUO_OPERATOR(/)
FASTACT_DUO_OPERATOR(&)
FASTACT_DUO_OPERATOR(<)
FASTACT_DUO_OPERATOR(<=)
FASTACT_DUO_OPERATOR(>)
FASTACT_DUO_OPERATOR(>=)
FASTACT_DUO_OPERATOR(==)
FASTACT_DUO_OPERATOR(!=)
#undef FASTACT_DUO_OPERATOR
template <class H> FASTACT_FUNCTION Duo<H> operator-(Duo<H> x) { return {-x.a, -x.b}; }
template <class H> FASTACT_FUNCTION auto bits(Duo<H> x) { return Duo<decltype(bits(x.a))>{bits(x.a), bits(x.b)}; }
template <class I> FASTACT_FUNCTION auto from_bits(Duo<I> i) { return Duo<decltype(from_bits(i.a))>{from_bits(i.a), from_bits(i.b)}; }
template <class I> FASTACT_FUNCTION Duo<I> shift_left(Duo<I> i, int n) { return {shift_left(i.a, n), shift_left(i.b, n)}; }
template <class I> FASTACT_FUNCTION Duo<I> shift_right(Duo<I> i, int n) { return {shift_right(i.a, n), shift_right(i.b, n)}; }
template <class M, class H> FASTACT_FUNCTION Duo<H> select(Duo<M> m, Duo<H> x, Duo<H> y) { return {select(m.a, x.a, y.a), select(m.b, x.b, y.b)}; }
template <class H> FASTACT_FUNCTION Duo<H> fma(Duo<H> x, Duo<H> y, Duo<H> z) { return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)}; }
template <class H> FASTACT_FUNCTION Duo<H> pymin(Duo<H> x, Duo<H> y) { return {pymin(x.a, y.a), pymin(x.b, y.b)}; }
template <class H> FASTACT_FUNCTION Duo<H> pymax(Duo<H> x, Duo<H> y) { return {pymax(x.a, y.a), pymax(x.b, y.b)}; }
template <class H> FASTACT_FUNCTION Duo<H> fsqrt(Duo<H> x) { return {fsqrt(x.a), fsqrt(x.b)}; }
template <class H, class T> FASTACT_FUNCTION void store(T *p, Duo<H> v) {
    store(p, v.a);
    store(p + Lanes<H>::count, v.b);
}

// ---------------------------------------------------------------- any of them

template <class F> struct Pack {
    template <class T> FASTACT_FUNCTION F splat(T value) { return fill<F>(value); }
    template <class T> FASTACT_FUNCTION F load(const T *p) { return load_vec<F>(p); }
    FASTACT_FUNCTION F load_wide(const float *p) { return widened(p); }
};
template <class H> struct Pack<Duo<H>> {
    template <class T> FASTACT_FUNCTION Duo<H> splat(T value) { return {Pack<H>::splat(value), Pack<H>::splat(value)}; }
    template <class T> FASTACT_FUNCTION Duo<H> load(const T *p) { return {Pack<H>::load(p), Pack<H>::load(p + Lanes<H>::count)}; }
    FASTACT_FUNCTION Duo<H> load_wide(const float *p) { return {Pack<H>::load_wide(p), Pack<H>::load_wide(p + Lanes<H>::count)}; }
};

template <class F> using Scalar = typename Lanes<F>::scalar;
template <class F> inline constexpr bool is_float64 = sizeof(Scalar<F>) == 8;
template <class F> FASTACT_FUNCTION F lit(double value) { return Pack<F>::splat(static_cast<Scalar<F>>(value)); }
template <class F> FASTACT_FUNCTION auto whole(long long value) {
    return Pack<typename Lanes<F>::whole>::splat(static_cast<typename WholeOf<Scalar<F>>::type>(value));
}
template <class F, class T> FASTACT_FUNCTION F load(const T *p) {
    if constexpr (sizeof(T) == sizeof(Scalar<F>)) return Pack<F>::load(p);
    else return Pack<F>::load_wide(p);
}
template <class F> FASTACT_FUNCTION F fabs(F x) {  // clears the sign bit
    return from_bits(bits(x) & whole<F>(is_float64<F> ? 0x7fffffffffffffffLL : 0x7fffffffLL));
}
#if FASTACT_VECTOR_BYTES == 64
FASTACT_FUNCTION VecF copysign(VecF magnitude, VecF sign) {  // bits of the mask choose between the two: one instruction
    return cast_bits<VecF>(_mm512_ternarylogic_epi32(_mm512_set1_epi32(1 << 31), cast_bits<__m512i>(sign), cast_bits<__m512i>(magnitude), 0xca));
}
FASTACT_FUNCTION VecD copysign(VecD magnitude, VecD sign) {
    return cast_bits<VecD>(_mm512_ternarylogic_epi64(_mm512_set1_epi64(1LL << 63), cast_bits<__m512i>(sign), cast_bits<__m512i>(magnitude), 0xca));
}
template <class H> FASTACT_FUNCTION Duo<H> copysign(Duo<H> x, Duo<H> y) { return {copysign(x.a, y.a), copysign(x.b, y.b)}; }
#else
template <class F> FASTACT_FUNCTION F copysign(F magnitude, F sign) {
    const auto rest = whole<F>(is_float64<F> ? 0x7fffffffffffffffLL : 0x7fffffffLL);
    return from_bits((bits(magnitude) & rest) + (bits(sign) - (bits(sign) & rest)));
}
#endif
