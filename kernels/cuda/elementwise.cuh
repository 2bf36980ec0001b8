#include "brief.cuh"
// The elementwise kernel: sixteen bytes of each array a thread, a grid of just as many threads as that takes. (On an H100 a
// persistent grid lost 5 to 6 % of the copy's speed, two or more vectors a thread 0.5 to 3 %.)

constexpr int THREADS = 512;
enum Access { ALIGNED = 1, IN_PLACE = 2 };  // every pointer at a multiple of 16 bytes; an output is an input

// float32 computed in float64 has forms of its own for some.
template <class Op, int kind, class F> FASTACT_FUNCTION void compute(const F *argument, F *result) {
    if constexpr (Op::wide && kind == FLOAT32 && is_float64<F>) Op::run_wide(argument, result);
    else Op::run(argument, result);
}

// Stores consecutive lanes of each thread as `kind`, at p wherever that is. Out of step with the vectors each takes the beginning of its
// neighbour's words, if the `whole_warp` is here; what is left at the warp's ends goes one by one.
template <int kind, int lanes, class F> FASTACT_FUNCTION void store_lanes(void *p, const F *y, bool whole_warp) {
    constexpr int many = lanes_of<kind>, words = lanes / many, size = sizeof(Stored<kind>);
    const int skip = beyond_line(p) ? 16 - beyond_line(p) : 0;
    Words mine[words + 1];
#pragma unroll
    for (int w = 0; w < words; w++) mine[w] = pack<kind>(y + w * many);
    char *const line = static_cast<char *>(p) + skip;
    if (!skip) {
#pragma unroll
        for (int w = 0; w < words; w++) store_words(line + 16 * w, mine[w]);
        return;
    }
    int from = lanes, to = lanes;  // lanes before the one and from the other on go one by one
    if (whole_warp) {
        const int thread = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
        for (int i = 0; i < 4; i++) mine[words].w[i] = __shfl_sync(0xffffffffu, mine[0].w[i], thread + 1);
#pragma unroll
        for (int w = 0; w < words; w++)
            if (w + 1 < words || thread < 31) store_words(line + 16 * w, shifted<size>(mine[w], mine[w + 1], skip));
        from = thread == 0 ? skip / size : 0;
        if (thread == 31) to = lanes - (16 - skip) / size;
    }
#pragma unroll
    for (int e = 0; e < lanes; e++)
        if (e < from || e >= to) static_cast<Stored<kind> *>(p)[e] = narrow<kind>(y[e]);
}

// A whole vector of each array, from element i on. If it is known that all parameters are `numbers`, as they mostly are, what depends on
// them alone is computed once and not for each lane.
template <class Op, int kind, bool numbers, class F>
FASTACT_FUNCTION void whole_vector(const void *const *in, const F *number, void *const *out, long long i, int access, bool whole_warp) {
    constexpr int lanes = lanes_of<kind>, own = own_kind<F>;
    F x[Op::inputs][lanes], y[Op::outputs][lanes];
    const auto given = [&](int k) { return k < Op::arrays || (!numbers && in[k]); };
    Words words[Op::inputs];
    if (access & ALIGNED) {
#pragma unroll
        for (int k = 0; k < Op::inputs; k++)
            if (given(k)) words[k] = load_words(static_cast<const Stored<kind> *>(in[k]) + i, access & IN_PLACE);
    } else {
#pragma unroll
        for (int k = 0; k < Op::inputs; k++)
            if (given(k)) words[k] = load_anywhere<sizeof(Stored<kind>)>(static_cast<const Stored<kind> *>(in[k]) + i, access & IN_PLACE);
    }
#pragma unroll
    for (int k = 0; k < Op::inputs; k++) {
        unpack<kind>(words[k], x[k]);
#pragma unroll
        for (int e = 0; e < lanes; e++)
            if (!given(k)) x[k][e] = number[k];
    }
#pragma unroll
    for (int e = 0; e < lanes; e++) {
        F argument[Op::inputs], result[Op::outputs];
#pragma unroll
        for (int k = 0; k < Op::inputs; k++) argument[k] = x[k][e];
        compute<Op, kind>(argument, result);
#pragma unroll
        for (int k = 0; k < Op::outputs; k++) y[k][e] = result[k];
    }
    store_words(static_cast<Stored<kind> *>(out[0]) + i, pack<kind>(y[0]));
    if constexpr (Op::outputs > 1) {
        if (access & ALIGNED) {
#pragma unroll
            for (int k = 1; k < Op::stored; k++) store_words(static_cast<Stored<kind> *>(out[k]) + i, pack<kind>(y[k]));
#pragma unroll
            for (int k = Op::stored; k < Op::outputs; k++)
#pragma unroll
                for (int e = 0; e < lanes; e += lanes_of<own>) store_words(static_cast<F *>(out[k]) + i + e, pack<own>(y[k] + e));
        } else {
#pragma unroll
            for (int k = 1; k < Op::stored; k++) store_lanes<kind, lanes>(static_cast<Stored<kind> *>(out[k]) + i, y[k], whole_warp);
#pragma unroll
            for (int k = Op::stored; k < Op::outputs; k++) store_lanes<own, lanes>(static_cast<F *>(out[k]) + i, y[k], whole_warp);
        }
    }
}

