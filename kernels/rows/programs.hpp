// Row programs: what is done with a whole row, written once for packs on the CPU and for threads on CUDA. The scalar terms are lowered
// definitions; the executors (cpu/rows.hpp, cuda/rows.cuh) say how a row is read, reduced and written.
//
// A `Row` offers:
//   F                          what elements are computed in: a pack, or one number
//   U                          a number a row, in float64: a double, or one for each lane where several rows run side by side
//   n                          elements of the row
//   shares                     whether it calls what programs share, or has it inline
//   Fixed                      how what only reads it holds it: by value, so that no store can change it, or by reference
//   at_once                    whether `exponentials` finds the largest and the sum of the terms in one pass, and how: its own `exponentials`
//   x(at) g(at) soft(at)       an element: the input (-inf where left out; in the ..._from_output programs the output), the gradient (0 where
//                              left out), the probability of a class
//   weight(at)                 of a class, if has_weight
//   max(term) sum(term)        of term(at) over the row, as U, max also as what `number` makes a U; max passes over NaN. sum may round to 2^-24 of it on the way, exact_sum may not;
//                              sum2(term) of a term that gives two results
//   each(body)                 body(at) for every element; put(at, value) inside it gives the result
//   remember(at, value)        keeps a value in the place of x(at), which is gone then, and returns it, if it has room (where there is a result like
//                              x there may be); recall(at, term) is that value again, or term() if not; recall_only(at) for what has no term
//   peek(place) poke(place, v) x at one place of the row; writes the result there, after `each`
//   pack(U) number(v)          as F; as U
//   shifted_exp                defs::shifted_exp, or what is as good for how elements are stored
//   sink alpha row_grad label active label_weight   numbers a row; those that are flagged has_...
//   lse dsink dalpha loss      results, numbers a row
// and freely: exp_of log_of log1p_of sqrt_of nearest_of reciprocal_of log_quotient, functions of U's numbers; FASTACT_ROW_METHOD, FASTACT_INLINE and FASTACT_SHARED, for methods, lambdas and functions that several
// programs share, one copy of each; lanes(f, u...) applies a function of doubles to each lane, any(f, u...) asks whether one says true.
//
// Sums are in float64. In float32 even 16 additions cost 3 ULP: a lane that holds the largest term rounds all the small ones away (tried).

