// Row-wise calls on the CPU: the executor of rows/programs.hpp and what brings tiles to it. Data is [outer][n][inner], a row runs along n.
//
// A tile is one row, packs along it; or, where rows lie side by side in memory (inner > 1) or are short, one row in each lane of a pack, in a
// scratch tile [n][lanes] in the cache, so that no axis is slow. Plain rows in the working type are read and written in place; halves, and
// rows with a scale, a bias, noise or something left out, pass through a scratch row, and memory is passed over once in any case.

// ---------------------------------------------------------------- numbers a row

FASTACT_FUNCTION double exp_of(double x) { return std::exp(x); }
FASTACT_FUNCTION double log_of(double x) { return std::log(x); }
FASTACT_FUNCTION double log1p_of(double x) { return std::log1p(x); }

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
    std::size_t i, left;  // fewer than a pack
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
    FASTACT_FUNCTION VecD joined(const Adder &a) { return a.low + a.high; }
};
#else
template <> struct Adder<VecF> {
    double sum = 0.0;
    FASTACT_FUNCTION void add(Adder &a, VecF v) { a.sum += v; }
    FASTACT_FUNCTION void put(const Adder &a, double *out) { *out = a.sum; }
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
    FASTACT_FUNCTION VecD joined(const Adder &s) { return Adder<H>::joined(s.a) + Adder<H>::joined(s.b); }
};

// The lanes joined in halves: their sum, or the largest. `count` lanes at p, overwritten.
template <int count, class T, class Join> FASTACT_FUNCTION T joined_lanes(T *p, Join join) {
    if constexpr (count == 1) return p[0];
    else {
        for (int i = 0; i < count / 2; i++) p[i] = join(p[i], p[i + count / 2]);
        return joined_lanes<count / 2>(p, join);
    }
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
        double v[Lanes<VecD>::count];
        store(v, Adder<F>::joined(sum));
        return joined_lanes<Lanes<VecD>::count>(v, [](double a, double b) { return a + b; });
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

template <class F_, bool along> struct Row : RowNumbers<std::conditional_t<along, double, LaneValues<Lanes<F_>::count>>> {
    using F = F_;
    using T = Scalar<F>;
    using U = typename RowNumbers<std::conditional_t<along, double, LaneValues<Lanes<F>::count>>>::U;
    static constexpr std::size_t width = Lanes<F>::count;
    std::size_t n;
    const T *xs, *gs, *softs, *weights;
    T *ys, *memo;  // memo is null where nothing need be remembered

    FASTACT_FUNCTION F take(const T *p, Whole at, T) { return ::load<F>(p + at.i); }
    FASTACT_FUNCTION F take(const T *p, Part at, T rest) { return load_some(p + at.i, at.left, Pack<F>::splat(rest)); }
    FASTACT_FUNCTION void give(T *p, Whole at, F v) { store(p + at.i, v); }
    FASTACT_FUNCTION void give(T *p, Part at, F v) { store_some(p + at.i, v, at.left); }
};