// in[k] is an array in `kind`, or null for a parameter that is the number number[k]. The first Op::stored outputs are stored as `kind`;
// the rest, terms of a parameter's gradient, stays in the working type, for they are still to be summed. An output may be one of the inputs:
// each element is read and written by the same thread. (A line's other elements may be read along, but are not looked at.)
//
// Vectors are those of the first output's memory: it begins `step` elements after a multiple of 16 bytes, and so does the first thread's
// vector before its first element. What is no whole vector goes element by element, in the first thread and the last; the first also takes
// what the step pushes beyond the grid, which is of as many vectors as n elements have.
template <class Op, int kind, class F>
FASTACT_FUNCTION void elementwise(const void *const *in, const F *number, void *const *out, long long n, int access) {
    constexpr int lanes = lanes_of<kind>, share = THREADS * lanes;
    const int step = access & ALIGNED ? 0 : beyond_line(out[0]) / static_cast<int>(sizeof(Stored<kind>));
    const int thread = static_cast<int>(threadIdx.x);
    const long long first = static_cast<long long>(blockIdx.x) * share - step, i = first + thread * lanes, end = i + lanes;
    if (i >= 0 && end <= n) {
        const long long warp = first + thread / 32 * 32 * lanes;
        const bool whole_warp = warp >= 0 && warp + 32 * lanes <= n;
        bool numbers = true;
#pragma unroll
        for (int k = Op::arrays; k < Op::inputs; k++) numbers &= !in[k];
        if (numbers) whole_vector<Op, kind, true>(in, number, out, i, access, whole_warp);
        else if constexpr (Op::arrays < Op::inputs) whole_vector<Op, kind, false>(in, number, out, i, access, whole_warp);
        return;
    }
    for (long long j = i < 0 ? 0 : i;; j++) {
        if (j == end) {
            if (i >= 0) return;
            j = static_cast<long long>(gridDim.x) * share - step;
        }
        if (j >= n) return;
        F argument[Op::inputs], result[Op::outputs];
#pragma unroll
        for (int k = 0; k < Op::inputs; k++)
            argument[k] = k < Op::arrays || in[k] ? widen<kind, F>(static_cast<const Stored<kind> *>(in[k])[j]) : number[k];
        compute<Op, kind>(argument, result);
#pragma unroll
        for (int k = 0; k < Op::stored; k++) static_cast<Stored<kind> *>(out[k])[j] = narrow<kind>(result[k]);
#pragma unroll
        for (int k = Op::stored; k < Op::outputs; k++) static_cast<F *>(out[k])[j] = result[k];
    }
}