namespace programs {

// ---------------------------------------------------------------- the sum of exponentials

// Terms are exp(x - largest) times a constant of the row, and so is their total, the sink included.
//
// In float32 x - largest has a rounding error that exp turns into 70 ULP. Where the largest is not beyond 2^16 nothing is subtracted: exp(x)
// is (1 + p) 2^k, and K = round(largest / log(2)) is taken from k. Otherwise, and in float64, the error of the difference is carried along.
template <class Row> struct Exponentials {
    using F = typename Row::F;
    using U = typename Row::U;
    static constexpr double LOG2E = 1.4426950408889634, DOWN = 12583103.0, REACH = 65536.0;
    U largest, own, k, total, log_total;  // own: the term of the largest; k: what terms are shifted down by
    F m, lowest, shift;
    bool shifted;

    template <class Largest> FASTACT_ROW_METHOD Exponentials(const Row &row, const Largest &l) : largest(row.number(l)), own(largest), k(largest), m(row.pack(l)) {
        lowest = shift = m;
        shifted = !is_float64<F> && !any([](auto l) { return !(l >= decltype(l)(-REACH) && l <= decltype(l)(REACH)); }, l);
        if (shifted) {
            const auto down = lanes([](auto l) { return nearest_of(l * decltype(l)(LOG2E)); }, l);
            k = row.number(down);
            shift = row.pack(lanes([](auto k) { return decltype(k)(DOWN) - k; }, down));
            lowest = row.pack(lanes([](auto l) { return l - decltype(l)(110.0); }, l));
            own = row.unpacked(quick(m));
        } else own = lanes([](auto l) { return l - l == 0 ? decltype(l)(1.0) : l - l; }, largest);
    }
    FASTACT_ROW_METHOD F quick(F x) const { return Row::shifted_exp(x, lowest, shift); }
    FASTACT_ROW_METHOD F careful(F x) const { return defs::softmax_term(x, m); }
    FASTACT_ROW_METHOD F term(F x) const { return shifted ? quick(x) : careful(x); }
    FASTACT_ROW_METHOD U term_of(const U &x) const {
        return lanes([](auto x, auto l, auto e) { return x == l ? e : exp_of(x - l) * e; }, x, largest, own);
    }
};

template <class Row> FASTACT_FUNCTION auto largest_of(Row &row) {
    auto m = row.max([&](auto at) FASTACT_INLINE { return row.x(at); });
    if (row.has_sink) m = lanes([](auto a, auto b) { return b > a ? b : a; }, m, row.sink);
    return m;
}

// The terms, remembered if so asked and the row has room for them, and their sum; exactly added where only its logarithm is wanted.
template <bool remember, class Row, class Largest> FASTACT_FUNCTION Exponentials<Row> exponentials_here(const Row &given, const Largest &largest) {
    const typename Row::Fixed row = given;
    Exponentials<Row> s(row, largest);
    const auto sum = [&](auto term) FASTACT_INLINE {
        if constexpr (remember) return row.sum([&](auto at) FASTACT_INLINE { return row.remember(at, term(row.x(at))); });
        else return row.exact_sum([&](auto at) FASTACT_INLINE { return term(row.x(at)); });
    };
    if constexpr (is_float64<typename Row::F>) s.total = sum([&](auto x) FASTACT_INLINE { return s.careful(x); });
    else if (s.shifted) s.total = sum([&](auto x) FASTACT_INLINE { return s.quick(x); });
    else s.total = sum([&](auto x) FASTACT_INLINE { return s.careful(x); });
    if (row.has_sink) s.total = s.total + s.term_of(row.sink);
    return s;
}
template <bool remember, class Row> FASTACT_SHARED Exponentials<Row> exponentials_shared(const Row &row, const typename Row::U &largest) {
    return exponentials_here<remember>(row, largest);
}
template <bool remember, class Row, class Largest> FASTACT_FUNCTION Exponentials<Row> exponentials(const Row &row, const Largest &largest) {
    if constexpr (Row::shares) return exponentials_shared<remember>(row, largest);
    else return exponentials_here<remember>(row, largest);
}
// That of infinite logits: lse is infinite too, but NaN if anything is. What is to be added to lse, found before x is overwritten.
template <class Row> FASTACT_SHARED typename Row::U nan_among_infinite(const Row &row, const typename Row::U &largest) {
    using F = typename Row::F;
    if (!any([](auto m) { return m - m != 0; }, largest)) return largest;
    return row.sum([&](auto at) FASTACT_INLINE {
        const F x = row.x(at);
        return select(x == x, lit<F>(0.0), x);
    });
}
template <class Row> FASTACT_FUNCTION void mend_infinite(Row &row, const typename Row::U &largest, const typename Row::U &nan) {
    row.lse = lanes([](auto m, auto l, auto n) { return m - m != 0 ? m + n : l; }, largest, row.lse, nan);
}
// The same with the largest found first; `nan` is as above, where lse is wanted.
template <bool remember, class Row> FASTACT_FUNCTION Exponentials<Row> exponentials_of(Row &row, typename Row::U &nan) {
    if constexpr (Row::at_once) return row.template exponentials<remember, Exponentials<Row>>(nan);
    else {
        const auto largest = largest_of(row);
        nan = row.number(largest);
        if (row.wants_lse) nan = nan_among_infinite(row, nan);
        return exponentials<remember>(row, largest);
    }
}
// A term anew, or as remembered.
template <class Row, class At> FASTACT_FUNCTION auto recalled(const Row &row, const Exponentials<Row> &s, At at) {
    return row.recall(at, [&]() FASTACT_INLINE { return s.term(row.x(at)); });
}

// log(sum(exp(x - largest))) and lse. One dominant element leaves to the others a sum that may be far below its own last bit: then that is
// summed alone.
template <bool remembered, class Row> FASTACT_SHARED void take_logarithm(Row &row, Exponentials<Row> &s) {
    using F = typename Row::F;
    s.log_total = lanes([](auto t, auto e) { return log_quotient<F>(t, e); }, s.total, s.own);
    const auto close = [](auto l) { return l < decltype(l)(is_float64<F> || remembered ? 0.5 : sizeof l == 4 ? 0x1p-5 : 0x1p-20); };
    if (any(close, s.log_total)) {
        const F zero = lit<F>(0.0), own = s.term(s.m);
        auto rest = row.sum([&](auto at) {
            F e;
            if constexpr (remembered) e = recalled(row, s, at);
            else e = s.term(row.x(at));
            return select(e == own, zero, e);
        });
        if (row.has_sink) rest = rest + lanes([](auto sink, auto m, auto e) { return sink == m ? decltype(e)(0.0) : e; }, row.sink, s.largest, s.term_of(row.sink));
        s.log_total = lanes([&](auto r, auto e, auto l) { return close(l) ? log1p_of(r / e) : l; }, rest, s.own, s.log_total);
    }
    row.lse = s.largest + s.log_total;
}

// ---------------------------------------------------------------- softmax

// The last step: in float64 a quotient, which saves a rounding; in float32 a product with the reciprocal, which saves time.
template <class F> FASTACT_FUNCTION F scaled(F e, F scale) {
    if constexpr (is_float64<F>) return e / scale;
    else return e * scale;
}
template <class Row> FASTACT_FUNCTION auto scale_of(const Row &row, const typename Row::U &total) {
    if constexpr (is_float64<typename Row::F>) return row.pack(total);
    else return row.pack(lanes([](auto t) { return reciprocal_of(t); }, total));
}
// The sink's share of the sum.
template <class Row> FASTACT_FUNCTION auto sink_share(const Row &row, const Exponentials<Row> &s) {
    return lanes([](auto e, auto t) { return e / t; }, s.term_of(row.sink), s.total);
}

template <class Row> FASTACT_SHARED void one_hot(Row &row) {
    using F = typename Row::F;
    const F m = row.pack(row.max([&](auto at) FASTACT_INLINE { return row.x(at); })), zero = lit<F>(0.0);
    const auto place = row.first([&](auto at) FASTACT_INLINE { return row.x(at) == m; });
    const auto nan = row.sum([&](auto at) FASTACT_INLINE {
        const F x = row.x(at);
        return select(x == x, zero, x);
    });
    const F rest = row.pack(nan);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, rest); });
    row.poke(place, nan + 1.0);
}

