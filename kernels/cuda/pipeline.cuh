// Pipelines: what is done with one element stands in the entry point, as text; here is how elements are gone through, and summed.
//
// A thread takes `lanes` neighbouring elements at a time: sixteen bytes of each array where all lie so that this is possible, else one.
// Arrays have any strides, so that halves of an array, interleaved pairs, broadcast parameters and permuted axes need no copies; the
// last dimension is counted in lanes. Where nothing is summed, the grid has just as many threads as that takes. Sums have a result for
// each place, and go over q; a team of threads takes `width` neighbouring places and a chunk of the q. They are in float64, folded in
// an order that depends on shapes and strides alone: the same call gives the same bits.

constexpr int TEAM = 256;  // threads of a block that sums, at most: a power of two

// An extent that indices are divided by. Those of 32 bits are below 2^31: there it is a multiplication and a shift.
template <class Index> struct Extent {
    Index size, magic, shift;
};
FASTACT_FUNCTION unsigned quotient(unsigned n, const Extent<unsigned> &by) {
    return (static_cast<unsigned>(static_cast<unsigned long long>(n) * by.magic >> 32) + n) >> by.shift;
}
FASTACT_FUNCTION long long quotient(long long n, const Extent<long long> &by) { return n / by.size; }

// The digits of n in a mixed base; the last changes fastest.
template <int dims, class Index> FASTACT_FUNCTION void digits_of(Index n, const Extent<Index> *extent, Index *digit) {
#pragma unroll
    for (int d = dims - 1; d > 0; d--) {
        const Index rest = quotient(n, extent[d]);
        digit[d] = n - rest * extent[d].size, n = rest;
    }
    if constexpr (dims > 0) digit[0] = n;
}

// How far from the first of an array the element with these digits is, in what `step` counts. Steps of `int` are a multiplication each.
FASTACT_FUNCTION long long stepped(unsigned digit, int step) { return static_cast<long long>(static_cast<int>(digit)) * step; }
FASTACT_FUNCTION long long stepped(long long digit, long long step) { return digit * step; }
template <int dims, class Index, class Step> FASTACT_FUNCTION long long offset_of(const Index *digit, const Step *step) {
    long long at = 0;
#pragma unroll
    for (int d = 0; d < dims; d++) at += stepped(digit[d], step[d]);
    return at;
}
template <int dims, class Index, class Step> FASTACT_FUNCTION const char *at(const void *first, const Index *digit, const Step *step) {
    return static_cast<const char *>(first) + offset_of<dims>(digit, step);
}
template <int dims, class Index, class Step> FASTACT_FUNCTION char *at(void *first, const Index *digit, const Step *step) {
    return static_cast<char *>(first) + offset_of<dims>(digit, step);
}

// ---------------------------------------------------------------- elements

// Sixteen bytes. `passing`: they are used once, and nothing in this kernel writes them; then past the caches.
template <bool passing> FASTACT_FUNCTION Words loaded(const char *from) { return load_words(from, !passing); }
template <bool passing> FASTACT_FUNCTION void stored(char *to, const Words &words) {
    if constexpr (passing) store_words(to, words);
#ifdef FASTACT_HOST
    else *reinterpret_cast<Words *>(::checked(to)) = words;
#else
    else *reinterpret_cast<Words *>(to) = words;
#endif
}
// The first `count` of sixteen bytes' elements. (All of the bytes may be read: they are in one line with the first.)
template <int kind> FASTACT_FUNCTION void store_some(char *to, const Words &words, int count) {
#pragma unroll
    for (int e = 0; e < lanes_of<kind>; e++)
        if (e < count) {
            if constexpr (kind == FLOAT64) {
                const unsigned long long u = words.w[2 * e] | static_cast<unsigned long long>(words.w[2 * e + 1]) << 32;
                reinterpret_cast<double *>(to)[e] = from_bits(static_cast<long long>(u));
            } else if constexpr (kind == FLOAT32) reinterpret_cast<float *>(to)[e] = float_of(words.w[e]);
            else reinterpret_cast<unsigned short *>(to)[e] = static_cast<unsigned short>(words.w[e / 2] >> (e % 2 * 16));
        }
}
template <int kind> FASTACT_FUNCTION Stored<kind> element(const char *from) { return *reinterpret_cast<const Stored<kind> *>(from); }
template <int kind, class F> FASTACT_FUNCTION void put_element(char *to, F x) { *reinterpret_cast<Stored<kind> *>(to) = narrow<kind>(x); }

