// Pipelines: what is done with one element stands in the entry point, as text; here is how elements are gone through, and summed.
//
// Arrays have any strides, so that halves of an array, interleaved pairs, broadcast parameters and permuted axes need no copies.
// Elements are numbered (place, q): sums have a result for each place, and go over q. A team of threads takes `width` neighbouring
// places and a chunk of the q; sums are in float64, folded in an order that depends on shapes alone: the same call gives the same bits.

constexpr int TEAM = 256;  // threads of a block, at most: a power of two

// The digits of n in the mixed base `size`; the last changes fastest.
template <int dims, class Index> FASTACT_FUNCTION void digits_of(Index n, const Index *size, Index *digit) {
#pragma unroll
    for (int d = dims - 1; d > 0; d--) digit[d] = n % size[d], n /= size[d];
    if constexpr (dims > 0) digit[0] = n;
}

// Where an element of an array is.
template <int dims, class Index> FASTACT_FUNCTION long long offset_of(const Index *digit, const long long *stride) {
    long long at = 0;
#pragma unroll
    for (int d = 0; d < dims; d++) at += static_cast<long long>(digit[d]) * stride[d];
    return at;
}

FASTACT_FUNCTION double *team_cells() {
    __shared__ double cell[TEAM];
    return cell;
}

// The sum over the `rows` threads with the same place; the one with row 0 gets it.
FASTACT_FUNCTION double folded(double v, int row, int rows, int step) {
    double *const cell = team_cells();
    if (rows == 1) return v;
    __syncthreads();
    cell[threadIdx.x] = v;
    __syncthreads();
    for (int half = rows / 2; half; half /= 2) {
        if (row < half) cell[threadIdx.x] = cell[threadIdx.x] + cell[threadIdx.x + half * step];
        __syncthreads();
    }
    return cell[threadIdx.x];
}

// `visit(digit, term)` sees each element once; `give(sum, part, place, total)` gets a total for each chunk. The first `kept` sizes are
// those of places, the rest those of q. `across`: neighbouring threads have neighbouring places, otherwise neighbouring q.
template <int kept, int summed, int sums, class Index, class Visit, class Give>
FASTACT_FUNCTION void tiles(const Index *size, Index chunk, int width, bool across, Visit visit, Give give) {
    Index places = 1, many = 1;
#pragma unroll
    for (int d = 0; d < kept; d++) places *= size[d];
#pragma unroll
    for (int d = kept; d < kept + summed; d++) many *= size[d];
    const int rows = static_cast<int>(blockDim.x) / width, thread = threadIdx.x;
    const int row = across ? thread / width : thread % rows;
    const Index columns = (places + width - 1) / width, part = blockIdx.x / columns;
    const Index place = (blockIdx.x % columns) * width + (across ? thread % width : thread / rows);
    double sum[sums + 1] = {};
    if (place < places) {
        Index digit[kept + summed + 1];
        digits_of<kept>(place, size, digit);
        const Index first = part * chunk, end = many - first < chunk ? many : first + chunk;
        for (Index q = first + row; q < end; q += rows) {
            digits_of<summed>(q, size + kept, digit + kept);
            double term[sums + 1] = {};
            visit(digit, term);
#pragma unroll
            for (int s = 0; s < sums; s++) sum[s] += term[s];
        }
    }
#pragma unroll
    for (int s = 0; s < sums; s++) {
        const double total = folded(sum[s], row, rows, across ? width : 1);
        if (row == 0 && place < places) give(s, part, place, total);
    }
}

// Totals of chunks, `[part][sum][place]`, or the sums themselves, `[sum][place]`, where there is but one chunk.
template <int result> struct Totals {
    double *partial;
    void *out;
    long long parts, sums, places;
    FASTACT_FUNCTION void put(const Totals &t, long long sum, long long part, long long place, double total) {
        if (t.parts == 1) static_cast<Stored<result> *>(t.out)[sum * t.places + place] = narrow<result>(total);
        else t.partial[(part * t.sums + sum) * t.places + place] = total;
    }
};
template <int result> FASTACT_FUNCTION void fold(const double *partial, void *out, long long parts, long long places, int width) {
    const long long size[] = {places, parts};
    tiles<1, 1, 1>(
        size, parts, width, true, [=](const long long *digit, double *term) { term[0] = partial[digit[1] * places + digit[0]]; },
        [=](int, long long, long long place, double total) { static_cast<Stored<result> *>(out)[place] = narrow<result>(total); });
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

// The value, and for each element a bit: whether its slope is nearer to `high` than to `low`. `call` gives value and slope.
template <int kind, class F, class Call>
FASTACT_FUNCTION void with_mask(const void *x, void *y, unsigned char *bits, F low, F high, long long n, Call call) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    bool one = false;
    if (i < n) {
        const auto r = call(widen<kind, F>(static_cast<const Stored<kind> *>(x)[i]));
        const F middle = low + (high - low) / F(2);
        one = low < high ? r.b > middle : r.b < middle;
        static_cast<Stored<kind> *>(y)[i] = narrow<kind>(r.a);
    }
    const unsigned word = __ballot_sync(0xffffffffu, one);
    const int lane = threadIdx.x % 32;
    if (lane % 8 == 0 && i < n) bits[i / 8] = static_cast<unsigned char>(word >> lane);
}
template <int kind, class F> FASTACT_FUNCTION void from_mask(const void *grad, void *dx, const unsigned char *bits, F low, F high, long long n) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const F slope = bits[i / 8] >> (i % 8) & 1 ? high : low;
    static_cast<Stored<kind> *>(dx)[i] = narrow<kind>(widen<kind, F>(static_cast<const Stored<kind> *>(grad)[i]) * slope);
}
