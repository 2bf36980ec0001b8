// Row-wise kernels on [outer][n][inner]: the row runs along n. With inner == 1 packs run along the row; otherwise they run across
// `inner`, one row a lane, in tiles narrow enough for the cache, so that no axis is slow. Data that is not in the working type, or
// is masked, passes through a scratch tile.
//
// Sums are kept in float64, lane by lane, of float64 terms with their rounding errors beside them. In float32 even 16 additions cost 3 ULP: a lane that holds the largest term rounds all
// the small ones away (tried).

constexpr std::size_t TILE = 64;  // columns of a tile

template <class F> FASTACT_FUNCTION F load_part(const Scalar<F> *p, std::size_t left, Scalar<F> rest) {
    if (left >= Lanes<F>::count) return load<F>(p);
    Scalar<F> spare[Lanes<F>::count];
    for (auto &s : spare) s = rest;
    __builtin_memcpy(spare, p, left * sizeof(Scalar<F>));
    return load<F>(spare);
}
template <class F> FASTACT_FUNCTION void store_part(Scalar<F> *p, F v, std::size_t left) {
    if (left >= Lanes<F>::count) return store(p, v);
    Scalar<F> spare[Lanes<F>::count];
    store(spare, v);
    __builtin_memcpy(p, spare, left * sizeof(Scalar<F>));
}
template <class F> struct Sum {
    double lane[Lanes<F>::count] = {}, low[Lanes<F>::count] = {};
    FASTACT_FUNCTION void add(double *sums, double *lows, F v) {
        Scalar<F> spare[Lanes<F>::count];
        store(spare, v);
        for (int i = 0; i < Lanes<F>::count; i++) {
            const double before = sums[i], after = before + spare[i];
            if constexpr (is_float64<F>) {
                const double added = after - before;
                lows[i] += (before - (after - added)) + (spare[i] - added);
            }
            sums[i] = after;
        }
    }
};

// sum over a row of what `term(i, left)` gives, pack by pack
template <class F, class Term> FASTACT_FUNCTION double sum_row(std::size_t n, Term term) {
    Sum<F> sum;
    for (std::size_t i = 0; i < n; i += Lanes<F>::count) Sum<F>::add(sum.lane, sum.low, term(i, n - i));
    double total = 0.0, low = 0.0;
    for (int i = 0; i < Lanes<F>::count; i++) {
        const double before = total;
        total += sum.lane[i];
        const double added = total - before;
        low += ((before - (total - added)) + (sum.lane[i] - added)) + sum.low[i];
    }
    return low == low ? total + low : total;  // NaN where the sum is infinite
}

// The last step: in float64 a quotient, which saves a rounding; in float32 a product with the reciprocal, which saves time.
template <class F> FASTACT_FUNCTION F scaled(F e, F scale) {
    if constexpr (is_float64<F>) return e / scale;
    else return e * scale;
}

template <class F> static void softmax_row(const Scalar<F> *x, Scalar<F> *y, std::size_t n) {
    constexpr std::size_t width = Lanes<F>::count;
    const Scalar<F> lowest = -__builtin_inff();
    F m = lit<F>(lowest);
    for (std::size_t i = 0; i < n; i += width) m = pymax(m, load_part<F>(x + i, n - i, lowest));
    Scalar<F> spare[width], largest = lowest;
    store(spare, m);
    for (auto s : spare) largest = s > largest ? s : largest;
    m = Pack<F>::splat(largest);
    const double sum = sum_row<F>(n, [&](std::size_t i, std::size_t left) {
        const F e = defs::softmax_term(load_part<F>(x + i, left, lowest), m);
        store_part(y + i, e, left);
        return left >= width ? e : load_part<F>(y + i, left, 0);
    });
    const F scale = Pack<F>::splat(static_cast<Scalar<F>>(is_float64<F> ? sum : 1.0 / sum));
    for (std::size_t i = 0; i < n; i += width) store_part(y + i, scaled(load_part<F>(y + i, n - i, 0), scale), n - i);
}

// dx = y * (g - sum(g * y)); dx may be g or y
template <class F> static void softmax_gradient_row(const Scalar<F> *g, const Scalar<F> *y, Scalar<F> *dx, std::size_t n) {
    constexpr std::size_t width = Lanes<F>::count;
    const double dot = sum_row<F>(n, [&](std::size_t i, std::size_t left) { return load_part<F>(g + i, left, 0) * load_part<F>(y + i, left, 0); });
    const F d = Pack<F>::splat(static_cast<Scalar<F>>(dot));
    for (std::size_t i = 0; i < n; i += width)
        store_part(dx + i, load_part<F>(y + i, n - i, 0) * (load_part<F>(g + i, n - i, 0) - d), n - i);
}