template <class Row> FASTACT_FUNCTION void softmax(Row &row) {
    if (row.hard) return one_hot(row);
    typename Row::U nan;
    auto s = exponentials_of<true>(row, nan);
    const auto e = [&](auto at) FASTACT_INLINE { return recalled(row, s, at); };
    if (row.wants_lse) {
        take_logarithm<true>(row, s);
        mend_infinite(row, s.largest, nan);
        if (!row.wants_result) return;
    }
    const auto scale = scale_of(row, s.total);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, scaled(e(at), scale)); });
}

template <class Row> FASTACT_FUNCTION void softmax_backward(Row &row) {
    typename Row::U nan;
    const auto s = exponentials_of<true>(row, nan);
    const auto scale = scale_of(row, s.total);
    const auto y = [&](auto at) FASTACT_INLINE { return scaled(recalled(row, s, at), scale); };
    auto dot = -row.row_grad;
    if (row.has_grad) dot = dot + row.sum([&](auto at) FASTACT_INLINE { return row.g(at) * y(at); });
    const auto d = row.pack(dot);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, y(at) * (row.g(at) - d)); });
    if (row.has_sink) row.dsink = -dot * sink_share(row, s);
}

template <class Row> FASTACT_FUNCTION void softmax_backward_from_output(Row &row) {
    const auto dot = row.pack(row.sum([&](auto at) FASTACT_INLINE { return row.g(at) * row.x(at); }));
    row.each([&](auto at) FASTACT_INLINE { row.put(at, row.x(at) * (row.g(at) - dot)); });
}

// ---------------------------------------------------------------- log_softmax

template <class Row> FASTACT_FUNCTION void log_softmax(Row &row) {
    using F = typename Row::F;
    typename Row::U nan;
    auto s = exponentials_of<false>(row, nan);
    take_logarithm<false>(row, s);
    if (row.wants_lse) mend_infinite(row, s.largest, nan);
    // x - lse with lse in two parts: the first difference is exact where it is small.
    const F high = row.pack(s.largest + s.log_total), low = row.pack((s.largest - row.unpacked(high)) + s.log_total);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, (row.x(at) - high) - low); });
}

