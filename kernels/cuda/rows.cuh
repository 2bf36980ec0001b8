// Row-wise calls on CUDA: what calls are, and the executor of rows/programs.hpp that takes any of them. Data is [outer][n][inner], a row runs
// along n. Rows that memory on the chip has room for are onchip.cuh's.
//
// With inner == 1 a block takes a row, or a warp a short one; otherwise a thread does, its neighbours the neighbouring rows. An element is
// read through its scale, bias, noise and limits wherever the program asks for it, and memory holds nothing but what came in and what goes out.
// Sums are in float64; their order depends on the shape alone: the same call gives the same bits.

constexpr int MOST_THREADS = 512;

// ---------------------------------------------------------------- numbers a row

FASTACT_FUNCTION double exp_of(double x) { return ::exp(x); }
FASTACT_FUNCTION double log_of(double x) { return ::log(x); }
FASTACT_FUNCTION double log1p_of(double x) { return ::log1p(x); }
FASTACT_FUNCTION double nearest_of(double x) { return (x + 0x1.8p52) - 0x1.8p52; }  // a whole number
FASTACT_FUNCTION float exp_of(float x) { return defs::exp(x); }
FASTACT_FUNCTION float log_of(float x) { return defs::log_positive(x) + (x - x); }  // of what is positive, or NaN
FASTACT_FUNCTION float log1p_of(float x) { return defs::log1p(x); }
FASTACT_FUNCTION double sqrt_of(double x) { return fsqrt(x); }
FASTACT_FUNCTION float sqrt_of(float x) { return fsqrt(x); }
FASTACT_FUNCTION float nearest_of(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
#define FASTACT_ROW_METHOD __device__ __forceinline__
#define FASTACT_INLINE
// For float32 results, of what is neither huge nor tiny: the device's first guess has 20 bits or more, and each step doubles them.
FASTACT_FUNCTION double reciprocal_of(double x) {
    double r;
#ifdef FASTACT_HOST
    r = from_bits(bits(1.0 / x) & ~0xffffffffLL);
#else
    asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(r) : "d"(x));
#endif
    return fma(r, fma(-x, r, 1.0), r);
}
FASTACT_FUNCTION float reciprocal_of(float x) { return 1.0f / x; }
// log(a / b): for float32 results of a quotient that is at least 1, within 2^-30 of it; a fifth of the instructions of `log`.
template <class F> FASTACT_FUNCTION double log_quotient(double a, double b) {
    if constexpr (is_float64<F>) return log_of(a / b);
    const double r = reciprocal_of(b), near = a * r, q = fma(fma(-near, b, a), r, near);
    const long long i = bits(q) + 0x95f619980c433LL;  // the mantissa in [sqrt(1/2), sqrt(2))
    const double k = from_bits(0x4330000000000000LL | i >> 52) - (0x1p52 + 1023.0);
    const double m = from_bits((i & 0xfffffffffffffLL) + 0x3fe6a09e667f3bcdLL), s = (m - 1.0) * reciprocal_of(m + 1.0), z = s * s;
    const double series = fma(fma(fma(fma(fma(1.0 / 11, z, 1.0 / 9), z, 1.0 / 7), z, 1.0 / 5), z, 1.0 / 3), z, 1.0);
    return fma(k, 0.6931471805599453, 2.0 * s * series) + (q - q);
}
template <class F> FASTACT_FUNCTION float log_quotient(float a, float b) { return log_of(a / b); }
#ifndef FASTACT_SHARED
#define FASTACT_SHARED static __device__
#endif
template <class Function, class T, class... U> FASTACT_FUNCTION T lanes(Function f, T first, U... rest) { return static_cast<T>(f(first, rest...)); }
template <class Function, class T, class... U> FASTACT_FUNCTION bool any(Function f, T first, U... rest) { return f(first, rest...); }
FASTACT_FUNCTION void set_all(double &u, double value) { u = value; }
FASTACT_FUNCTION void set_all(float &u, double value) { u = static_cast<float>(value); }
FASTACT_FUNCTION double one_of(double u) { return u; }
// Numbers of rows that lie beside each other in a warp: its threads agree before they go different ways.
template <class T> struct Beside {
    T v;
};
template <class Function, class T, class... U> FASTACT_FUNCTION Beside<T> lanes(Function f, Beside<T> first, U... rest) {
    return {static_cast<T>(f(first.v, rest.v...))};
}
template <class Function, class T, class... U> FASTACT_FUNCTION bool any(Function f, Beside<T> first, U... rest) {
    return __any_sync(0xffffffffu, f(first.v, rest.v...)) != 0;
}
template <class T> FASTACT_FUNCTION void set_all(Beside<T> &u, double value) { u.v = static_cast<T>(value); }
template <class T> FASTACT_FUNCTION double one_of(Beside<T> u) { return u.v; }
template <class T> FASTACT_FUNCTION Beside<T> operator+(Beside<T> a, Beside<T> b) { return {a.v + b.v}; }
template <class T> FASTACT_FUNCTION Beside<T> operator-(Beside<T> a, Beside<T> b) { return {a.v - b.v}; }
template <class T> FASTACT_FUNCTION Beside<T> operator*(Beside<T> a, Beside<T> b) { return {a.v * b.v}; }
template <class T> FASTACT_FUNCTION Beside<T> operator+(Beside<T> a, double b) { return {a.v + static_cast<T>(b)}; }
template <class T> FASTACT_FUNCTION Beside<T> operator-(Beside<T> a, double b) { return {a.v - static_cast<T>(b)}; }
template <class T> FASTACT_FUNCTION Beside<T> operator-(Beside<T> a) { return {-a.v}; }