// Columns: `w` rows side by side, element r of column c at [r * stride + c].
template <class F, class Term> FASTACT_FUNCTION void sum_columns(std::size_t n, std::size_t w, double *sum, Term term) {
    double low[TILE] = {};
    for (std::size_t c = 0; c < TILE; c++) sum[c] = 0.0;
    for (std::size_t r = 0; r < n; r++)
        for (std::size_t c = 0; c < w; c += Lanes<F>::count) Sum<F>::add(sum + c, low + c, term(r, c, w - c));
    for (std::size_t c = 0; c < w; c++) sum[c] += low[c] == low[c] ? low[c] : 0.0;
}

template <class F> static void softmax_columns(const Scalar<F> *x, std::size_t xs, Scalar<F> *y, std::size_t ys, std::size_t n, std::size_t w) {
    constexpr std::size_t width = Lanes<F>::count;
    const Scalar<F> lowest = -__builtin_inff();
    Scalar<F> m[TILE], scale[TILE];
    double sum[TILE];
    for (auto &s : m) s = lowest;
    for (std::size_t r = 0; r < n; r++)
        for (std::size_t c = 0; c < w; c += width) store(m + c, pymax(load<F>(m + c), load_part<F>(x + r * xs + c, w - c, lowest)));
    sum_columns<F>(n, w, sum, [&](std::size_t r, std::size_t c, std::size_t left) {
        const F e = defs::softmax_term(load_part<F>(x + r * xs + c, left, lowest), load<F>(m + c));
        store_part(y + r * ys + c, e, left);
        return e;
    });
    for (std::size_t c = 0; c < TILE; c++) scale[c] = static_cast<Scalar<F>>(is_float64<F> ? sum[c] : 1.0 / sum[c]);
    for (std::size_t r = 0; r < n; r++)
        for (std::size_t c = 0; c < w; c += width) store_part(y + r * ys + c, scaled(load_part<F>(y + r * ys + c, w - c, 0), load<F>(scale + c)), w - c);
}

template <class F>
static void softmax_gradient_columns(const Scalar<F> *g, std::size_t gs, const Scalar<F> *y, std::size_t ys, Scalar<F> *dx, std::size_t ds, std::size_t n, std::size_t w) {
    constexpr std::size_t width = Lanes<F>::count;
    double sum[TILE];
    Scalar<F> dot[TILE];
    sum_columns<F>(n, w, sum, [&](std::size_t r, std::size_t c, std::size_t left) { return load_part<F>(g + r * gs + c, left, 0) * load_part<F>(y + r * ys + c, left, 0); });
    for (std::size_t c = 0; c < TILE; c++) dot[c] = static_cast<Scalar<F>>(sum[c]);
    for (std::size_t r = 0; r < n; r++)
        for (std::size_t c = 0; c < w; c += width)
            store_part(dx + r * ds + c, load_part<F>(y + r * ys + c, w - c, 0) * (load_part<F>(g + r * gs + c, w - c, 0) - load<F>(dot + c)), w - c);
}

// ---------------------------------------------------------------- drivers

enum Direction { VALUE, BACKWARD, BACKWARD_FROM_OUTPUT };

