// Row-wise kernels on [outer][n][inner], contiguous: the row runs along n. With inner == 1 a block takes a row, otherwise a thread
// does, its neighbours the neighbouring rows. What is computed is written once; a team says who computes it.
//
// Sums run in the working type over short stretches and in float64 beyond them, as on the CPU. Their order depends on n and
// the size of the block alone: the same call gives the same bits.

constexpr int MOST_THREADS = 512;
constexpr int STRETCH = 4;  // elements summed in the working type
enum Direction { VALUE, BACKWARD, BACKWARD_FROM_OUTPUT };

struct Block {  // its size is a power of two
    FASTACT_FUNCTION int rank() { return threadIdx.x; }
    FASTACT_FUNCTION int size() { return blockDim.x; }
    FASTACT_FUNCTION double *cells() {  // not in `all`: each of its instances would get its own
        __shared__ double cell[MOST_THREADS];
        return cell;
    }
    template <class Join> FASTACT_FUNCTION double all(double v, Join join) {
        double *const cell = cells();
        __syncthreads();  // everyone has read the result of the last call
        cell[rank()] = v;
        __syncthreads();
        for (int half = size() / 2; half; half /= 2) {
            if (rank() < half) cell[rank()] = join(cell[rank()], cell[rank() + half]);
            __syncthreads();
        }
        return cell[0];
    }
};
struct Alone {
    FASTACT_FUNCTION int rank() { return 0; }
    FASTACT_FUNCTION int size() { return 1; }
    template <class Join> FASTACT_FUNCTION double all(double v, Join) { return v; }
};

template <class Team, class F> FASTACT_FUNCTION F largest_of(F v) {
    return static_cast<F>(Team::all(v, [](double a, double b) { return pymax(a, b); }));
}

// sum over a row of what `term(i)` gives
template <class Team, class F, class Term> FASTACT_FUNCTION double sum_of(long long n, Term term) {
    double sum = 0.0;
    F part = 0;
    int count = 0;
    for (long long i = Team::rank(); i < n; i += Team::size()) {
        part += term(i);
        if (++count == STRETCH) sum += part, part = 0, count = 0;
    }
    return Team::all(sum + part, [](double a, double b) { return a + b; });
}

// One row: element i at i * stride. In the value x is the input; in the gradients x is the input or the output, and g the gradient.
// `out` may be x or g: the last loop reads an element before it writes it, and nobody else needs it then.
template <class Team, Direction direction, int kind, class F>
FASTACT_FUNCTION void softmax_row(const Stored<kind> *x, const Stored<kind> *g, const unsigned char *where, bool masked_nan, Stored<kind> *out, long long n, long long stride) {
    const F infinity = from_bits(whole<F>(is_float64<F> ? 0x7ff0000000000000LL : 0x7f800000LL));
    const auto kept = [=](long long i) { return !where || where[i * stride]; };
    const auto entry = [=](long long i) { return kept(i) ? widen<kind, F>(x[i * stride]) : direction == BACKWARD_FROM_OUTPUT ? F(0) : -infinity; };
    const auto slope = [=](long long i) { return kept(i) ? widen<kind, F>(g[i * stride]) : F(0); };

    F largest = -infinity, scale = 1, dot = 0;
    if constexpr (direction != BACKWARD_FROM_OUTPUT) {
        for (long long i = Team::rank(); i < n; i += Team::size()) largest = pymax(largest, entry(i));
        largest = largest_of<Team>(largest);
        scale = static_cast<F>(1.0 / sum_of<Team, F>(n, [=](long long i) { return defs::softmax_term(entry(i), largest); }));
    }
    const auto probability = [=](long long i) {
        if constexpr (direction == BACKWARD_FROM_OUTPUT) return entry(i);
        else return defs::softmax_term(entry(i), largest) * scale;
    };
    if constexpr (direction != VALUE) dot = static_cast<F>(sum_of<Team, F>(n, [=](long long i) { return slope(i) * probability(i); }));

    F gone = 0;  // what stands where the mask is false
    if (where && masked_nan) {
        F any = 0;
        for (long long i = Team::rank(); i < n; i += Team::size()) any = kept(i) ? F(1) : any;
        gone = largest_of<Team>(any) > 0 ? F(0) : infinity - infinity;
    }
    for (long long i = Team::rank(); i < n; i += Team::size()) {
        F y = probability(i);
        if constexpr (direction != VALUE) y = y * (slope(i) - dot);
        out[i * stride] = narrow<kind>(kept(i) ? y : gone);
    }
}

template <Direction direction, int kind, class F>
FASTACT_FUNCTION void softmax_rows(const void *x, const void *g, const unsigned char *where, int masked_nan, void *out, long long outer, long long n) {
    for (long long row = blockIdx.x; row < outer; row += gridDim.x) {
        const long long at = row * n;
        softmax_row<Block, direction, kind, F>(
            static_cast<const Stored<kind> *>(x) + at, static_cast<const Stored<kind> *>(g) + at, where ? where + at : nullptr, masked_nan,
            static_cast<Stored<kind> *>(out) + at, n, 1);
    }
}
template <Direction direction, int kind, class F>
FASTACT_FUNCTION void softmax_columns(const void *x, const void *g, const unsigned char *where, int masked_nan, void *out, long long outer, long long n, long long inner) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < outer * inner; i += step) {
        const long long at = i / inner * n * inner + i % inner;
        softmax_row<Alone, direction, kind, F>(
            static_cast<const Stored<kind> *>(x) + at, static_cast<const Stored<kind> *>(g) + at, where ? where + at : nullptr, masked_nan,
            static_cast<Stored<kind> *>(out) + at, n, inner);
    }
}