template <class Row> FASTACT_FUNCTION void log_softmax_backward(Row &row) {
    typename Row::U nan;
    const auto s = exponentials_of<true>(row, nan);
    const auto scale = scale_of(row, s.total);
    const auto sum = row.sum([&](auto at) FASTACT_INLINE { return row.g(at); }) - row.row_grad;
    const auto d = row.pack(sum);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, row.g(at) - scaled(recalled(row, s, at), scale) * d); });
    if (row.has_sink) row.dsink = -sum * sink_share(row, s);
}

template <class Row> FASTACT_FUNCTION void log_softmax_backward_from_output(Row &row) {
    const auto sum = row.pack(row.sum([&](auto at) FASTACT_INLINE { return row.g(at); }));
    row.each([&](auto at) FASTACT_INLINE { row.put(at, row.g(at) - defs::exp(row.x(at)) * sum); });
}

// ---------------------------------------------------------------- hardmax

// The first of the largest; a row with NaN is NaN.
template <class Row> FASTACT_FUNCTION void hardmax(Row &row) {
    one_hot(row);
}
template <class Row> FASTACT_FUNCTION void hardmax_backward(Row &row) {
    row.each([&](auto at) FASTACT_INLINE { row.put(at, lit<typename Row::F>(0.0)); });
}

// ---------------------------------------------------------------- sparsemax and entmax

// The threshold tau in [-1, 0] of x - largest, by Newton's method from the left: the sum is convex in tau, so that it never
// overshoots, and stops where tau no longer grows. NaN anywhere makes it NaN.
template <class Row, class Step> FASTACT_FUNCTION typename Row::U threshold(Row &row, Step step) {
    auto tau = lanes([](double) { return -1.0; }, row.alpha);
    for (int i = 0; i < 200; i++) {
        const auto next = step(tau);
        const bool grows = any([](double a, double b) { return b > a; }, tau, next);
        tau = lanes([](double a, double b) { return a > b ? a : b; }, tau, next);
        if (!grows) break;
    }
    return tau;
}

template <class Row> FASTACT_SHARED typename Row::U sparsemax_threshold(Row &row, typename Row::F m) {
    using F = typename Row::F;
    return threshold(row, [&](const auto &tau) FASTACT_INLINE {
        const F t = row.pack(tau), zero = lit<F>(0.0), one = lit<F>(1.0);
        const auto found = row.sum2([&](auto at) FASTACT_INLINE {
            const F z = row.x(at) - m;
            return Results<F, 2>{select(z <= t, zero, z), select(z <= t, zero, one)};
        });
        return lanes([](double s, double c) { return (s - 1.0) / c; }, found.a, found.b);
    });
}
template <class Row> FASTACT_FUNCTION void sparsemax(Row &row) {
    using F = typename Row::F;
    const F m = row.pack(row.max([&](auto at) FASTACT_INLINE { return row.x(at); })), zero = lit<F>(0.0);
    const auto tau = sparsemax_threshold(row, m);
    const F high = row.pack(tau), low = row.pack(tau - row.unpacked(high));
    row.each([&](auto at) FASTACT_INLINE { row.put(at, pymax((row.x(at) - m - high) - low, zero)); });
}
// dx = g - mean of g over the support, there
template <class Row, class Value> FASTACT_FUNCTION void sparsemax_gradient(Row &row, Value y) {
    using F = typename Row::F;
    const F zero = lit<F>(0.0), one = lit<F>(1.0);
    const auto found = row.sum2([&](auto at) FASTACT_INLINE {
        const F v = y(at);
        return Results<F, 2>{select(v <= zero, zero, row.g(at)), select(v <= zero, zero, one)};
    });
    const F mean = row.pack(lanes([](double s, double c) { return s / c; }, found.a, found.b));
    row.each([&](auto at) FASTACT_INLINE {
        const F v = y(at);
        row.put(at, select(v <= zero, zero, select(v == v, row.g(at) - mean, v)));
    });
}
template <class Row> FASTACT_FUNCTION void sparsemax_backward(Row &row) {
    using F = typename Row::F;
    const F m = row.pack(row.max([&](auto at) FASTACT_INLINE { return row.x(at); }));
    const auto tau = sparsemax_threshold(row, m);
    const F high = row.pack(tau), low = row.pack(tau - row.unpacked(high));
    sparsemax_gradient(row, [&](auto at) FASTACT_INLINE { return pymax((row.x(at) - m - high) - low, lit<F>(0.0)); });
}
template <class Row> FASTACT_FUNCTION void sparsemax_backward_from_output(Row &row) {
    sparsemax_gradient(row, [&](auto at) FASTACT_INLINE { return row.x(at); });
}