// Tile by tile. In the value x is the input; in the gradients x is the input or the output, and g the gradient. Returns 0, or 1
// if there is no memory for the scratch tiles.
template <class F, Direction direction>
static int softmax_tiles(int kind, const void *x, const void *g, const unsigned char *where, int masked_nan, void *out, std::size_t outer, std::size_t n, std::size_t inner) {
    using T = Scalar<F>;
    const int own_kind = sizeof(T) == 8 ? FLOAT64 : FLOAT32;
    const bool scratch = kind != own_kind || where;
    const std::size_t width = inner < TILE ? inner : TILE, size = kind_size[kind];
    T *tiles = nullptr;
    if (scratch || direction == BACKWARD) {
        tiles = static_cast<T *>(std::malloc((direction == VALUE ? 1 : 2) * n * width * sizeof(T) + 64));
        if (!tiles) return 1;
    }
    for (std::size_t o = 0; o < outer; o++) {
        for (std::size_t c = 0; c < inner; c += width) {
            const std::size_t w = inner - c < width ? inner - c : width, base = o * n * inner + c;
            const auto at = [&](const void *p, std::size_t r) { return static_cast<const char *>(p) + (base + r * inner) * size; };
            const unsigned char *mask = where ? where + base : nullptr;
            const T *a = reinterpret_cast<const T *>(at(x, 0)), *b = g ? reinterpret_cast<const T *>(at(g, 0)) : nullptr;
            T *y = static_cast<T *>(static_cast<void *>(static_cast<char *>(out) + base * size));
            std::size_t as = inner, bs = inner, ys = inner;
            if (scratch) {
                T *const ta = tiles, *const tb = tiles + n * width;
                if (inner == 1) {
                    widen_any(kind, at(x, 0), ta, n);
                    if (g) widen_any(kind, at(g, 0), tb, n);
                } else {
                    for (std::size_t r = 0; r < n; r++) {
                        widen_any(kind, at(x, r), ta + r * w, w);
                        if (g) widen_any(kind, at(g, r), tb + r * w, w);
                    }
                }
                if (mask)
                    for (std::size_t r = 0; r < n; r++)
                        for (std::size_t i = 0; i < w; i++)
                            if (!mask[r * inner + i]) {
                                ta[r * w + i] = direction == BACKWARD_FROM_OUTPUT ? T(0) : -T(__builtin_inff());
                                if (g) tb[r * w + i] = 0;
                            }
                a = ta, b = tb, y = ta;
                as = bs = ys = w;
            }
            if constexpr (direction == VALUE) {
                if (inner == 1) softmax_row<F>(a, y, n);
                else softmax_columns<F>(a, as, y, ys, n, w);
            } else {
                const T *p = a;
                std::size_t ps = as;
                if constexpr (direction == BACKWARD) {  // the output anew
                    T *const tp = scratch ? tiles : tiles + n * width;
                    if (inner == 1) softmax_row<F>(a, tp, n);
                    else softmax_columns<F>(a, as, tp, w, n, w);
                    p = tp, ps = w;
                }
                if (inner == 1) softmax_gradient_row<F>(b, p, y, n);
                else softmax_gradient_columns<F>(b, bs, p, ps, y, ys, n, w);
            }
            if (!scratch) continue;
            if (mask)
                for (std::size_t i = 0; i < w; i++) {
                    bool any = false;
                    for (std::size_t r = 0; r < n; r++) any |= mask[r * inner + i] != 0;
                    const T gone = !any && masked_nan ? T(__builtin_nanf("")) : T(0);
                    for (std::size_t r = 0; r < n; r++)
                        if (!mask[r * inner + i]) y[r * w + i] = gone;
                }
            for (std::size_t r = 0; r < (inner == 1 ? 1 : n); r++)
                narrow_any(kind, y + r * w, static_cast<char *>(out) + (base + r * inner) * size, inner == 1 ? n : w);
        }
    }
    std::free(tiles);
    return 0;
}

template <Direction direction>
static int softmax_any(int kind, int wide, const void *x, const void *g, const unsigned char *where, int masked_nan, void *out, std::size_t outer, std::size_t n, std::size_t inner) {
    return wide ? softmax_tiles<VecD, direction>(kind, x, g, where, masked_nan, out, outer, n, inner)
                : softmax_tiles<VecF, direction>(kind, x, g, where, masked_nan, out, outer, n, inner);
}
static int softmax(int kind, int wide, const void *x, const void *, const unsigned char *where, int masked_nan, void *out, std::size_t outer, std::size_t n, std::size_t inner) {
    return softmax_any<VALUE>(kind, wide, x, nullptr, where, masked_nan, out, outer, n, inner);
}
static int softmax_backward(int kind, int wide, const void *x, const void *g, const unsigned char *where, int masked_nan, void *out, std::size_t outer, std::size_t n, std::size_t inner) {
    return softmax_any<BACKWARD>(kind, wide, x, g, where, masked_nan, out, outer, n, inner);
}
static int softmax_backward_from_output(int kind, int wide, const void *y, const void *g, const unsigned char *where, int masked_nan, void *out, std::size_t outer, std::size_t n, std::size_t inner) {
    return softmax_any<BACKWARD_FROM_OUTPUT>(kind, wide, y, g, where, masked_nan, out, outer, n, inner);
}