// Elements that take turns, a0 b0 a1 b1 ..., apart and together again.
template <int kind> FASTACT_FUNCTION void apart(const Words &low, const Words &high, Words &a, Words &b) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if constexpr (kind == FLOAT64) {
            a.w[i] = (i < 2 ? low : high).w[i % 2], b.w[i] = (i < 2 ? low : high).w[i % 2 + 2];
        } else if constexpr (kind == FLOAT32) {
            a.w[i] = (i < 2 ? low : high).w[i % 2 * 2], b.w[i] = (i < 2 ? low : high).w[i % 2 * 2 + 1];
        } else {
            const unsigned even = (i < 2 ? low : high).w[i % 2 * 2], odd = (i < 2 ? low : high).w[i % 2 * 2 + 1];
            a.w[i] = (even & 0xffffu) | odd << 16, b.w[i] = even >> 16 | (odd & 0xffff0000u);
        }
    }
}
template <int kind> FASTACT_FUNCTION void together(const Words &a, const Words &b, Words &low, Words &high) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        Words &to = i < 2 ? low : high;
        if constexpr (kind == FLOAT64) {
            to.w[i % 2] = a.w[i], to.w[i % 2 + 2] = b.w[i];
        } else if constexpr (kind == FLOAT32) {
            to.w[i % 2 * 2] = a.w[i], to.w[i % 2 * 2 + 1] = b.w[i];
        } else {
            to.w[i % 2 * 2] = (a.w[i] & 0xffffu) | b.w[i] << 16, to.w[i % 2 * 2 + 1] = a.w[i] >> 16 | (b.w[i] & 0xffff0000u);
        }
    }
}

// ---------------------------------------------------------------- going through them

// All of `count` vectors, `several` a thread: `fetch(digit)` reads, `use(digit, taken, valid)` does the rest. Of the last vector `last`
// elements are there.
template <int dims, int lanes, int several, class Index, class Fetch, class Use>
FASTACT_FUNCTION void each(const Extent<Index> *extent, Index count, int last, Fetch fetch, Use use) {
    const Index first = static_cast<Index>(blockIdx.x) * (several * blockDim.x) + threadIdx.x;
    Index digit[several][dims + 1];
    decltype(fetch(digit[0])) taken[several];
#pragma unroll
    for (int i = 0; i < several; i++) {
        const Index v = first + i * blockDim.x;
        if (v < count) digits_of<dims>(v, extent, digit[i]), taken[i] = fetch(digit[i]);
    }
#pragma unroll
    for (int i = 0; i < several; i++) {
        const Index v = first + i * blockDim.x;
        if (v < count) use(digit[i], taken[i], dims == 1 && v == count - 1 ? last : lanes);
    }
}

// Adds up v over the `rows` threads that differ in `row` alone; the one with row 0 gets the sums. All threads of the block call it.
template <int many> FASTACT_FUNCTION void fold_team(double *v, int row, int rows, int step) {
    __shared__ double cell[many * TEAM];
    if (rows == 1) return;
    double *const own = cell + threadIdx.x;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < many; k++) own[k * TEAM] = v[k];
    __syncthreads();
    for (int half = rows / 2; half; half /= 2) {
        if (row < half) {
#pragma unroll
            for (int k = 0; k < many; k++) own[k * TEAM] = own[k * TEAM] + own[k * TEAM + half * step];
        }
        __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < many; k++) v[k] = own[k * TEAM];
}

