// Row-wise calls on the CPU: the executor of rows/programs.hpp and what brings tiles to it. Data is [outer][n][inner], a row runs along n.
//
// A tile is one row, packs along it; or, where rows lie side by side in memory (inner > 1) or are short, one row in each lane of a pack, in a
// scratch tile [n][lanes] in the cache, so that no axis is slow (softmax, log_softmax and cross-entropy; the others turn a few rows at a time). Plain rows in the working type are read and written in place; halves, and
// rows with a scale, a bias, noise or something left out, pass through a scratch row, and memory is passed over once in any case.

// ---------------------------------------------------------------- numbers a row

FASTACT_FUNCTION double exp_of(double x) { return std::exp(x); }
FASTACT_FUNCTION double log_of(double x) { return std::log(x); }
FASTACT_FUNCTION double log1p_of(double x) { return std::log1p(x); }
FASTACT_FUNCTION double sqrt_of(double x) { return __builtin_sqrt(x); }
FASTACT_FUNCTION double nearest_of(double x) { return (x + 0x1.8p52) - 0x1.8p52; }  // a whole number
FASTACT_FUNCTION double reciprocal_of(double x) { return 1.0 / x; }
template <class F> FASTACT_FUNCTION double log_quotient(double a, double b) { return std::log(a / b); }
#define FASTACT_INLINE __attribute__((always_inline))
#define FASTACT_ROW_METHOD inline FASTACT_INLINE
#define FASTACT_SHARED static __attribute__((noinline))

template <int count> struct LaneValues {
    double v[count];
};
template <class Function, class... U> FASTACT_FUNCTION double lanes(Function f, double first, U... rest) { return f(first, rest...); }
template <class Function, int count, class... U> FASTACT_FUNCTION LaneValues<count> lanes(Function f, const LaneValues<count> &first, const U &...rest) {
    LaneValues<count> r;
    for (int i = 0; i < count; i++) r.v[i] = f(first.v[i], rest.v[i]...);
    return r;
}
template <class Function, class... U> FASTACT_FUNCTION bool any(Function f, double first, U... rest) { return f(first, rest...); }
template <class Function, int count, class... U> FASTACT_FUNCTION bool any(Function f, const LaneValues<count> &first, const U &...rest) {
    bool found = false;
    for (int i = 0; i < count; i++) found |= f(first.v[i], rest.v[i]...);
    return found;
}
#define FASTACT_LANES_OPERATOR(op)                                                                                      \
    template <int n> FASTACT_FUNCTION LaneValues<n> operator op(const LaneValues<n> &a, const LaneValues<n> &b) {       \
        return lanes([](double x, double y) { return x op y; }, a, b);                                                  \
    }                                                                                                                   \
    template <int n> FASTACT_FUNCTION LaneValues<n> operator op(const LaneValues<n> &a, double b) {                     \
        return lanes([b](double x) { return x op b; }, a);                                                              \
    }
FASTACT_LANES_OPERATOR(+)
FASTACT_LANES_OPERATOR(-)
FASTACT_LANES_OPERATOR(*)
#undef FASTACT_LANES_OPERATOR
template <int n> FASTACT_FUNCTION LaneValues<n> operator-(const LaneValues<n> &a) {
    return lanes([](double x) { return -x; }, a);
}
FASTACT_FUNCTION void set_all(double &u, double value) { u = value; }
template <int n> FASTACT_FUNCTION void set_all(LaneValues<n> &u, double value) {
    for (double &v : u.v) v = value;
}

#include "../rows/programs.hpp"

// ---------------------------------------------------------------- packs: the last of a row, sums, the largest

struct Whole {
    std::size_t i;
};
struct Part {
    std::size_t i, left;  // no more than a pack
};

#if FASTACT_VECTOR_BYTES == 64
FASTACT_FUNCTION VecF load_some(const float *p, std::size_t left, VecF rest) { return _mm512_mask_loadu_ps(rest, left >= 16 ? 0xffff : (1u << left) - 1, p); }
FASTACT_FUNCTION VecD load_some(const double *p, std::size_t left, VecD rest) { return _mm512_mask_loadu_pd(rest, left >= 8 ? 0xff : (1u << left) - 1, p); }
FASTACT_FUNCTION void store_some(float *p, VecF v, std::size_t left) { _mm512_mask_storeu_ps(p, left >= 16 ? 0xffff : (1u << left) - 1, v); }
FASTACT_FUNCTION void store_some(double *p, VecD v, std::size_t left) { _mm512_mask_storeu_pd(p, left >= 8 ? 0xff : (1u << left) - 1, v); }
#elif FASTACT_VECTOR_BYTES == 32
FASTACT_FUNCTION __m256i first_floats(std::size_t left) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left < 8 ? static_cast<int>(left) : 8), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FASTACT_FUNCTION __m256i first_doubles(std::size_t left) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(left < 4 ? static_cast<long long>(left) : 4), _mm256_setr_epi64x(0, 1, 2, 3));
}
FASTACT_FUNCTION VecF load_some(const float *p, std::size_t left, VecF rest) {
    const __m256i mask = first_floats(left);
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
FASTACT_FUNCTION VecD load_some(const double *p, std::size_t left, VecD rest) {
    const __m256i mask = first_doubles(left);
    return _mm256_blendv_pd(rest, _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask));
}
FASTACT_FUNCTION void store_some(float *p, VecF v, std::size_t left) { _mm256_maskstore_ps(p, first_floats(left), v); }
FASTACT_FUNCTION void store_some(double *p, VecD v, std::size_t left) { _mm256_maskstore_pd(p, first_doubles(left), v); }
#else
template <class F> FASTACT_FUNCTION F load_some(const Scalar<F> *p, std::size_t left, F rest) {
    Scalar<F> spare[Lanes<F>::count];
    store(spare, rest);
    __builtin_memcpy(spare, p, (left < Lanes<F>::count ? left : Lanes<F>::count) * sizeof(Scalar<F>));
    return load<F>(spare);
}
template <class F> FASTACT_FUNCTION void store_some(Scalar<F> *p, F v, std::size_t left) {
    Scalar<F> spare[Lanes<F>::count];
    store(spare, v);
    __builtin_memcpy(p, spare, (left < Lanes<F>::count ? left : Lanes<F>::count) * sizeof(Scalar<F>));
}
#endif
template <class H> FASTACT_FUNCTION Duo<H> load_some(const Scalar<H> *p, std::size_t left, Duo<H> rest) {
    constexpr std::size_t half = Lanes<H>::count;
    return {load_some(p, left, rest.a), left > half ? load_some(p + half, left - half, rest.b) : rest.b};
}
template <class H> FASTACT_FUNCTION void store_some(Scalar<H> *p, Duo<H> v, std::size_t left) {
    constexpr std::size_t half = Lanes<H>::count;
    store_some(p, v.a, left);
    if (left > half) store_some(p + half, v.b, left - half);
}