template <class Row> FASTACT_SHARED typename Row::U entmax15_threshold(Row &row, typename Row::F m) {
    using F = typename Row::F;
    const F zero = lit<F>(0.0), half = lit<F>(0.5);
    return threshold(row, [&](const auto &tau) FASTACT_INLINE {
        const F high = row.pack(tau), low = row.pack(tau - row.unpacked(high));
        const auto found = row.sum2([&](auto at) FASTACT_INLINE {
            const F u = pymax(((row.x(at) - m) * half - high) - low, zero);
            return Results<F, 2>{u, u * u};
        });
        // Of the norm of what is positive, which is convex too and nearly straight: two thirds of the steps of their squares' sum.
        return lanes([](auto t, auto one, auto two) { return t + (two - sqrt_of(two)) / one; }, tau, found.a, found.b);
    });
}
// sqrt of the result: (x - largest) / 2 - tau, where positive
template <class Row, class Then> FASTACT_FUNCTION void with_entmax15_root(Row &row, Then then) {
    using F = typename Row::F;
    const F m = row.pack(row.max([&](auto at) FASTACT_INLINE { return row.x(at); })), zero = lit<F>(0.0), half = lit<F>(0.5);
    const auto tau = entmax15_threshold(row, m);
    const F high = row.pack(tau), low = row.pack(tau - row.unpacked(high));
    then([&row, m, zero, half, high, low](auto at) FASTACT_INLINE { return pymax(((row.x(at) - m) * half - high) - low, zero); });
}
template <class Row> FASTACT_FUNCTION void entmax15(Row &row) {
    with_entmax15_root(row, [&](auto root) {
        row.each([&](auto at) FASTACT_INLINE {
            const auto u = root(at);
            row.put(at, u * u);
        });
    });
}
// dx = s * (g - sum(s * g) / sum(s)) with s = y^(2 - alpha), which for alpha = 1.5 is the root
template <class Row, class Slope> FASTACT_FUNCTION auto entmax_gradient(Row &row, Slope s) {
    using F = typename Row::F;
    const auto found = row.sum2([&](auto at) FASTACT_INLINE {
        const F v = s(at);
        return Results<F, 2>{v, select(v == lit<F>(0.0), v, v * row.g(at))};
    });
    const F mean = row.pack(lanes([](double s, double sg) { return sg / s; }, found.a, found.b));
    row.each([&](auto at) FASTACT_INLINE {
        const F v = s(at);
        row.put(at, select(v == lit<F>(0.0), v, v * (row.g(at) - mean)));
    });
    return found.a;
}
template <class Row> FASTACT_FUNCTION void entmax15_backward(Row &row) {
    with_entmax15_root(row, [&](auto root) { entmax_gradient(row, root); });
}
template <class Row> FASTACT_FUNCTION void entmax15_backward_from_output(Row &row) {
    entmax_gradient(row, [&](auto at) FASTACT_INLINE { return fsqrt(row.x(at)); });
}

// How far a sum of powers 1 / a is from one, for Newton's method: of s^a, which is convex in the threshold as s is, but nearly straight. For
// a = 0 that takes one step. Never too far: where it would cancel, the first terms of its series, which alternate, or s itself.
FASTACT_FUNCTION double entmax_distance(double s, double a) {
    if (s < 1.25) return s - 1.0;
    const double l = log_of(s);
    return a < 1e-4 ? s * l * (1.0 - 0.5 * a * l) : (s - exp_of((1.0 - a) * l)) / a;
}