#include "../rows/programs.hpp"

// ---------------------------------------------------------------- who takes a row

struct Alone {
    static constexpr bool side_by_side = true;  // neighbouring teams are neighbouring threads
    FASTACT_FUNCTION int rank() { return 0; }
    FASTACT_FUNCTION int size() { return 1; }
    FASTACT_FUNCTION long long team() { return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; }
    FASTACT_FUNCTION long long teams() { return static_cast<long long>(gridDim.x) * blockDim.x; }
    template <class Join> FASTACT_FUNCTION double all(double v, double, Join) { return v; }
};
struct Warp {
    static constexpr bool side_by_side = false;
    FASTACT_FUNCTION int rank() { return threadIdx.x % 32; }
    FASTACT_FUNCTION int size() { return 32; }
    FASTACT_FUNCTION long long team() { return (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32; }
    FASTACT_FUNCTION long long teams() { return static_cast<long long>(gridDim.x) * blockDim.x / 32; }
    // Everyone gets the same: at each step two lanes join the same two numbers, the lower lane's first.
    template <class Join> FASTACT_FUNCTION double all(double v, double, Join join) {
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const double other = __shfl_xor_sync(0xffffffffu, v, step);
            v = threadIdx.x & step ? join(other, v) : join(v, other);
        }
        return v;
    }
};
struct Block {  // whole warps
    static constexpr bool side_by_side = false;
    FASTACT_FUNCTION int rank() { return threadIdx.x; }
    FASTACT_FUNCTION int size() { return blockDim.x; }
    FASTACT_FUNCTION long long team() { return blockIdx.x; }
    FASTACT_FUNCTION long long teams() { return gridDim.x; }
    FASTACT_FUNCTION double *cells() {  // not in `all`: each of its instances would get its own
        __shared__ double cell[MOST_THREADS / 32];
        return cell;
    }
    template <class Join> FASTACT_FUNCTION double all(double v, double nothing, Join join) {
        double *const cell = cells();
        const int lane = threadIdx.x % 32;
        v = Warp::all(v, nothing, join);
        __syncthreads();  // everyone has read the result of the last call
        if (lane == 0) cell[threadIdx.x / 32] = v;
        __syncthreads();
        return Warp::all(lane < static_cast<int>(blockDim.x) / 32 ? cell[lane] : nothing, nothing, join);
    }
};

