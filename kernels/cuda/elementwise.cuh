// The elementwise kernel: sixteen bytes of each array a thread, a grid of just as many threads as that takes. (On an H100 a
// persistent grid lost 5 to 6 % of the copy's speed, two or more vectors a thread 0.5 to 3 %.)

constexpr int THREADS = 512;
enum Access { ALIGNED = 1, IN_PLACE = 2 };  // every pointer at a multiple of 16 bytes; an output is an input

// float32 computed in float64 has forms of its own for some.
template <class Op, int kind, class F> FASTACT_FUNCTION void compute(const F *argument, F *result) {
    if constexpr (Op::wide && kind == FLOAT32 && is_float64<F>) Op::run_wide(argument, result);
    else Op::run(argument, result);
}

// in[k] is an array in `kind`, or null for a parameter that is the number number[k]. The first Op::stored outputs are stored as `kind`;
// the rest, terms of a parameter's gradient, stays in the working type, for they are still to be summed. An output may be one of the inputs:
// each element is read and written by the same thread.
template <class Op, int kind, class F>
FASTACT_FUNCTION void elementwise(const void *const *in, const F *number, void *const *out, long long n, int access) {
    constexpr int lanes = lanes_of<kind>, own_lanes = lanes_of<own_kind<F>>;
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * lanes);
    long long i = first + threadIdx.x, end = first + THREADS * lanes;
    int step = THREADS;
    if (access & ALIGNED) {
        i = first + static_cast<int>(threadIdx.x) * lanes, end = i + lanes, step = 1;
        if (end <= n) {
            F x[Op::inputs][lanes], y[Op::outputs][lanes];
#pragma unroll
            for (int k = 0; k < Op::inputs; k++) {
                if (k < Op::arrays || in[k]) {
                    unpack<kind>(load_words(static_cast<const Stored<kind> *>(in[k]) + i, access & IN_PLACE), x[k]);
                } else {
#pragma unroll
                    for (int e = 0; e < lanes; e++) x[k][e] = number[k];
                }
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
#pragma unroll
            for (int k = 0; k < Op::stored; k++) store_words(static_cast<Stored<kind> *>(out[k]) + i, pack<kind>(y[k]));
#pragma unroll
            for (int k = Op::stored; k < Op::outputs; k++)
#pragma unroll
                for (int e = 0; e < lanes; e += own_lanes) store_words(static_cast<F *>(out[k]) + i + e, pack<own_kind<F>>(y[k] + e));
            return;
        }
    }
    for (; i < end && i < n; i += step) {  // the last, partial vector, or arrays out of step with the vectors
        F argument[Op::inputs], result[Op::outputs];
#pragma unroll
        for (int k = 0; k < Op::inputs; k++)
            argument[k] = k < Op::arrays || in[k] ? widen<kind, F>(static_cast<const Stored<kind> *>(in[k])[i]) : number[k];
        compute<Op, kind>(argument, result);
#pragma unroll
        for (int k = 0; k < Op::stored; k++) static_cast<Stored<kind> *>(out[k])[i] = narrow<kind>(result[k]);
#pragma unroll
        for (int k = Op::stored; k < Op::outputs; k++) static_cast<F *>(out[k])[i] = result[k];
    }
}