// Sums lane by lane in float64; float64 terms with their rounding errors beside them.
template <class F> struct Adder;
#if FASTACT_VECTOR_BYTES
template <> struct Adder<VecF> {
    VecD low = {}, high = {};
    FASTACT_FUNCTION void add(Adder &a, VecF v) {
        typedef float Half __attribute__((vector_size(FASTACT_VECTOR_BYTES / 2)));
        Half h[2];
        __builtin_memcpy(h, &v, sizeof v);
        a.low += __builtin_convertvector(h[0], VecD);
        a.high += __builtin_convertvector(h[1], VecD);
    }
    FASTACT_FUNCTION void put(const Adder &a, double *out) {
        store(out, a.low);
        store(out + Lanes<VecD>::count, a.high);
    }
    FASTACT_FUNCTION void add_joined(Adder &a, VecF v) { add(a, v); }
    FASTACT_FUNCTION VecD joined(const Adder &a) { return a.low + a.high; }
};
#else
template <> struct Adder<VecF> {
    double sum = 0.0;
    FASTACT_FUNCTION void add(Adder &a, VecF v) { a.sum += v; }
    FASTACT_FUNCTION void put(const Adder &a, double *out) { *out = a.sum; }
    FASTACT_FUNCTION void add_joined(Adder &a, VecF v) { a.sum += v; }
    FASTACT_FUNCTION VecD joined(const Adder &a) { return a.sum; }
};
#endif
template <> struct Adder<VecD> {
    VecD sum = {}, low = {};
    FASTACT_FUNCTION void add(Adder &a, VecD v) {
        const VecD after = a.sum + v, added = after - a.sum;
        a.low += (a.sum - (after - added)) + (v - added);
        a.sum = after;
    }
    FASTACT_FUNCTION void put(const Adder &a, double *out) { store(out, select(a.low == a.low, a.sum + a.low, a.sum)); }  // NaN where the sum is infinite
};
template <class H> struct Adder<Duo<H>> {
    Adder<H> a, b;
    FASTACT_FUNCTION void add(Adder &s, Duo<H> v) {
        Adder<H>::add(s.a, v.a);
        Adder<H>::add(s.b, v.b);
    }
    FASTACT_FUNCTION void put(const Adder &s, double *out) {
        Adder<H>::put(s.a, out);
        Adder<H>::put(s.b, out + Lanes<H>::count);
    }
    FASTACT_FUNCTION void add_joined(Adder &s, Duo<H> v) { Adder<H>::add_joined(s.a, v.a + v.b); }  // where lanes will be joined anyway
    FASTACT_FUNCTION VecD joined(const Adder &s) { return Adder<H>::joined(s.a) + Adder<H>::joined(s.b); }
};

// The lanes of a vector joined in halves: their sum, or the largest.
template <class V, class Join> FASTACT_FUNCTION auto joined_lanes(V v, Join join) {
#if FASTACT_VECTOR_BYTES
    using T = std::remove_cv_t<std::remove_reference_t<decltype(v[0])>>;
    if constexpr (sizeof(V) == 2 * sizeof(T)) return static_cast<T>(join(v[0], v[1]));
    else {
        typedef T Half __attribute__((vector_size(sizeof(V) / 2)));
        Half h[2];
        __builtin_memcpy(h, &v, sizeof v);
        return joined_lanes(static_cast<Half>(join(h[0], h[1])), join);
    }
#else
    return v;
#endif
}
template <class F> FASTACT_FUNCTION double total_of(const Adder<F> &sum) {
    if constexpr (is_float64<F>) {
        constexpr int count = Lanes<F>::count;
        double v[count], total = 0.0, low = 0.0;
        Adder<F>::put(sum, v);
        for (double value : v) {
            const double before = total;
            total += value;
            const double added = total - before;
            low += (before - (total - added)) + (value - added);
        }
        return low == low ? total + low : total;
    } else {
        return joined_lanes(Adder<F>::joined(sum), [](auto a, auto b) { return a + b; });
    }
}
FASTACT_FUNCTION VecF largest_half(VecF v) { return v; }
FASTACT_FUNCTION VecD largest_half(VecD v) { return v; }
template <class H> FASTACT_FUNCTION auto largest_half(Duo<H> v) { return largest_half(pymax(v.a, v.b)); }

// ---------------------------------------------------------------- the executor

template <class U_> struct RowNumbers {
    using U = U_;
    U sink, alpha, row_grad, label, active, label_weight;
    U lse, dsink, dalpha, loss;
    bool has_sink, has_grad, has_soft, has_weight, hard, wants_lse, wants_result, wants_dalpha;
    double smoothing, z_loss, margin, row_scale;
    int power;
};