// General alpha, always in float64: y = (1 + a (d - t))^(1 / a) with a = alpha - 1, d = x - largest and the threshold t in [0, log n], which
// for a = 0 is softmax, without a case of its own. For alpha <= 2 Newton's method as above; beyond, the sum is not convex: bisection.
template <class Row> FASTACT_FUNCTION typename Row::U entmax_threshold(Row &row, typename Row::F m, const typename Row::U &a) {
    using F = typename Row::F;
    using U = typename Row::U;
    const F power = row.pack(a);
    const double n = static_cast<double>(row.n);
    U low = lanes([](double) { return 0.0; }, a), t = low;
    U high = lanes([n](double a) { return a == 0.0 ? log_of(n) : (1.0 - exp_of(-a * log_of(n))) / a; }, a);
    for (int i = 0; i < 200; i++) {
        const F at_t = row.pack(t);
        const auto found = row.sum2([&](auto at) FASTACT_INLINE {  // y, and its slope in t
            const F d = row.x(at) - m, y = defs::entmax_term(d, at_t, power);
            return Results<F, 2>{y, select(y == lit<F>(0.0), y, y / (lit<F>(1.0) + power * (d - at_t)))};
        });
        const U next = lanes(
            [i](double a, double t, double s, double slope, double low, double high) {
                if (s != s) return s;
                if (a <= 1.0) return t + entmax_distance(s, a) / slope;
                return i < 64 ? 0.5 * ((s >= 1.0 && i > 0 ? t : low) + (s >= 1.0 || i == 0 ? high : t)) : t;
            },
            a, t, found.a, found.b, low, high);
        low = lanes([](double low, double t, double s) { return s >= 1.0 && t > low ? t : low; }, low, t, found.a);
        high = lanes([](double high, double t, double s) { return s < 1.0 && t < high ? t : high; }, high, t, found.a);
        const bool moves = any([](double a, double t, double next) { return a <= 1.0 ? next > t : next != t; }, a, t, next);
        t = lanes([](double a, double t, double next) { return a <= 1.0 && t > next ? t : next; }, a, t, next);
        if (!moves) break;
    }
    return t;
}
// Remembers y, which sums to one.
template <class Row> FASTACT_SHARED void remember_entmax(Row &row) {
    using F = typename Row::F;
    const auto a = row.alpha - 1.0;
    const F m = row.pack(row.max([&](auto at) FASTACT_INLINE { return row.x(at); }));
    const F t = row.pack(entmax_threshold(row, m, a)), power = row.pack(a);
    const F total = row.pack(row.sum([&](auto at) FASTACT_INLINE { return row.remember(at, defs::entmax_term(row.x(at) - m, t, power)); }));
    row.each([&](auto at) FASTACT_INLINE {
        row.remember(at, row.recall(at, [&]() FASTACT_INLINE { return defs::entmax_term(row.x(at) - m, t, power); }) / total);
    });
}
template <class Row> FASTACT_FUNCTION void entmax(Row &row) {
    remember_entmax(row);
    row.each([&](auto at) FASTACT_INLINE { row.put(at, row.recall_only(at)); });
}
// With g = y^(2 - alpha) and q = g / sum(g), d alpha is sum(grad (h - q sum(h))); h in `entmax_slopes`.
template <class Row, class Value> FASTACT_FUNCTION void entmax_gradients(Row &row, Value y) {
    using F = typename Row::F;
    const F power = row.pack(row.alpha - 1.0);
    const auto slope = [&](auto at) FASTACT_INLINE { return defs::entmax_slopes(y(at), power).a; };
    if (row.wants_dalpha) {
        const auto sums = row.sum2([&](auto at) FASTACT_INLINE { return defs::entmax_slopes(y(at), power); });
        const auto products = row.sum2([&](auto at) FASTACT_INLINE {
            const auto s = defs::entmax_slopes(y(at), power);
            const F v = y(at), g = select(v == lit<F>(0.0), v, row.g(at));
            return Results<F, 2>{s.a * g, s.b * g};
        });
        row.dalpha = lanes([](double g, double h, double gg, double gh) { return gh - gg / g * h; }, sums.a, sums.b, products.a, products.b);
    }
    entmax_gradient(row, slope);
}
template <class Row> FASTACT_FUNCTION void entmax_backward(Row &row) {
    remember_entmax(row);
    entmax_gradients(row, [&](auto at) FASTACT_INLINE { return row.recall_only(at); });
}
template <class Row> FASTACT_FUNCTION void entmax_backward_from_output(Row &row) {
    entmax_gradients(row, [&](auto at) FASTACT_INLINE { return row.x(at); });
}