// How sums are shared out: `places` and `many` q, in vectors where they are along these; the q of a block, the places of a block, and
// whether neighbouring threads have neighbouring places, otherwise neighbouring q.
template <class Index> struct Shares {
    Index places, many, chunk;
    int width;
    bool across;
};

// `use(digit, taken, valid, sum, whole)` sees each vector once and adds to the sums: `sum` has one for each place, or lane of a place,
// `whole` one in all. `give(sum, part, place, lane, total)` gets a total for each chunk, `give_whole(which, total)` one for each block.
// The first `kept` extents are those of places, the rest those of q. What comes next is read before the present is computed with.
template <int kept, int summed, int sums, int own, int wholes, class Index, class Fetch, class Use, class Give, class GiveWhole>
FASTACT_FUNCTION void sweep(const Extent<Index> *extent, const Shares<Index> &shares, int lanes, int last, Fetch fetch, Use use, Give give,
                            GiveWhole give_whole) {
    const int width = shares.width, rows = static_cast<int>(blockDim.x) / width, thread = threadIdx.x;
    const int row = shares.across ? thread / width : thread % rows;
    const Index columns = (shares.places + width - 1) / width, part = blockIdx.x / columns;
    const Index place = (blockIdx.x % columns) * width + (shares.across ? thread % width : thread / rows);
    double sum[sums * own + 1] = {}, whole[wholes + 1] = {};
    if (place < shares.places) {
        const Index first = part * shares.chunk, end = shares.many - first < shares.chunk ? shares.many : first + shares.chunk;
        Index digit[kept + summed + 1], next[kept + summed + 1];
        digits_of<kept>(place, extent, next);
        decltype(fetch(next)) taken;
        Index q = first + row;
        if (q < end) digits_of<summed>(q, extent + kept, next + kept), taken = fetch(next);
        while (q < end) {
            const auto now = taken;
            const bool final = kept + summed == 1 && (summed ? q == shares.many - 1 : place == shares.places - 1);
#pragma unroll
            for (int d = 0; d < kept + summed; d++) digit[d] = next[d];
            q += rows;
            if (q < end) digits_of<summed>(q, extent + kept, next + kept), taken = fetch(next);
            use(digit, now, final ? last : lanes, sum, whole);
        }
    }
#pragma unroll
    for (int s = 0; s < sums; s++) {
        fold_team<own>(sum + s * own, row, rows, shares.across ? width : 1);
        if (row == 0 && place < shares.places) {
#pragma unroll
            for (int lane = 0; lane < own; lane++) give(s, part, place, lane, sum[s * own + lane]);
        }
    }
#pragma unroll
    for (int w = 0; w < wholes; w++) {
        fold_team<1>(whole + w, thread, blockDim.x, 1);
        if (thread == 0) give_whole(w, whole[w]);
    }
}

// Totals of chunks, `[part][sum][place]`, or the sums themselves, `[sum][place]`, where there is but one chunk.
template <int result> struct Totals {
    double *partial;
    void *out;
    long long parts, sums, places;
    FASTACT_FUNCTION void put(const Totals &t, long long sum, long long part, long long place, double total) {
        if (place >= t.places) return;  // of the last vector
        if (t.parts == 1) static_cast<Stored<result> *>(t.out)[sum * t.places + place] = narrow<result>(total);
        else t.partial[(part * t.sums + sum) * t.places + place] = total;
    }
};
// The sum over parts for each place: a column of a block is `width` places, and its rows take turns.
template <int result> FASTACT_FUNCTION void fold(const double *partial, void *out, long long parts, long long places, int width) {
    const int rows = static_cast<int>(blockDim.x) / width, row = static_cast<int>(threadIdx.x) / width;
    const long long place = static_cast<long long>(blockIdx.x) * width + static_cast<int>(threadIdx.x) % width;
    double sum = 0;
    if (place < places) {
#pragma unroll 4
        for (long long part = row; part < parts; part += rows) sum += partial[part * places + place];
    }
    fold_team<1>(&sum, row, rows, width);
    if (row == 0 && place < places) static_cast<Stored<result> *>(out)[place] = narrow<result>(sum);
}