// ---------------------------------------------------------------- a call

// What a kernel is compiled for; the rest is in the call.
enum Feature { BIAS = 1, WHERE = 2, LIMITS = 4, NOISE = 8, SCALED = 16, SINK = 32, GRAD = 64, SOFT = 128, WEIGHT = 256, HARD = 512, LSE = 1024, RESULT = 2048, DALPHA = 4096, DBIAS = 8192, LABELS = 16384, SMOOTH = 32768, EDGES = 65536 };

// As fastact/rows.py, a field a line: entry points are written from this.
struct RowsCall {
    const void *x;
    void *out;
    const void *grad;
    const double *row_grad;
    double scale;
    double bias_scale;
    const void *bias;
    const long long *bias_outer;
    const long long *bias_inner;
    long long bias_step;
    const unsigned char *where;
    const long long *where_outer;
    const long long *where_inner;
    long long where_step;
    const long long *limits;
    long long masked_nan;
    const double *sink;
    long long sink_step;  // 0: one for all rows
    const double *alpha;
    long long alpha_step;
    long long seed;
    double *lse;
    double *dsink;
    double *dalpha;
    const long long *labels;
    const void *soft;
    const double *weight;
    double smoothing;
    double z_loss;
    long long has_ignore;
    long long ignore;
    double margin;
    long long power;
    double row_scale;
    double *loss;
    long long outer;
    long long n;
    long long inner;
    double *memory;  // of what a program cannot compute again: n numbers a team
    double *partial;  // [chunks][bias]: sums for dbias; who writes where is said by `rows_of`
    long long bias_size;
    const long long *order;  // rows, those that share their bias together
    long long groups;  // how many do not share it
    long long group_rows;
    long long chunk_rows;
    long long in_place;  // whether something that is read is written to
    long long held;      // vectors of each input that a block has room for
};