// ---------------------------------------------------------------- losses

// Whether rows are ignored: all (they are done then) or some, whose elements become 0 whatever they hold.
template <class Row> FASTACT_FUNCTION bool all_ignored(Row &row) {
    if (any([](double on) { return on != 0.0; }, row.active)) return false;
    row.loss = lanes([](double) { return 0.0; }, row.active);
    if (row.wants_result) row.each([&](auto at) FASTACT_INLINE { row.put(at, lit<typename Row::F>(0.0)); });
    return true;
}
template <class F> FASTACT_FUNCTION F unless_ignored(bool some, F active, F v) { return some ? select(active == lit<F>(0.0), lit<F>(0.0), v) : v; }

// a (lse - x[label]) + b sum_j w_j (lse - x_j) + z lse^2 with a = (1 - smoothing) w[label], b = smoothing / n; with soft labels, weights t_j w_j
// in the place of both. The gradient is p_j (a + b sum w + 2 z lse) less the weights.
template <class Row> FASTACT_FUNCTION void cross_entropy(Row &row) {
    using F = typename Row::F;
    if (all_ignored(row)) return;
    const bool smooth = row.smoothing > 0.0, some = any([](double on) { return on == 0.0; }, row.active);
    const double b = row.smoothing / static_cast<double>(row.n), kept = 1.0 - row.smoothing;
    const bool weighted = smooth || row.has_soft;
    typename Row::U largest = row.active, nan = row.active;  // nothing yet
    if (weighted || !Row::at_once) largest = row.number(largest_of(row));
    const F m = row.pack(largest), zero = lit<F>(0.0);
    const auto target = [&](auto at) FASTACT_INLINE {  // the weight of a class, but for the label's own
        F t = lit<F>(b);
        if (row.has_soft) t = row.soft(at) * lit<F>(kept) + t;
        return row.has_weight ? t * row.weight(at) : t;
    };
    auto a = row.has_soft ? lanes([](double) { return 0.0; }, row.active) : lanes([&](double w, double on) { return on * kept * w; }, row.label_weight, row.active);
    auto weights = lanes([](double) { return 0.0; }, a), products = weights;
    if (weighted) {
        const auto found = row.sum2([&](auto at) FASTACT_INLINE {
            const F t = target(at);
            return Results<F, 2>{t, select(t == zero, zero, t * (row.x(at) - m))};
        });
        weights = found.a * row.active, products = found.b * row.active;
    }
    const auto labelled = row.has_soft ? largest : row.peek(row.label);
    const bool full = row.wants_result;
    auto s = [&]() FASTACT_INLINE {
        if constexpr (Row::at_once)
            if (!weighted) return exponentials_of<true>(row, nan);
        return exponentials<true>(row, largest);
    }();
    const auto e = [&](auto at) FASTACT_INLINE { return recalled(row, s, at); };
    take_logarithm<true>(row, s);
    const double z = row.z_loss;
    row.loss = lanes(
        [&](double on, double a, double w, double p, double m, double l, double x, double lse) {
            return on == 0.0 ? 0.0 : (a == 0.0 ? 0.0 : a * ((m - x) + l)) + (w * l - p) + (z == 0.0 ? 0.0 : z * lse * lse);
        },
        row.active, a, weights, products, s.largest, s.log_total, labelled, row.lse);
    if (!full) return;
    // What multiplies a probability; the label's own element once more, from what the others leave of 1.
    const auto scale = lanes([&](double on, double g) { return on == 0.0 ? 0.0 : g * row.row_scale; }, row.active, row.row_grad);
    const auto factor = lanes([&](double on, double a, double w, double lse, double s) { return on == 0.0 ? 0.0 : s * (a + w + 2.0 * z * lse); }, row.active, a, weights, row.lse, scale);
    const F q = row.pack(lanes([](double f, double t) { return f == 0.0 ? 0.0 : f / t; }, factor, s.total));
    const F off = row.pack(scale), active = row.pack(row.active);
    const auto labels_e = row.unpacked(s.term(row.pack(labelled)));
    typename Row::U own_weight = row.label_weight;
    if (weighted) row.each([&](auto at) FASTACT_INLINE { row.put(at, unless_ignored(some, active, e(at) * q - target(at) * off)); });
    else row.each([&](auto at) FASTACT_INLINE { row.put(at, unless_ignored(some, active, e(at) * q)); });
    if (row.has_soft) return;
    row.poke(row.label, lanes(
        [&](double on, double a, double w, double lse, double own, double t, double ey, double s) {
            if (on == 0.0) return 0.0;
            // a (p - 1) = -a (total - e) / total
            return s * (-a * ((t - ey) / t) + (w + 2.0 * z * lse) * (ey / t) - b * own);
        },
        row.active, a, weights, row.lse, own_weight, s.total, labels_e, scale));
}