// How the elements of a tile's rows lie in packs: one row along the packs; one row in each lane; two rows, one in each half of a Duo, which
// hides the latencies of rows of a few packs in each other.
enum Layout { ALONG, LANES, PAIR };

template <class F, int layout> struct Numbers { using type = double; };
template <class F> struct Numbers<F, LANES> { using type = LaneValues<Lanes<F>::count>; };
template <class F> struct Numbers<F, PAIR> { using type = LaneValues<2>; };

// The halves of a Duo, for rows in pairs; what is no Duo has none.
template <class F> struct HalfOf { using type = F; };
template <class H> struct HalfOf<Duo<H>> { using type = H; };

// Element r of a row stands at xs + r; with a row in each lane at xs + r * x_step + lane, results then at ys + r * y_step + lane; of two
// rows, the second row's at xs + second + r.
template <class F_, int layout_> struct Row : RowNumbers<typename Numbers<F_, layout_>::type> {
    using F = F_;
    using H = typename HalfOf<F>::type;
    using T = Scalar<F>;
    using U = typename Numbers<F, layout_>::type;
    static constexpr int layout = layout_;
    using Fixed = Row;
    static constexpr bool shares = layout != PAIR, at_once = false;
    FASTACT_ROW_METHOD static F shifted_exp(F x, F lowest, F shift) { return defs::shifted_exp(x, lowest, shift); }
    FASTACT_ROW_METHOD static U number(const U &u) { return u; }
    static constexpr std::size_t width = Lanes<F>::count, step = layout == PAIR ? Lanes<H>::count : width;
    std::size_t n, x_step, y_step, second, memo_second;
    const T *xs, *gs, *softs, *weights;
    T *ys, *memo;  // memo: null where nothing need be remembered

    template <class V> FASTACT_ROW_METHOD V take_one(const T *p, Whole at, T) const { return load<V>(p + at.i); }
    template <class V> FASTACT_ROW_METHOD V take_one(const T *p, Part at, T rest) const { return load_some(p + at.i, at.left, Pack<V>::splat(rest)); }
    template <class V> FASTACT_ROW_METHOD void give_one(T *p, Whole at, V v) const { store(p + at.i, v); }
    template <class V> FASTACT_ROW_METHOD void give_one(T *p, Part at, V v) const { store_some(p + at.i, v, at.left); }
    template <class At> FASTACT_ROW_METHOD F take(const T *p, At at, T rest, std::size_t apart) const {
        if constexpr (layout == PAIR) return {take_one<H>(p, at, rest), take_one<H>(p + apart, at, rest)};
        else return take_one<F>(p, at, rest);
    }
    template <class At> FASTACT_ROW_METHOD void give(T *p, At at, F v, std::size_t apart) const {
        if constexpr (layout == PAIR) give_one<H>(p, at, v.a), give_one<H>(p + apart, at, v.b);
        else give_one<F>(p, at, v);
    }

    template <class At> FASTACT_ROW_METHOD F read(const T *p, At at, T rest) const {
        if constexpr (layout == LANES) return load<F>(p + at.i / width * x_step);
        else return take(p, at, rest, second);
    }
    template <class At> FASTACT_ROW_METHOD F x(At at) const { return read(xs, at, -__builtin_inff()); }
    template <class At> FASTACT_ROW_METHOD F g(At at) const { return this->has_grad ? read(gs, at, 0) : Pack<F>::splat(T(0)); }
    template <class At> FASTACT_ROW_METHOD F soft(At at) const { return read(softs, at, 0); }
    template <class At> FASTACT_ROW_METHOD F weight(At at) const {
        if constexpr (layout == LANES) return Pack<F>::splat(weights[at.i / width]);
        else return take(weights, at, 0, 0);
    }
    template <class At> FASTACT_ROW_METHOD F remember(At at, F v) const {
        if (memo) give(memo, at, v, memo_second);
        return v;
    }
    template <class At, class Term> FASTACT_ROW_METHOD F recall(At at, Term term) const { return memo ? recall_only(at) : term(); }
    template <class At> FASTACT_ROW_METHOD F recall_only(At at) const { return take(memo, at, 0, memo_second); }
    template <class At> FASTACT_ROW_METHOD void put(At at, F v) const {
        if constexpr (layout == LANES) store(ys + at.i / width * y_step, v);
        else give(ys, at, v, second);
    }

    static constexpr bool ragged = layout != LANES;  // the last pack of a row may be partial
    FASTACT_ROW_METHOD std::size_t end() const { return layout == LANES ? n * width : n; }
    template <class Body> FASTACT_ROW_METHOD void each(Body body) const {
        std::size_t i = 0;
        for (; i + step <= end(); i += step) body(Whole{i});
        if constexpr (ragged)
            if (i < n) body(Part{i, n - i});
    }
    template <class Term> FASTACT_ROW_METHOD U max(Term term) const {
        F m = Pack<F>::splat(T(-__builtin_inff())), m2 = m;  // two chains
        std::size_t i = 0;
        for (; i + 2 * step <= end(); i += 2 * step) m = pymax(m, term(Whole{i})), m2 = pymax(m2, term(Whole{i + step}));
        if constexpr (ragged)
            for (; i < n; i += step) m = pymax(m, term(Part{i, n - i}));
        else if (i < end()) m = pymax(m, term(Whole{i}));
        m = pymax(m, m2);
        const auto larger = [](auto a, auto b) { return b > a ? b : a; };
        if constexpr (layout == ALONG) return joined_lanes(largest_half(m), larger);
        else if constexpr (layout == PAIR) return {{joined_lanes(largest_half(m.a), larger), joined_lanes(largest_half(m.b), larger)}};
        else return unpacked(m);
    }
    FASTACT_ROW_METHOD U result_of(const Adder<F> &sum) const {
        if constexpr (layout == ALONG) return total_of<F>(sum);
        else if constexpr (layout == PAIR) return {{total_of<H>(sum.a), total_of<H>(sum.b)}};
        else {
            U u;
            Adder<F>::put(sum, u.v);
            return u;
        }
    }
    FASTACT_ROW_METHOD F counted(Whole, F v) const { return v; }
    FASTACT_ROW_METHOD F counted(Part at, F v) const {  // nothing beyond the row
        if constexpr (layout == PAIR) return {counted_one(at, v.a), counted_one(at, v.b)};
        else return counted_one(at, v);
    }
    template <class V> FASTACT_ROW_METHOD V counted_one(Part at, V v) const {
        T spare[Lanes<V>::count];
        store(spare, v);
        return load_some(spare, at.left, Pack<V>::splat(T(0)));
    }
    // Float32 terms are added in pairs, with a row a lane by fours, before they are widened: half an ULP each time for half the conversions.
    template <class Term> FASTACT_ROW_METHOD U sum(Term term) const {
        Adder<F> sum;
        if constexpr (is_float64<F>) each([&](auto at) FASTACT_INLINE { Adder<F>::add(sum, counted(at, term(at))); });
        else {
            std::size_t i = 0;
            if constexpr (layout == LANES)
                for (; i + 4 * step <= end();) {
                    F four = Pack<F>::splat(T(0));
#pragma GCC unroll 1
                    for (int k = 0; k < 2; k++, i += 2 * step) {
                        const F first = term(Whole{i});
                        four = four + (first + term(Whole{i + step}));
                    }
                    Adder<F>::add(sum, four);
                }
            else
                for (; i + 2 * step <= end(); i += 2 * step) {
                    const F first = term(Whole{i});
                    add_some(sum, first + term(Whole{i + step}));
                }
            if constexpr (ragged)
                for (; i < n; i += step) add_some(sum, counted(Part{i, n - i}, term(Part{i, n - i})));
            else
                for (; i < end(); i += step) add_some(sum, term(Whole{i}));
        }
        return result_of(sum);
    }
    template <class Term> FASTACT_ROW_METHOD U exact_sum(Term term) const {
        Adder<F> sum;
        each([&](auto at) FASTACT_INLINE { Adder<F>::add(sum, counted(at, term(at))); });
        return result_of(sum);
    }
    FASTACT_ROW_METHOD void add_some(Adder<F> &sum, F v) const {
        if constexpr (layout == ALONG) Adder<F>::add_joined(sum, v);
        else Adder<F>::add(sum, v);
    }
    struct Two {
        U a, b;
    };
    template <class Term> FASTACT_ROW_METHOD Two sum2(Term term) const {
        Adder<F> a, b;
        each([&](auto at) FASTACT_INLINE {
            const auto v = term(at);
            Adder<F>::add(a, counted(at, v.a));
            Adder<F>::add(b, counted(at, v.b));
        });
        return {result_of(a), result_of(b)};
    }
    // The first place where `test` holds, 0 if there is none.
    template <class Test> FASTACT_ROW_METHOD U first(Test test) const {
        U place;
        set_all(place, -1.0);
        each([&](auto at) {
            T found[width];
            store(found, select(test(at), Pack<F>::splat(T(1)), Pack<F>::splat(T(0))));
            for (std::size_t i = 0; i < width; i++) {
                if constexpr (layout == ALONG) place = place < 0.0 && found[i] != 0 ? static_cast<double>(at.i + i) : place;
                else {
                    double &p = place.v[layout == LANES ? i : i / step];
                    p = p < 0.0 && found[i] != 0 ? static_cast<double>(layout == LANES ? at.i / width : at.i + i % step) : p;
                }
            }
        });
        return lanes([](double p) { return p < 0.0 ? 0.0 : p; }, place);
    }
    FASTACT_ROW_METHOD F pack(const U &u) const {
        if constexpr (layout == ALONG) return Pack<F>::splat(static_cast<T>(u));
        else if constexpr (layout == PAIR) return {Pack<H>::splat(static_cast<T>(u.v[0])), Pack<H>::splat(static_cast<T>(u.v[1]))};
        else {
            T spare[width];
            for (std::size_t i = 0; i < width; i++) spare[i] = static_cast<T>(u.v[i]);
            return load<F>(spare);
        }
    }
    FASTACT_ROW_METHOD U unpacked(F v) const {
        T spare[width];
        store(spare, v);
        if constexpr (layout == ALONG) return spare[0];
        else {
            U u;
            constexpr std::size_t count = sizeof(U) / sizeof(double);
            for (std::size_t i = 0; i < count; i++) u.v[i] = spare[i * (width / count)];
            return u;
        }
    }
    FASTACT_ROW_METHOD static std::size_t whole(double v) { return static_cast<std::size_t>(v); }
    FASTACT_ROW_METHOD U peek(const U &place) const {
        if constexpr (layout == ALONG) return xs[whole(place)];
        else if constexpr (layout == PAIR) return {{xs[whole(place.v[0])], xs[second + whole(place.v[1])]}};
        else {
            U u;
            for (std::size_t i = 0; i < width; i++) u.v[i] = xs[whole(place.v[i]) * x_step + i];
            return u;
        }
    }
    FASTACT_ROW_METHOD void poke(const U &place, const U &value) const {
        if constexpr (layout == ALONG) ys[whole(place)] = static_cast<T>(value);
        else if constexpr (layout == PAIR) ys[whole(place.v[0])] = static_cast<T>(value.v[0]), ys[second + whole(place.v[1])] = static_cast<T>(value.v[1]);
        else
            for (std::size_t i = 0; i < width; i++) ys[whole(place.v[i]) * y_step + i] = static_cast<T>(value.v[i]);
    }
};