// Gumbel noise for each element's place: the number of fastact/noise.py, in the middle of its step, so that it is never 0.
FASTACT_FUNCTION double gumbel_at(unsigned long long seed, unsigned long long place) {
    unsigned long long z = seed + (place + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return -log_of(-log_of(static_cast<double>(z >> 40) * 0x1p-24 + 0x1p-25));
}

// ---------------------------------------------------------------- the executor

// What a row's executors have alike: what they are compiled for, numbers a row, and what becomes of them.
template <unsigned features, int program, int direction, int kind, class F_, class U_> struct RowNumbers {
    using F = F_;
    using U = U_;
    static constexpr bool loss_program = program >= programs::CROSS_ENTROPY, from_output = direction == programs::BACKWARD_FROM_OUTPUT;
    static constexpr bool has_sink = features & SINK, has_grad = features & GRAD, has_soft = features & SOFT, has_weight = features & WEIGHT;
    static constexpr bool hard = features & HARD, wants_lse = features & LSE, wants_result = features & RESULT, wants_dalpha = features & DALPHA;
    static constexpr bool masked = features & (WHERE | LIMITS), sums_bias = features & DBIAS;

    const RowsCall &call;
    long long row_number, n;
    bool some = true;  // whether anything is left in
    F gone;            // the result where it is not
    U sink, alpha, row_grad, label, active, label_weight, lse, dsink, dalpha, loss;
    double smoothing, z_loss, margin, row_scale;
    int power;

    FASTACT_ROW_METHOD RowNumbers(const RowsCall &c, long long number) : call(c), row_number(number), n(c.n) {
        set_all(sink, has_sink ? c.sink[c.sink_step * number] : 0.0);
        set_all(alpha, c.alpha ? c.alpha[c.alpha_step * number] : 1.5);
        set_all(row_grad, c.row_grad ? c.row_grad[number] : loss_program ? 1.0 : 0.0);
        set_all(lse, 0.0), set_all(dsink, 0.0), set_all(dalpha, 0.0), set_all(loss, 0.0), set_all(label, 0.0);
        set_all(active, 1.0), set_all(label_weight, 1.0);
        if constexpr ((features & LABELS) != 0) {
            const long long given = c.labels[number];
            const bool on = !(c.has_ignore && given == c.ignore);
            set_all(active, on), set_all(label, on ? static_cast<double>(given) : 0.0);
            if constexpr (has_weight) set_all(label_weight, on ? c.weight[given] : 0.0);
        }
        smoothing = features & SMOOTH ? c.smoothing : 0.0, z_loss = c.z_loss, margin = c.margin, row_scale = c.row_scale;
        power = static_cast<int>(c.power);
        set_some(true);
    }
    FASTACT_ROW_METHOD double pack_infinity() const { return from_bits(0x7ff0000000000000LL); }
    FASTACT_ROW_METHOD void set_some(bool found) {
        some = found;
        const double infinity = pack_infinity();
        gone = static_cast<F>(!some && call.masked_nan ? infinity - infinity : direction == programs::VALUE && program == programs::LOG_SOFTMAX ? -infinity : 0.0);
    }
    FASTACT_ROW_METHOD void give_numbers() {
        if (!some) {
            const double nan = pack_infinity() - pack_infinity(), none = call.masked_nan ? nan : 0.0;
            set_all(lse, call.masked_nan ? nan : has_sink ? one_of(sink) : -pack_infinity());
            set_all(dalpha, none);
            if (!has_sink || call.masked_nan) set_all(dsink, none);
        }
        if (call.lse) call.lse[row_number] = one_of(lse);
        if (call.dsink) call.dsink[row_number] = one_of(dsink);
        if (call.dalpha) call.dalpha[row_number] = one_of(dalpha);
        if (call.loss) call.loss[row_number] = one_of(loss);
    }
};

// Element `at` of a row is the thread's with rank at % size, in every loop: it alone writes it, so that `out` may be x or grad.
template <class Team, unsigned features, int program, int direction, int kind, class F_>
struct Row : RowNumbers<features, program, direction, kind, F_, double> {
    using Base = RowNumbers<features, program, direction, kind, F_, double>;
    using F = F_;
    using U = double;
    using Fixed = Row;
    static constexpr bool shares = true, at_once = false;
    FASTACT_FUNCTION F shifted_exp(F x, F lowest, F shift) { return defs::shifted_exp(x, lowest, shift); }
    FASTACT_FUNCTION U number(U u) { return u; }
    using At = long long;
    using Base::call, Base::n, Base::gone, Base::some, Base::masked, Base::from_output, Base::has_grad, Base::sums_bias, Base::loss_program, Base::pack_infinity;

    const Stored<kind> *xs, *gs, *softs;
    Stored<kind> *ys;
    long long stride, place;
    const Stored<kind> *biases;
    const unsigned char *wheres;
    long long limit;
    double *bias_slots;  // where this row's gradient of the bias goes
    bool fresh;          // whether nothing is there yet
    double bias_sum;

    FASTACT_ROW_METHOD Row(const RowsCall &c, long long number, double *slots, bool first_of_slots) : Base(c, number), fresh(first_of_slots) {
        const long long o = number / c.inner, i = number - o * c.inner, at = o * c.n * c.inner + i;
        stride = c.inner, place = at;
        xs = static_cast<const Stored<kind> *>(c.x) + at;
        ys = static_cast<Stored<kind> *>(c.out) + at;
        gs = static_cast<const Stored<kind> *>(c.grad) + at;
        softs = static_cast<const Stored<kind> *>(c.soft) + at;
        bias_sum = 0.0;
        if constexpr (features & (BIAS | DBIAS)) {
            const long long from = c.bias_outer[o] + c.bias_inner[i];
            biases = static_cast<const Stored<kind> *>(c.bias) + from;
            bias_slots = slots + from;
        }
        if constexpr ((features & WHERE) != 0) wheres = c.where + c.where_outer[o] + c.where_inner[i];
        limit = features & LIMITS ? c.limits[number] : n;
        if constexpr (masked) {
            bool found = false;
            for (At e = Team::rank(); e < n; e += Team::size()) found |= kept(e);
            this->set_some(Team::all(found, 0.0, [](double a, double b) { return b > a ? b : a; }) > 0.0);
        }
    }

    FASTACT_ROW_METHOD bool kept(At at) const {
        bool in = true;
        if constexpr ((features & WHERE) != 0) in = wheres[at * call.where_step] != 0;
        if constexpr ((features & LIMITS) != 0) in = in && at < limit;
        return in;
    }
    FASTACT_ROW_METHOD F x(At at) const {
        if constexpr (masked) {
            if (!kept(at)) return static_cast<F>(from_output && program != programs::LOG_SOFTMAX ? 0.0 : -pack_infinity());
        }
        F z = widen<kind, F>(xs[at * stride]);
        if constexpr (!from_output) {
            const F scale = static_cast<F>(call.scale);
            if constexpr ((features & BIAS) != 0) z = fma(z, scale, widen<kind, F>(biases[at * call.bias_step]) * static_cast<F>(call.bias_scale));
            else if constexpr ((features & SCALED) != 0) z = z * scale;
            if constexpr ((features & NOISE) != 0) {
                const auto drawn = gumbel_at(static_cast<unsigned long long>(call.seed), static_cast<unsigned long long>(place + at * stride));
                z = z + static_cast<F>(call.bias_scale * drawn);
            }
        }
        return z;
    }
    FASTACT_ROW_METHOD F g(At at) const {
        if constexpr (!has_grad) return F(0);
        else return kept(at) ? widen<kind, F>(gs[at * stride]) : F(0);
    }
    FASTACT_ROW_METHOD F soft(At at) const { return widen<kind, F>(softs[at * stride]); }
    FASTACT_ROW_METHOD F weight(At at) const { return static_cast<F>(call.weight[at]); }
    FASTACT_ROW_METHOD F pack(U u) const { return static_cast<F>(u); }
    FASTACT_ROW_METHOD U unpacked(F v) const { return v; }

    template <class Body> FASTACT_ROW_METHOD void each(Body body) const {
        for (At at = Team::rank(); at < n; at += Team::size()) body(at);
    }
    template <class Term> FASTACT_ROW_METHOD U max(Term term) const {
        F m = static_cast<F>(-pack_infinity());
        for (At at = Team::rank(); at < n; at += Team::size()) m = pymax(m, term(at));
        return Team::all(m, -pack_infinity(), [](double a, double b) { return pymax(a, b); });
    }
    // In float64 with the rounding errors beside it.
    struct Sum {
        double high = 0.0, low = 0.0;
    };
    FASTACT_ROW_METHOD void add(Sum &sum, double v) const {
        const double after = sum.high + v;
        if constexpr (is_float64<F>) {
            const double added = after - sum.high;
            sum.low += (sum.high - (after - added)) + (v - added);
        }
        sum.high = after;
    }
    FASTACT_ROW_METHOD U total(const Sum &sum) const {
        const double v = sum.low == sum.low ? sum.high + sum.low : sum.high;  // NaN where the sum is infinite
        return Team::all(v, 0.0, [](double a, double b) { return a + b; });
    }
    template <class Term> FASTACT_ROW_METHOD U sum(Term term) const {
        Sum s;
        for (At at = Team::rank(); at < n; at += Team::size()) add(s, term(at));
        return total(s);
    }
    template <class Term> FASTACT_ROW_METHOD U exact_sum(Term term) const { return sum(term); }
    template <class Term> FASTACT_ROW_METHOD Results<double, 2> sum2(Term term) const {
        Sum a, b;
        for (At at = Team::rank(); at < n; at += Team::size()) {
            const auto v = term(at);
            add(a, v.a), add(b, v.b);
        }
        return {total(a), total(b)};
    }
    // The first place where `test` holds, 0 if there is none.
    template <class Test> FASTACT_ROW_METHOD U first(Test test) const {
        double found = static_cast<double>(n);
        for (At at = Team::rank(); at < n; at += Team::size())
            if (static_cast<double>(at) < found && test(at)) found = static_cast<double>(at);
        found = Team::all(found, static_cast<double>(n), [](double a, double b) { return b < a ? b : a; });
        return found < static_cast<double>(n) ? found : 0.0;
    }

    FASTACT_ROW_METHOD double *memory(At at) const {
        if constexpr (Team::side_by_side) return call.memory + at * Team::teams() + Team::team();
        else return call.memory + Team::team() * n + at;
    }
    FASTACT_ROW_METHOD F remember(At at, F v) const {
        if constexpr (program == programs::ENTMAX) *memory(at) = v;
        return v;
    }
    template <class Term> FASTACT_ROW_METHOD F recall(At, Term term) const { return term(); }
    FASTACT_ROW_METHOD F recall_only(At at) const { return static_cast<F>(*memory(at)); }

    FASTACT_ROW_METHOD void put(At at, F v) {
        F y = masked && !kept(at) ? gone : v;
        if constexpr (sums_bias) {
            const double term = call.bias_scale * y;
            if (call.bias_step) {
                double &slot = bias_slots[at * call.bias_step];
                slot = fresh ? term : slot + term;
            } else bias_sum += term;
        }
        if constexpr (direction != programs::VALUE && !loss_program && (features & SCALED) != 0) y = y * static_cast<F>(call.scale);
        ys[at * stride] = narrow<kind>(y);
    }
    FASTACT_ROW_METHOD U peek(U at) const { return x(static_cast<At>(at)); }
    FASTACT_ROW_METHOD void poke(U at, U v) {
        const At i = static_cast<At>(at);
        if (i % Team::size() == Team::rank()) put(i, static_cast<F>(v));
    }

    FASTACT_ROW_METHOD void finish() {
        if constexpr (sums_bias) {
            if (!call.bias_step) {
                const double sum = Team::all(bias_sum, 0.0, [](double a, double b) { return a + b; });
                if (Team::rank() == 0) *bias_slots = fresh ? sum : *bias_slots + sum;
            }
        }
        if (!Team::rank()) this->give_numbers();
    }
};

template <class Team, unsigned features, int program, int direction, int kind, class F> FASTACT_FUNCTION void rows(const RowsCall &call) {
    using R = Row<Team, features, program, direction, kind, F>;
    if constexpr ((features & DBIAS) != 0) {  // rows that share their bias are one team's, chunk by chunk
        const long long chunks = (call.group_rows + call.chunk_rows - 1) / call.chunk_rows;
        for (long long unit = Team::team(); unit < call.groups * chunks; unit += Team::teams()) {
            const long long group = unit % call.groups, chunk = unit / call.groups, first = chunk * call.chunk_rows;
            const long long left = call.group_rows - first, count = left < call.chunk_rows ? left : call.chunk_rows;
            for (long long k = 0; k < count; k++) {
                R row(call, call.order[group * call.group_rows + first + k], call.partial + chunk * call.bias_size, k == 0);
                programs::run<program, direction>(row);
                row.finish();
            }
        }
    } else {
        for (long long number = Team::team(); number < call.outer * call.inner; number += Team::teams()) {
            R row(call, number, nullptr, false);
            programs::run<program, direction>(row);
            row.finish();
        }
    }
}

// The sum over chunks, in their order.
FASTACT_FUNCTION void sum_of_chunks(const double *partial, double *dbias, long long chunks, long long size) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= size) return;
    double sum = 0.0;
    for (long long chunk = 0; chunk < chunks; chunk++) sum += partial[chunk * size + i];
    dbias[i] = sum;
}