// ---------------------------------------------------------------- what stages are made of

// Python's clamp to [low, high] that keeps NaN
template <class F> FASTACT_FUNCTION F clamped(F x, F low, F high) { return pymin(pymax(x, low), high); }

// 24 random bits of an element, as fastact/noise.py draws them; `seed` has been mixed there.
FASTACT_FUNCTION unsigned drawn(unsigned long long seed, long long index) {
    unsigned long long z = (static_cast<unsigned long long>(index) + 1) * 0x9E3779B97F4A7C15ULL + seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z = z ^ (z >> 31);
    return static_cast<unsigned>(z >> 40);
}

// ---------------------------------------------------------------- masks of one bit

// The value, and for each element a bit: whether its slope is nearer to `high` than to `low`. `call` gives value and slope. Threads
// with less than eight elements each put their bits together. `vectors`: all arrays begin at a multiple of sixteen bytes.
template <int kind, class F, bool vectors, bool passing, class Call>
FASTACT_FUNCTION void with_mask(const void *x, void *y, unsigned char *bits, F low, F high, long long n, Call call) {
    constexpr int lanes = vectors ? lanes_of<kind> : 1, size = static_cast<int>(sizeof(Stored<kind>));
    const long long v = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x, i = v * lanes;
    const F middle = low + (high - low) / F(2);
    const auto one = [=](F slope) { return low < high ? slope > middle : slope < middle; };
    unsigned word = 0;
    if (i < n) {
        const char *const from = static_cast<const char *>(x) + i * size;
        char *const to = static_cast<char *>(y) + i * size;
        if constexpr (vectors) {
            const int valid = n - i < lanes ? static_cast<int>(n - i) : lanes;
            F given[lanes], value[lanes];
            unpack<kind>(loaded<passing>(from), given);
#pragma unroll
            for (int e = 0; e < lanes; e++) {
                const auto r = call(given[e]);
                value[e] = r.a, word |= static_cast<unsigned>(e < valid && one(r.b)) << e;
            }
            if (valid == lanes) stored<passing>(to, pack<kind>(value));
            else store_some<kind>(to, pack<kind>(value), valid);
        } else {
            const auto r = call(widen<kind, F>(element<kind>(from)));
            put_element<kind>(to, r.a), word = one(r.b);
        }
    }
#pragma unroll
    for (int step = 1; step * lanes < 8; step *= 2) word |= __shfl_xor_sync(0xffffffffu, word, step) << (step * lanes);
    if (i % 8 == 0 && i < n) bits[i / 8] = static_cast<unsigned char>(word);
}
template <int kind, class F, bool vectors, bool passing>
FASTACT_FUNCTION void from_mask(const void *grad, void *dx, const unsigned char *bits, F low, F high, long long n) {
    constexpr int lanes = vectors ? lanes_of<kind> : 1, size = static_cast<int>(sizeof(Stored<kind>));
    const long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * lanes;
    if (i >= n) return;
    const unsigned word = static_cast<unsigned>(bits[i / 8]) >> (i % 8);
    const char *const from = static_cast<const char *>(grad) + i * size;
    char *const to = static_cast<char *>(dx) + i * size;
    if constexpr (vectors) {
        const int valid = n - i < lanes ? static_cast<int>(n - i) : lanes;
        F x[lanes];
        unpack<kind>(loaded<passing>(from), x);
#pragma unroll
        for (int e = 0; e < lanes; e++) x[e] = x[e] * (word >> e & 1 ? high : low);
        if (valid == lanes) stored<passing>(to, pack<kind>(x));
        else store_some<kind>(to, pack<kind>(x), valid);
    } else {
        put_element<kind>(to, widen<kind, F>(element<kind>(from)) * (word & 1 ? high : low));
    }
}