// ---------------------------------------------------------------- tiles

template <class T> static T value_at(int kind, const void *data, std::ptrdiff_t i) {
    T v;
    widen_any(kind, static_cast<const char *>(data) + i * static_cast<std::ptrdiff_t>(kind_size[kind]), &v, 1);
    return v;
}

// Gumbel noise for each element's place: the number of fastact/noise.py, in the middle of its step, so that it is never 0.
static double gumbel_at(std::uint64_t seed, std::uint64_t place) {
    std::uint64_t z = seed + (place + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return -std::log(-std::log(static_cast<double>(z >> 40) * 0x1p-24 + 0x1p-25));
}

// What a call's tiles have in common. Row r's element i in lane c of a tile that begins at row `first` (o, c0).
template <class F, int layout, int program, int direction> struct Tiles {
    using R = Row<F, layout>;
    using T = Scalar<F>;
    static constexpr std::size_t width = layout == LANES ? Lanes<F>::count : 1, pack = Lanes<F>::count;
    static constexpr bool along = layout != LANES, loss = program >= programs::CROSS_ENTROPY;
    static constexpr int own = sizeof(T) == 8 ? FLOAT64 : FLOAT32;
    const fastact_rows &call;
    const bool gathered;  // rows that follow each other, one a lane
    const bool plain;     // stored in the working type, nothing to be done before or after
    const std::size_t n, size, padded;
    T *z, *g, *soft, *weights, *spare;
    unsigned char *kept;  // [n][width], or null
    double *dbias;

    static bool is_plain(const fastact_rows &c) { return c.kind == own && !c.bias.data && !c.where.data && !c.limits && !c.has_noise && c.scale == 1.0; }

    explicit Tiles(const fastact_rows &c, bool gather)
        : call(c), gathered(gather),
          plain(is_plain(c)), n(c.n), size(kind_size[c.kind]), padded((c.n + pack - 1) / pack * pack) {}

    // One block of memory for all: null if there is none.
    void *allocate() {
        const std::size_t tile = (along && call.inner > 1 ? BLOCK : layout == PAIR ? 2 : 1) * (along ? padded : n * width), tiles = 4;
        void *block = std::malloc((tiles * tile + padded + pack) * sizeof(T) + (call.where.data || call.limits ? n * width : 0) + 64);
        if (!block) return nullptr;
        z = reinterpret_cast<T *>((reinterpret_cast<std::uintptr_t>(block) + 63) / 64 * 64);
        g = z + tile, soft = g + tile, spare = soft + tile, weights = spare + tile;
        kept = call.where.data || call.limits ? reinterpret_cast<unsigned char *>(weights + padded) : nullptr;
        if (call.weight)
            for (std::size_t i = 0; i < n; i++) weights[i] = static_cast<T>(call.weight[i]);
        return block;
    }

    // Asks for what the tile after that at byte `base`, column c, reads and writes: it lies too far apart for the machine to foresee.
    void ahead(std::size_t base, std::size_t c) const {
        const std::size_t stride = call.inner * sizeof(T), line = 64, next = base + (c + 2 * width <= call.inner ? width * sizeof(T) : n * stride - c * sizeof(T));
        for (std::size_t r = 0; r < n; r++)
            for (std::size_t b = 0; b < width * sizeof(T); b += line) {
                __builtin_prefetch(static_cast<const char *>(call.x) + next + r * stride + b, 0, 2);
                if (call.grad) __builtin_prefetch(static_cast<const char *>(call.grad) + next + r * stride + b, 0, 2);
                if (call.out) __builtin_prefetch(static_cast<const char *>(call.out) + next + r * stride + b, 1, 2);
            }
    }

    // Elements of the rows from (o, c), w of them, as a tile; what is beyond, in lanes or at the end of a row, is `rest`.
    void fill(const void *from, T *tile, std::size_t o, std::size_t c, std::size_t w, T rest) const {
        const char *p = static_cast<const char *>(from) + (o * n * call.inner + c) * size;
        if constexpr (along) {
            widen_any(call.kind, p, tile, n);
            for (std::size_t i = n; i < padded; i++) tile[i] = rest;
        } else if (gathered) {
            for (std::size_t lane = 0; lane < width; lane++) {
                if (lane < w) widen_any(call.kind, p + lane * n * size, spare, n);
                for (std::size_t r = 0; r < n; r++) tile[r * width + lane] = lane < w ? spare[r] : T(0);
            }
        } else if (call.kind == own && w == width) {
            if (from == call.x) ahead((o * n * call.inner + c) * size, c);
            for (std::size_t r = 0; r < n; r++) store(tile + r * width, load<F>(reinterpret_cast<const T *>(p + r * call.inner * sizeof(T))));
        } else {
            for (std::size_t r = 0; r < n; r++) {
                widen_any(call.kind, p + r * call.inner * size, tile + r * width, w);
                for (std::size_t lane = w; lane < width; lane++) tile[r * width + lane] = 0;
            }
        }
    }
    void spill(const T *tile, void *to, std::size_t o, std::size_t c, std::size_t w) const {
        char *p = static_cast<char *>(to) + (o * n * call.inner + c) * size;
        if constexpr (along) narrow_any(call.kind, tile, p, n);
        else if (gathered) {
            for (std::size_t lane = 0; lane < w; lane++) {
                for (std::size_t r = 0; r < n; r++) spare[r] = tile[r * width + lane];
                narrow_any(call.kind, spare, p + lane * n * size, n);
            }
        } else {
            for (std::size_t r = 0; r < n; r++) narrow_any(call.kind, tile + r * width, p + r * call.inner * size, w);
        }
    }
    // body(element of the tile, its offset in what is spread) for all elements of all rows
    template <class Body> FASTACT_ROW_METHOD void spread_over(const fastact_spread &s, std::size_t o, std::size_t c, std::size_t w, Body body) const {
        for (std::size_t lane = 0; lane < w; lane++) {
            std::ptrdiff_t at = gathered ? s.outer[o + lane] + s.inner[0] : s.outer[o] + s.inner[c + lane];
            for (std::size_t r = 0; r < n; r++, at += s.step) body(r * width + lane, at);
        }
    }

    void prepare(std::size_t o, std::size_t c, std::size_t w) const {
        const T scale = static_cast<T>(call.scale), bias_scale = static_cast<T>(call.bias_scale);
        const std::size_t tile = along ? padded : n * width;
        if (call.bias.data) {
            if (along && call.bias.step == 1) widen_any(call.kind, static_cast<const char *>(call.bias.data) + (call.bias.outer[o] + call.bias.inner[0]) * static_cast<std::ptrdiff_t>(size), spare, n);
            else spread_over(call.bias, o, c, w, [&](std::size_t i, std::ptrdiff_t at) { spare[i] = value_at<T>(call.kind, call.bias.data, at); });
            if (w < width)  // lanes without a row: what they hold decides with the others how the tile is computed
                for (std::size_t r = 0; r < n; r++)
                    for (std::size_t lane = w; lane < width; lane++) spare[r * width + lane] = 0;
            for (std::size_t i = n * width; i < tile; i++) spare[i] = 0;
            if (bias_scale != T(1))
                for (std::size_t i = 0; i < tile; i++) spare[i] *= bias_scale;
            for (std::size_t i = 0; i < tile; i++) z[i] = fused(z[i], scale, spare[i]);
        } else if (scale != T(1) && direction != programs::BACKWARD_FROM_OUTPUT) {
            for (std::size_t i = 0; i < tile; i++) z[i] *= scale;
        }
        if (call.has_noise)
            for (std::size_t lane = 0; lane < w; lane++)
                for (std::size_t r = 0; r < n; r++) {
                    const std::size_t place = gathered ? (o + lane) * n + r : (o * n + r) * call.inner + c + lane;
                    z[r * width + lane] += static_cast<T>(call.bias_scale * gumbel_at(call.noise, place));
                }
        if (!kept) return;
        if (call.where.data) spread_over(call.where, o, c, w, [&](std::size_t i, std::ptrdiff_t at) { kept[i] = static_cast<const unsigned char *>(call.where.data)[at] != 0; });
        else __builtin_memset(kept, 1, n * width);
        if (call.limits)
            for (std::size_t lane = 0; lane < w; lane++) {
                const std::int64_t limit = call.limits[o * call.inner + c + lane];
                for (std::size_t r = limit > 0 ? static_cast<std::size_t>(limit) : 0; r < n; r++) kept[r * width + lane] = 0;
            }
        const T left_out = direction == programs::BACKWARD_FROM_OUTPUT && program != programs::LOG_SOFTMAX ? T(0) : -T(__builtin_inff());
        for (std::size_t r = 0; r < n; r++)
            for (std::size_t lane = 0; lane < w; lane++) {
                const std::size_t i = r * width + lane;
                z[i] = kept[i] ? z[i] : left_out;
                if (call.grad) g[i] = kept[i] ? g[i] : T(0);
            }
    }
    static T fused(T a, T b, T c) {
        if constexpr (sizeof(T) == 8) return __builtin_fma(a, b, c);
        else return __builtin_fmaf(a, b, c);
    }

    // What stands where something was left out, and the gradients of bias and scale.
    void finish(T *y, std::size_t o, std::size_t c, std::size_t w, R &row) const {
        if (kept)
            for (std::size_t lane = 0; lane < w; lane++) {
                bool some = false;
                for (std::size_t r = 0; r < n; r++) some |= kept[r * width + lane] != 0;
                T gone = direction == programs::VALUE && program == programs::LOG_SOFTMAX ? -T(__builtin_inff()) : T(0);
                if (!some && call.masked_nan) gone = T(__builtin_nanf(""));
                if (y)
                    for (std::size_t r = 0; r < n; r++)
                        if (!kept[r * width + lane]) y[r * width + lane] = gone;
                if ((program == programs::HARDMAX || call.hard) && direction == programs::VALUE && some) {  // the largest may be -inf, and found where something is left out
                    std::size_t first = n;
                    bool found = false;
                    for (std::size_t r = n; r--;)
                        if (kept[r * width + lane]) first = r, found |= !(y[r * width + lane] == 0);
                    if (!found) y[first * width + lane] = 1;
                }
                if (!some) {
                    const double none = call.masked_nan ? __builtin_nan("") : 0.0;
                    set_lane(row.lse, lane, call.masked_nan ? none : call.sink ? row_number(call.sink, call.sink_step, o, c, lane) : -__builtin_inf());
                    set_lane(row.dalpha, lane, none);
                    if (!call.sink || call.masked_nan) set_lane(row.dsink, lane, none);
                }
            }
        if (!y) return;
        if (call.dbias) spread_over(call.bias, o, c, w, [&](std::size_t i, std::ptrdiff_t at) { dbias[at] += call.bias_scale * y[i]; });
        if (direction != programs::VALUE && !loss && call.scale != 1.0)
            for (std::size_t i = 0; i < (along ? padded : n * width); i++) y[i] *= static_cast<T>(call.scale);
    }

    static void set_lane(double &u, std::size_t, double v) { u = v; }
    template <int k> static void set_lane(LaneValues<k> &u, std::size_t lane, double v) { u.v[lane] = v; }
    double row_number(const double *p, int step, std::size_t o, std::size_t c, std::size_t lane) const { return p[step ? o * call.inner + c + lane : 0]; }
    template <class U> void numbers(U &u, const double *p, int step, std::size_t o, std::size_t c, std::size_t w, double rest) const {
        set_all(u, rest);
        if (p)
            for (std::size_t lane = 0; lane < w; lane++) set_lane(u, lane, row_number(p, step, o, c, lane));
    }
    template <class U> void results(const U &u, double *p, std::size_t o, std::size_t c, std::size_t w) const {
        if (!p) return;
        const double *v = reinterpret_cast<const double *>(&u);
        for (std::size_t lane = 0; lane < w; lane++) p[o * call.inner + c + lane] = v[lane];
    }

    // Nothing but x, or the gradient and x or the output.
    bool bare() const {
        return plain && call.out && !call.sink && !call.alpha && !call.row_grad && !call.lse && !call.dsink && !call.dalpha && !call.hard;
    }

    // What is the same for all rows of the call.
    R prototype() const {
        R row;
        row.n = n, row.x_step = row.y_step = width, row.weights = weights, row.second = n, row.memo_second = direction == programs::VALUE ? n : padded;
        row.has_sink = call.sink, row.has_grad = call.grad, row.has_soft = call.soft, row.has_weight = call.weight;
        row.hard = call.hard, row.wants_lse = call.lse, row.wants_result = call.out, row.wants_dalpha = call.dalpha;
        row.smoothing = call.smoothing, row.z_loss = call.z_loss, row.margin = call.margin, row.power = call.power, row.row_scale = call.row_scale;
        set_all(row.sink, 0.0), set_all(row.alpha, 1.5), set_all(row.row_grad, loss ? 1.0 : 0.0);
        set_all(row.label, 0.0), set_all(row.active, 1.0), set_all(row.label_weight, 1.0);
        set_all(row.lse, 0.0), set_all(row.dsink, 0.0), set_all(row.dalpha, 0.0), set_all(row.loss, 0.0);
        return row;
    }

    // The rows (o, c), w of them. `lying`: their elements are in the scratch tiles already, and results stay there.
    void tile(const R &prototype, std::size_t o, std::size_t c, std::size_t w, bool lying = false) {
        R row = prototype;
        if (along && call.limits) row.n = std::min(n, static_cast<std::size_t>(call.limits[o * call.inner + c]));
        const std::size_t base = (o * n * call.inner + c) * size;
        const bool direct = plain && along && !lying;                                 // nothing is copied
        const bool placed = direct || (!along && plain && !gathered && w == width);   // results go where they belong
        // Rows side by side are read where they are, too, if that is once or twice from the first-level cache.
        const bool in_place = placed && !along && (direction == programs::BACKWARD_FROM_OUTPUT || n * call.inner * sizeof(T) <= 32768);
        T *const y = !call.out ? nullptr : placed ? reinterpret_cast<T *>(static_cast<char *>(call.out) + base) : z;
        if (in_place) {
            row.x_step = call.inner;
            ahead(base, c);
        }
        if (direct || in_place) {
            row.xs = reinterpret_cast<const T *>(static_cast<const char *>(call.x) + base);
            row.gs = reinterpret_cast<const T *>(static_cast<const char *>(call.grad) + (call.grad ? base : 0));
            row.softs = reinterpret_cast<const T *>(static_cast<const char *>(call.soft) + (call.soft ? base : 0));
        } else {
            if (!lying) {
                fill(call.x, z, o, c, w, -T(__builtin_inff()));
                if (call.grad) fill(call.grad, g, o, c, w, 0);
                if (call.soft) fill(call.soft, soft, o, c, w, 0);
            }
            if (!plain) prepare(o, c, w);
            row.xs = z, row.gs = g, row.softs = soft;
        }
        if (placed && !along) row.y_step = call.inner;
        // Of a gradient nothing may be remembered in its place: it may be that of x or of the gradient, which are needed once more.
        row.ys = y, row.memo = !call.out ? nullptr : direct && direction == programs::VALUE ? y : z;
        if (layout == PAIR && w == 1) row.second = row.memo_second = 0;  // the last row, twice
        if (call.sink) numbers(row.sink, call.sink, call.sink_step, o, c, w, 0.0);
        if (call.alpha) numbers(row.alpha, call.alpha, call.alpha_step, o, c, w, 1.5);
        if (call.row_grad) numbers(row.row_grad, call.row_grad, 1, o, c, w, loss ? 1.0 : 0.0);
        if constexpr (loss)
            if (call.labels)
                for (std::size_t lane = 0; lane < w; lane++) {
                    const std::int64_t label = call.labels[o * call.inner + c + lane];
                    const bool on = !(call.has_ignore && label == call.ignore);
                    set_lane(row.active, lane, on);
                    set_lane(row.label, lane, on ? static_cast<double>(label) : 0.0);
                    if (call.weight) set_lane(row.label_weight, lane, on ? call.weight[label] : 0.0);
                }
        programs::run<program, direction>(row);
        if (!plain) finish(y, o, c, w, row);
        if (y && !placed && !lying) spill(y, call.out, o, c, w);
        results(row.lse, call.lse, o, c, w);
        results(row.dsink, call.dsink, o, c, w);
        results(row.dalpha, call.dalpha, o, c, w);
        if constexpr (loss) results(row.loss, call.loss, o, c, w);
    }

    // Programs with much arithmetic an element take rows that lie side by side one after the other: BLOCK of them are turned first.
    static constexpr std::size_t BLOCK = 16;
    void turn(const void *from, T *tiles, std::size_t o, std::size_t c, std::size_t w, T rest) const {
        const char *p = static_cast<const char *>(from) + (o * n * call.inner + c) * size;
        T line[BLOCK];
        for (std::size_t r = 0; r < n; r++) {
            widen_any(call.kind, p + r * call.inner * size, line, w);
            for (std::size_t lane = 0; lane < w; lane++) tiles[lane * padded + r] = line[lane];
        }
        for (std::size_t lane = 0; lane < w; lane++)
            for (std::size_t r = n; r < padded; r++) tiles[lane * padded + r] = rest;
    }
    void turned(const R &row, std::size_t o, std::size_t c, std::size_t w) {
        T *const first_z = z, *const first_g = g;
        turn(call.x, z, o, c, w, -T(__builtin_inff()));
        if (call.grad) turn(call.grad, g, o, c, w, 0);
        for (std::size_t lane = 0; lane < w; lane++) {
            z = first_z + lane * padded, g = first_g + lane * padded;
            tile(row, o, c + lane, 1, true);
        }
        z = first_z, g = first_g;
        if (!call.out) return;
        char *p = static_cast<char *>(call.out) + (o * n * call.inner + c) * size;
        T line[BLOCK];
        for (std::size_t r = 0; r < n; r++) {
            for (std::size_t lane = 0; lane < w; lane++) line[lane] = z[lane * padded + r];
            narrow_any(call.kind, line, p + r * call.inner * size, w);
        }
    }

    void band(std::size_t b) {
        void *const block = allocate();
        if (!block) {
            __atomic_store_n(call.failed, 1, __ATOMIC_RELAXED);
            return;
        }
        dbias = call.dbias ? call.dbias + b * call.bias_size : nullptr;
        const std::size_t bands = call.job.bands;
        const R row = prototype();
        if constexpr (layout == PAIR) {
            const std::size_t tiles = (call.outer + 1) / 2;
            if (bare()) {
                R pair = row;
                for (std::size_t t = tiles * b / bands; t < tiles * (b + 1) / bands; t++) {
                    const std::size_t at = 2 * t * n;
                    pair.xs = static_cast<const T *>(call.x) + at, pair.ys = static_cast<T *>(call.out) + at;
                    if (call.grad) pair.gs = static_cast<const T *>(call.grad) + at;
                    pair.memo = direction == programs::VALUE ? pair.ys : z;
                    if (2 * t + 1 == call.outer) pair.second = pair.memo_second = 0;  // the last row, twice
                    programs::run<program, direction>(pair);
                }
                std::free(block);
                return;
            }
            for (std::size_t t = tiles * b / bands; t < tiles * (b + 1) / bands; t++) tile(row, 2 * t, 0, std::min<std::size_t>(2, call.outer - 2 * t));
        } else if constexpr (along) {
            const std::size_t block = call.inner == 1 ? 1 : BLOCK, across = (call.inner + block - 1) / block, tiles = call.outer * across;
            for (std::size_t t = tiles * b / bands; t < tiles * (b + 1) / bands; t++) {
                if (call.inner == 1) tile(row, t, 0, 1);
                else turned(row, t / across, t % across * block, std::min(block, call.inner - t % across * block));
            }
        } else if (gathered) {
            const std::size_t tiles = (call.outer + width - 1) / width;
            for (std::size_t t = tiles * b / bands; t < tiles * (b + 1) / bands; t++) tile(row, t * width, 0, call.outer - t * width < width ? call.outer - t * width : width);
        } else {
            const std::size_t across = (call.inner + width - 1) / width, tiles = call.outer * across;
            for (std::size_t t = tiles * b / bands; t < tiles * (b + 1) / bands; t++) {
                const std::size_t c = t % across * width;
                tile(row, t / across, c, call.inner - c < width ? call.inner - c : width);
            }
        }
        std::free(block);
    }
};

// ---------------------------------------------------------------- a band of any call

constexpr std::size_t PAIRED = 96;  // rows of up to so many elements go in pairs

template <class F, int program, int direction> static void rows_band(const fastact_rows &call, std::size_t band) {
    constexpr bool side_by_side = program == programs::SOFTMAX || program == programs::LOG_SOFTMAX || program == programs::CROSS_ENTROPY;
    const bool gathered = call.inner == 1 && call.n <= call.gather;
    if constexpr (side_by_side)
        if (call.inner > 1 || gathered) return Tiles<F, LANES, program, direction>(call, gathered).band(band);
#if FASTACT_VECTOR_BYTES
    if constexpr (side_by_side && program != programs::CROSS_ENTROPY && !is_float64<F>)
        if (call.inner == 1 && call.n <= PAIRED && Tiles<F, PAIR, program, direction>::is_plain(call)) return Tiles<F, PAIR, program, direction>(call, false).band(band);
#endif
    Tiles<F, ALONG, program, direction>(call, false).band(band);
}
// Float64 has one vector in flight: half the code for little time.
template <int program, int direction> static void rows_typed(const fastact_rows &call, std::size_t band) {
    if constexpr (program == programs::ENTMAX) rows_band<VecD, program, direction>(call, band);
    else if (call.wide || call.kind == FLOAT64) rows_band<VecD, program, direction>(call, band);
    else rows_band<PackF, program, direction>(call, band);
}
template <int program> static void rows_directed(const fastact_rows &call, std::size_t band) {
    if (program >= programs::CROSS_ENTROPY || call.direction == programs::VALUE) rows_typed<program, programs::VALUE>(call, band);
    else if constexpr (program < programs::CROSS_ENTROPY) {
        if (call.direction == programs::BACKWARD) rows_typed<program, programs::BACKWARD>(call, band);
        else if constexpr (program != programs::HARDMAX) rows_typed<program, programs::BACKWARD_FROM_OUTPUT>(call, band);
    }
}
static void rows(const fastact_job *job, std::size_t band) {
    const fastact_rows &call = *reinterpret_cast<const fastact_rows *>(job);
    switch (call.program) {
    case programs::SOFTMAX: return rows_directed<programs::SOFTMAX>(call, band);
    case programs::LOG_SOFTMAX: return rows_directed<programs::LOG_SOFTMAX>(call, band);
    case programs::HARDMAX: return rows_directed<programs::HARDMAX>(call, band);
    case programs::SPARSEMAX: return rows_directed<programs::SPARSEMAX>(call, band);
    case programs::ENTMAX15: return rows_directed<programs::ENTMAX15>(call, band);
    case programs::ENTMAX: return rows_directed<programs::ENTMAX>(call, band);
    case programs::CROSS_ENTROPY: return rows_directed<programs::CROSS_ENTROPY>(call, band);
    default: return rows_directed<programs::MULTI_MARGIN>(call, band);
    }
}