// w[label] / n * sum over the other classes of max(0, margin + x_j - x[label])^power
template <class Row> FASTACT_FUNCTION void multi_margin(Row &row) {
    using F = typename Row::F;
    const auto own = row.peek(row.label);
    const F x_own = row.pack(own), margin = lit<F>(row.margin), zero = lit<F>(0.0), one = lit<F>(1.0);
    const double alone = row.margin > 0.0 ? row.margin : 0.0;
    const int power = row.power;
    const auto sums = row.sum2([&](auto at) FASTACT_INLINE {  // of the terms, and of their slopes
        const F v = (row.x(at) - x_own) + margin, h = pymax(v, zero);
        return power == 1 ? Results<F, 2>{h, select(v > zero, one, zero)} : Results<F, 2>{h * h, h + h};
    });
    const double n = static_cast<double>(row.n);
    row.loss = lanes([&](double on, double w, double s) { return on == 0.0 ? 0.0 : w * (s - (power == 1 ? alone : alone * alone)) / n; }, row.active, row.label_weight, sums.a);
    if (!row.wants_result) return;
    const auto scale = lanes([&](double on, double w, double g) { return on == 0.0 ? 0.0 : w * g * row.row_scale / n; }, row.active, row.label_weight, row.row_grad);
    const F q = row.pack(scale);
    row.each([&](auto at) FASTACT_INLINE {
        const F v = (row.x(at) - x_own) + margin, h = pymax(v, zero);
        row.put(at, q * (power == 1 ? select(v > zero, one, zero) : h + h));
    });
    row.poke(row.label, lanes(
        [&](double on, double q, double s) {
            const double own_slope = power == 1 ? (alone > 0.0 ? 1.0 : 0.0) : 2.0 * alone;
            return on == 0.0 ? 0.0 : -q * (s - own_slope);
        },
        row.active, scale, sums.b));
}

// ---------------------------------------------------------------- all of them

enum Program { SOFTMAX, LOG_SOFTMAX, HARDMAX, SPARSEMAX, ENTMAX15, ENTMAX, CROSS_ENTROPY, MULTI_MARGIN };
enum Direction { VALUE, BACKWARD, BACKWARD_FROM_OUTPUT };

template <int program, int direction, class Row> FASTACT_FUNCTION void run(Row &row) {
#define FASTACT_PROGRAM(NAME, name)                                                        \
    if constexpr (program == NAME) {                                                       \
        if constexpr (direction == VALUE) name(row);                                       \
        else if constexpr (direction == BACKWARD) name##_backward(row);                    \
        else name##_backward_from_output(row);                                             \
    }
    FASTACT_PROGRAM(SOFTMAX, softmax)
    FASTACT_PROGRAM(LOG_SOFTMAX, log_softmax)
    FASTACT_PROGRAM(SPARSEMAX, sparsemax)
    FASTACT_PROGRAM(ENTMAX15, entmax15)
    FASTACT_PROGRAM(ENTMAX, entmax)
#undef FASTACT_PROGRAM
    if constexpr (program == HARDMAX) {
        if constexpr (direction == VALUE) hardmax(row);
        else hardmax_backward(row);
    }
    if constexpr (program == CROSS_ENTROPY) cross_entropy(row);
    if constexpr (program == MULTI_MARGIN) multi_margin(row);
}

}  // namespace programs
