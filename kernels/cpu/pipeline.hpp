// Pipelines: activations with what stands before and after them, in one pass over memory. A block of elements at a time goes through
// the compiled loops of the activations and through plain steps, all in the first-level cache: sums with a bias, products with the other
// half of a gated function, with a weight, with what dropout keeps. Gradients of what is broadcast (biases, weights, parameters) are
// summed on the way, in float64, into accumulators of their own for each band (interface.hpp: fastact_job).
//
// Any activation can stand in any place, and no loop is written or compiled for it. Everything between load and store has the working
// type. A result may lie where an operand lies, element by element: a block is read before it is written.

enum : std::size_t { BLOCK_SIZE = 512 };
enum { SUM_LANES = 32 };  // of sums over a block; fixed, so that all instruction sets give the same bits

using Operand = fastact_operand;
using Sum = fastact_sum;
using Factor = fastact_factor;
using Pipeline = fastact_pipeline;

// One block: `rows` rows, from (outer, mid) on, of `run` elements each, from `column` on.
struct Place {
    std::size_t group, strip, outer, mid, column, rows, run, count;
};

// ---------------------------------------------------------------- reading and writing blocks

// Vectorised steps: element i of what is written may be element i of what is read, and nothing else overlaps.
#define FASTACT_EACH(i, count) _Pragma("GCC ivdep") for (std::size_t i = 0; i < (count); i++)

template <class U, std::ptrdiff_t step> static void gather_by(const U *from, U *to, std::size_t n) {
    FASTACT_EACH(i, n) to[i] = from[static_cast<std::ptrdiff_t>(i) * step];
}
template <class U> static void gather(const void *source, std::ptrdiff_t step, U *to, std::size_t n) {
    const U *from = static_cast<const U *>(source);
    if (step == 2) return gather_by<U, 2>(from, to, n);
    for (std::size_t i = 0; i < n; i++) to[i] = from[static_cast<std::ptrdiff_t>(i) * step];
}
template <class U> static void scatter(const U *from, void *target, std::ptrdiff_t step, std::size_t n) {
    U *to = static_cast<U *>(target);
    for (std::size_t i = 0; i < n; i++) to[static_cast<std::ptrdiff_t>(i) * step] = from[i];
}
template <class U> static void interleave(const U *a, const U *b, U *to, std::size_t n) {
    FASTACT_EACH(i, n) to[2 * i] = a[i], to[2 * i + 1] = b[i];
}

template <class T> static constexpr int own_kind = sizeof(T) == 8 ? FLOAT64 : FLOAT32;

// n stored elements, `step` apart, as T.
template <class T> static void read_run(int kind, const char *from, std::ptrdiff_t step, T *to, std::size_t n) {
    if (step == 1) {
        if (kind == own_kind<T>) __builtin_memcpy(to, from, n * sizeof(T));
        else widen_any(kind, from, to, n);
    } else if (step == 0) {
        T value;
        widen_any(kind, from, &value, 1);
        for (std::size_t i = 0; i < n; i++) to[i] = value;
    } else if (kind == own_kind<T>) {
        gather(from, step, to, n);
    } else {
        alignas(64) char stored[BLOCK_SIZE * 4];  // halves, or float32 as T is double
        if (kind == FLOAT32) gather(from, step, reinterpret_cast<float *>(stored), n);
        else gather(from, step, reinterpret_cast<std::uint16_t *>(stored), n);
        widen_any(kind, stored, to, n);
    }
}
template <class T> static void write_run(int kind, const T *from, char *to, std::ptrdiff_t step, std::size_t n) {
    if (step == 1) {
        if (kind == own_kind<T>) __builtin_memcpy(to, from, n * sizeof(T));
        else narrow_any(kind, from, to, n);
    } else if (kind == own_kind<T>) {
        scatter(from, to, step, n);
    } else {
        alignas(64) char stored[BLOCK_SIZE * 4];
        narrow_any(kind, from, stored, n);
        if (kind == FLOAT32) scatter(reinterpret_cast<const float *>(stored), to, step, n);
        else scatter(reinterpret_cast<const std::uint16_t *>(stored), to, step, n);
    }
}

static char *address(const Pipeline &p, const Operand &o, const Place &at) {
    const auto outer = static_cast<std::ptrdiff_t>(at.outer), mid = static_cast<std::ptrdiff_t>(at.mid);
    const auto elements = outer * o.stride[0] + mid * o.stride[1] + static_cast<std::ptrdiff_t>(at.column) * o.stride[2];
    return o.data + elements * static_cast<std::ptrdiff_t>(kind_size[p.kind]);
}
// Whether the block's rows follow each other in memory, and so are one run.
static bool one_run(const Pipeline &p, const std::ptrdiff_t *stride, const Place &at) {
    if (at.rows == 1) return true;
    const auto n = static_cast<std::ptrdiff_t>(p.n), mid = static_cast<std::ptrdiff_t>(p.mid);
    return (p.mid == 1 || stride[1] == n * stride[2]) && (p.outer == 1 || stride[0] == mid * n * stride[2]);
}
// Calls run(place of each row of the block, first element of it).
template <class Run> static void each_row(const Pipeline &p, Place at, Run run) {
    for (std::size_t r = 0; r < at.rows; r++) {
        run(at, r * at.run);
        if (++at.mid == p.mid) at.mid = 0, at.outer++;
    }
}

// A block of an operand: where its elements are, and 0 as `step` if they are all the first one (which then stands SPLAT times).
template <class T> struct Elements {
    const T *data;
    std::ptrdiff_t step;
};

template <class T> struct Reader {
    const Operand *bound = nullptr;
    const char *last = nullptr;  // what the buffer still holds
    std::size_t held = 0;
    alignas(64) T buffer[BLOCK_SIZE];

    Reader() {}  // buffers stay as they are
    explicit Reader(const Operand &o) : bound(&o) {}

    Elements<T> constant(T value) {
        for (std::size_t i = 0; i < SPLAT; i++) buffer[i] = value;
        return {buffer, 0};
    }
    Elements<T> read(const Pipeline &p, const Place &at) {
        const Operand &operand = *bound;
        if (!operand.data) {
            if (!held) constant(static_cast<T>(operand.number));
            held = 1;
            return {buffer, 0};
        }
        const std::ptrdiff_t *stride = operand.stride;
        const char *from = address(p, operand, at);
        if (one_run(p, stride, at)) {
            if (stride[2] == 1 && p.kind == own_kind<T>) return {reinterpret_cast<const T *>(from), 1};
            if (stride[2] == 0) {
                if (from != last) {
                    T value;
                    read_run(p.kind, from, 1, &value, 1);
                    constant(value);
                }
                last = from;
                return {buffer, 0};
            }
            read_run(p.kind, from, stride[2], buffer, at.count);
            return {buffer, 1};
        }
        if (stride[0] == 0 && stride[1] == 0) {  // the same in every row, and so in every block
            if (from == last && at.count <= held) return {buffer, 1};
            last = from, held = at.count;
            read_run(p.kind, from, stride[2], buffer, at.run);
            for (std::size_t i = at.run; i < at.count; i += at.run) __builtin_memcpy(buffer + i, buffer, at.run * sizeof(T));
            return {buffer, 1};
        }
        each_row(p, at, [&](const Place &row, std::size_t i) { read_run(p.kind, address(p, operand, row), stride[2], buffer + i, at.run); });
        return {buffer, 1};
    }
    // The same, with all elements there.
    const T *spread(const Pipeline &p, const Place &at) {
        const Elements<T> e = read(p, at);
        if (e.step) return e.data;
        const T value = e.data[0];
        for (std::size_t i = 0; i < at.count; i++) buffer[i] = value;
        last = nullptr, held = 0;
        return buffer;
    }
};

template <class T> struct Writer {
    const Operand &operand;
    bool direct = false;
    alignas(64) T buffer[BLOCK_SIZE];

    explicit Writer(const Operand &o) : operand(o) {}

    // Where the block's results go before `close`: to memory at once, if it takes them as they are.
    T *open(const Pipeline &p, const Place &at) {
        direct = p.kind == own_kind<T> && operand.stride[2] == 1 && one_run(p, operand.stride, at);
        return direct ? reinterpret_cast<T *>(address(p, operand, at)) : buffer;
    }
    void close(const Pipeline &p, const Place &at) {
        if (direct) return;
        const std::ptrdiff_t step = operand.stride[2];
        if (one_run(p, operand.stride, at)) write_run(p.kind, buffer, address(p, operand, at), step, at.count);
        else
            each_row(p, at, [&](const Place &row, std::size_t i) { write_run(p.kind, buffer + i, address(p, operand, row), step, at.run); });
    }
};

// Two results that lie between each other, element by element.
template <class T> static bool close_interleaved(const Pipeline &p, const Place &at, Writer<T> &a, Writer<T> &b) {
    const Operand &x = a.operand, &y = b.operand;
    if (x.stride[2] != 2 || y.stride[2] != 2 || y.data != x.data + kind_size[p.kind]) return false;
    const auto one = [&](const Place &row, std::size_t i) {
        char *to = address(p, x, row);
        if (p.kind == own_kind<T>) return interleave(a.buffer + i, b.buffer + i, reinterpret_cast<T *>(to), row.run);
        alignas(64) char first[BLOCK_SIZE * 4], second[BLOCK_SIZE * 4];
        narrow_any(p.kind, a.buffer + i, first, row.run);
        narrow_any(p.kind, b.buffer + i, second, row.run);
        if (p.kind == FLOAT32)
            interleave(reinterpret_cast<float *>(first), reinterpret_cast<float *>(second), reinterpret_cast<float *>(to), row.run);
        else
            interleave(reinterpret_cast<std::uint16_t *>(first), reinterpret_cast<std::uint16_t *>(second), reinterpret_cast<std::uint16_t *>(to), row.run);
    };
    if (one_run(p, x.stride, at)) {
        Place whole = at;
        whole.run = at.count;
        one(whole, 0);
    } else each_row(p, at, one);
    return true;
}

// ---------------------------------------------------------------- sums

// The sum of n numbers in float64: SUM_LANES partial sums, then pairs of them, whatever the width of a vector.
template <class T> static double block_sum(const T *terms, std::size_t n) {
    constexpr int lanes = Lanes<VecD>::count, count = SUM_LANES / lanes;
    static_assert(SUM_LANES % lanes == 0);
    VecD sums[count];
    for (VecD &s : sums) s = fill<VecD>(0.0);
    alignas(64) T rest[SUM_LANES];
    for (std::size_t i = 0; i < n; i += SUM_LANES) {
        const T *from = terms + i;
        if (n - i < SUM_LANES) {
            for (int j = 0; j < SUM_LANES; j++) rest[j] = T(0);
            __builtin_memcpy(rest, from, (n - i) * sizeof(T));
            from = rest;
        }
        for (int j = 0; j < count; j++) {
#if FASTACT_VECTOR_BYTES
            typedef T Half __attribute__((vector_size(lanes * sizeof(T))));
            sums[j] += __builtin_convertvector(load_vec<Half>(from + j * lanes), VecD);
#else
            sums[j] += static_cast<double>(from[j]);
#endif
        }
    }
    double all[SUM_LANES];
    for (int j = 0; j < count; j++) store(all + j * lanes, sums[j]);
    for (int left = SUM_LANES / 2; left; left /= 2)
        for (int j = 0; j < left; j++) all[j] += all[j + left];
    return all[0];
}
template <class T> static void add_each(const T *terms, double *sums, std::size_t n) {
    FASTACT_EACH(i, n) sums[i] += static_cast<double>(terms[i]);
}

template <class T> static void add_terms(const Pipeline &p, const Place &at, const Sum &sum, const T *terms) {
    double *const data = sum.data + static_cast<std::ptrdiff_t>(at.group) * sum.group + static_cast<std::ptrdiff_t>(at.strip) * sum.strip;
    const auto target = [&](const Place &row) {
        return data + static_cast<std::ptrdiff_t>(row.outer) * sum.stride[0] + static_cast<std::ptrdiff_t>(row.mid) * sum.stride[1] +
               static_cast<std::ptrdiff_t>(row.column) * sum.stride[2];
    };
    if (at.rows == 1 || (!sum.stride[0] && !sum.stride[1] && !sum.stride[2])) {
        if (sum.stride[2]) add_each(terms, target(at), at.count);
        else *target(at) += block_sum(terms, at.count);
        return;
    }
    each_row(p, at, [&](const Place &row, std::size_t i) {
        if (sum.stride[2]) return add_each(terms + i, target(row), at.run);
        if (at.run >= SUM_LANES) *target(row) += block_sum(terms + i, at.run);
        else {
            double s = 0.0;
            for (std::size_t j = 0; j < at.run; j++) s += static_cast<double>(terms[i + j]);
            *target(row) += s;
        }
    });
}

// ---------------------------------------------------------------- steps

// to = from op operand, which is an array or a number.
template <class T, class Op> static void combine(const T *from, Elements<T> with, T *to, std::size_t n, Op op) {
    if (with.step) {
        FASTACT_EACH(i, n) to[i] = op(from[i], with.data[i]);
    } else {
        const T value = with.data[0];
        FASTACT_EACH(i, n) to[i] = op(from[i], value);
    }
}
template <class T> static void multiply(const T *from, Elements<T> with, T *to, std::size_t n) {
    combine(from, with, to, n, [](T a, T b) { return a * b; });
}

// The factors of dropout: 0 where an element is dropped. As fastact/noise.py draws: SplitMix64, its upper 24 bits.
template <class T> static void draw(const Pipeline &p, const Place &at, T *kept) {
    const T scale = static_cast<T>(p.scale);
    each_row(p, at, [&](const Place &row, std::size_t first) {
        const std::uint64_t step = 0x9E3779B97F4A7C15u, threshold = p.threshold;
        const auto index = static_cast<std::uint64_t>(static_cast<std::ptrdiff_t>(row.outer) * p.index[0] +
                                                      static_cast<std::ptrdiff_t>(row.mid) * p.index[1] +
                                                      static_cast<std::ptrdiff_t>(row.column) * p.index[2]);
        const std::uint64_t begin = p.seed + (index + 1) * step, more = static_cast<std::uint64_t>(p.index[2]) * step;
        T *to = kept + first;
        for (std::size_t i = 0; i < at.run; i++) {
            std::uint64_t z = begin + i * more;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
            z ^= z >> 31;
            to[i] = static_cast<std::int64_t>(z >> 40) < static_cast<std::int64_t>(threshold) ? scale : T(0);
        }
    });
}
template <class T> static void drop(const T *from, const T *kept, T *to, std::size_t n) {
    FASTACT_EACH(i, n) to[i] = kept[i] != T(0) ? from[i] * kept[i] : T(0);
}

// ---------------------------------------------------------------- gates
//
// The functions that most gated models use have loops of their own, in float32: value and slope from one exponential, to the few ULP that
// a product deserves, and the product in the same loop.

struct SiluGate {
    template <class F> FASTACT_FUNCTION auto at(F x) { return defs::silu_gate(x); }
};

// value * other, or the value alone if there is no other.
template <class Gate, bool product> static void gate_value(const float *x, const float *other, float *out, std::size_t n) {
    constexpr std::size_t width = Lanes<PackF>::count;
    std::size_t i = 0;
    const auto one = [](const float *x, const float *other, float *out) __attribute__((always_inline)) {
        const auto r = Gate::at(load<PackF>(x));
        if constexpr (product) store(out, r.a * load<PackF>(other));
        else store(out, r.a);
    };
    for (; i + width <= n; i += width) one(x + i, product ? other + i : nullptr, out + i);
    if (i < n) {
        alignas(64) float from[2][width] = {}, to[width];
        __builtin_memcpy(from[0], x + i, (n - i) * sizeof(float));
        if (product) __builtin_memcpy(from[1], other + i, (n - i) * sizeof(float));
        one(from[0], from[1], to);
        __builtin_memcpy(out + i, to, (n - i) * sizeof(float));
    }
}
template <class Gate> static void gate_both(const float *x, float *value, float *slope, std::size_t n) {
    constexpr std::size_t width = Lanes<PackF>::count;
    std::size_t i = 0;
    const auto one = [](const float *x, float *value, float *slope) __attribute__((always_inline)) {
        const auto r = Gate::at(load<PackF>(x));
        store(value, r.a), store(slope, r.b);
    };
    for (; i + width <= n; i += width) one(x + i, value + i, slope + i);
    if (i < n) {
        alignas(64) float from[width] = {}, v[width], s[width];
        __builtin_memcpy(from, x + i, (n - i) * sizeof(float));
        one(from, v, s);
        __builtin_memcpy(value + i, v, (n - i) * sizeof(float));
        __builtin_memcpy(slope + i, s, (n - i) * sizeof(float));
    }
}
// dx = grad * other * slope, dother = grad * value.
template <class Gate>
static void gate_backward(const float *grad, const float *x, const float *other, float *dx, float *dother, std::size_t n) {
    constexpr std::size_t width = Lanes<PackF>::count;
    std::size_t i = 0;
    const auto one = [](const float *grad, const float *x, const float *other, float *dx, float *dother) __attribute__((always_inline)) {
        const auto r = Gate::at(load<PackF>(x));
        const PackF g = load<PackF>(grad), u = load<PackF>(other);
        store(dx, (g * u) * r.b), store(dother, g * r.a);
    };
    for (; i + width <= n; i += width) one(grad + i, x + i, other + i, dx + i, dother + i);
    if (i < n) {
        const std::size_t left = (n - i) * sizeof(float);
        alignas(64) float from[3][width] = {}, to[2][width];
        __builtin_memcpy(from[0], grad + i, left), __builtin_memcpy(from[1], x + i, left), __builtin_memcpy(from[2], other + i, left);
        one(from[0], from[1], from[2], to[0], to[1]);
        __builtin_memcpy(dx + i, to[0], left), __builtin_memcpy(dother + i, to[1], left);
    }
}

// One factor, function(clamp(x + bias)) + offset, of one block after the other.
template <class T> struct Stage {
    const Factor &f;
    Reader<T> x, bias;
    Reader<T> params[MAX_INPUTS];
    Elements<T> with[MAX_INPUTS];
    const T *z, *t;  // x + bias; clamped
    const T *value;  // and this is the function's, with offset
    const T *slope;  // null: 1
    alignas(64) T z_[BLOCK_SIZE], t_[BLOCK_SIZE], value_[BLOCK_SIZE], slope_[BLOCK_SIZE];

    explicit Stage(const Factor &factor) : f(factor), x(factor.x), bias(factor.bias) {
        for (int k = 0; k < f.params; k++) params[k].bound = &f.param[k];
    }

    bool learnable() const { return f.backward && f.backward->outputs > 1; }

    void prepare(const Pipeline &p, const Place &at) {
        const std::size_t n = at.count;
        z = x.spread(p, at);
        if (f.bias.present) {
            combine(z, bias.read(p, at), z_, n, [](T a, T b) { return a + b; });
            z = z_;
        }
        t = z;
        if (f.clamped) {
            const T low = static_cast<T>(f.low), high = static_cast<T>(f.high), *from = z;
            FASTACT_EACH(i, n) {
                const T above = from[i] < low ? low : from[i];
                t_[i] = above > high ? high : above;
            }
            t = t_;
        }
        if (f.value)
            for (int k = 0; k < f.params; k++) with[k] = params[k].read(p, at);
    }
    void run(const Entry *entry, const T *grad, T *const *out, std::size_t n) {
        const void *in[MAX_INPUTS];
        std::ptrdiff_t step[MAX_INPUTS];
        int k = 0;
        if (grad) in[k] = grad, step[k++] = 1;
        in[k] = t, step[k++] = 1;
        for (int j = 0; j < f.params; j++) in[k] = with[j].data, step[k++] = with[j].step;
        loop_of<T>(entry, in, step, out, n);
    }
    bool gate() const { return sizeof(T) == 4 && f.gate; }
    void add_offset(std::size_t n) {
        if (f.offset == 0.0) return;
        const T offset = static_cast<T>(f.offset), *from = value;
        FASTACT_EACH(i, n) value_[i] = from[i] + offset;
        value = value_;
    }
    // The value, into `to` if it can be put there.
    void evaluate(const Pipeline &p, const Place &at, T *to = nullptr) {
        prepare(p, at);
        value = t;
        if (f.value) {
            T *const out = to && f.offset == 0.0 ? to : value_;
            if constexpr (sizeof(T) == 4) {
                if (f.gate && !to) gate_value<SiluGate, false>(t, nullptr, out, at.count);
                else run(f.value, nullptr, &out, at.count);
            } else run(f.value, nullptr, &out, at.count);
            value = out;
        }
        add_offset(at.count);
    }
    // The slope has the factor 0 where what is clamped is outside; edges pass.
    void clamp_slope(std::size_t n) {
        if (!f.clamped) return;
        const T low = static_cast<T>(f.low), high = static_cast<T>(f.high), *from = slope, *at = z;
        if (from) {
            FASTACT_EACH(i, n) slope_[i] = from[i] * ((at[i] < low) | (at[i] > high) ? T(0) : T(1));
        } else {
            FASTACT_EACH(i, n) slope_[i] = (at[i] < low) | (at[i] > high) ? T(0) : T(1);
        }
        slope = slope_;
    }
    // Value and slope; of learnable ones, whose own loop multiplies the slope, what clamping leaves of it.
    void differentiate(const Pipeline &p, const Place &at) {
        prepare(p, at);
        value = t, slope = nullptr;
        if (f.value) {
            T *const out[2] = {value_, slope_};
            bool done = false;
            if constexpr (sizeof(T) == 4)
                if (f.gate) gate_both<SiluGate>(t, value_, slope_, at.count), done = true;
            if (!done) run(learnable() ? f.value : f.both, nullptr, out, at.count);
            value = value_;
            if (!learnable()) slope = slope_;
        }
        add_offset(at.count);
        clamp_slope(at.count);
    }
};

// The gradients of two factors from `grad` on: one loop, as a result may lie where `grad` or the other's operand does.
template <bool first, bool second, class T>
static void chain(const T *grad, const Stage<T> &a, const Stage<T> &b, T *da, T *db, std::size_t n) {
    const T *v = a.value, *u = b.value, *s = a.slope, *r = b.slope;
    FASTACT_EACH(i, n) {
        const T g = grad[i];
        T x = g * u[i], y = g * v[i];
        if constexpr (first) x = x * s[i];
        if constexpr (second) y = y * r[i];
        da[i] = x, db[i] = y;
    }
}

// ---------------------------------------------------------------- the modes

template <class T> struct Forward {
    const Pipeline &p;
    Stage<T> a, b;
    Reader<T> weight;
    Writer<T> out;
    alignas(64) T kept[BLOCK_SIZE];

    explicit Forward(const Pipeline &p) : p(p), a(p.factor[0]), b(p.factor[1]), weight(p.weight), out(p.out) {}

    bool gated(Stage<T> &gate, Stage<T> &other, T *y, const Place &at) {
        if constexpr (sizeof(T) == 4) {
            if (!gate.f.gate || gate.f.offset != 0.0 || other.f.gate) return false;
            gate.prepare(p, at), other.evaluate(p, at);
            gate_value<SiluGate, true>(gate.t, other.value, y, at.count);
            return true;
        } else return false;
    }

    void operator()(const Place &at) {
        const std::size_t n = at.count;
        T *const y = out.open(p, at);
        const T *from;
        if (p.factors == 2) {
            if (!gated(a, b, y, at) && !gated(b, a, y, at)) {
                a.evaluate(p, at), b.evaluate(p, at);
                multiply(a.value, Elements<T>{b.value, 1}, y, n);
            }
            from = y;
        } else {
            a.evaluate(p, at, y);
            from = a.value;
        }
        if (p.weight.present) multiply(from, weight.read(p, at), y, n), from = y;
        if (p.dropout) draw(p, at, kept), drop(from, kept, y, n), from = y;
        if (from != y) __builtin_memmove(y, from, n * sizeof(T));
        out.close(p, at);
    }
};

template <class T> struct Backward {
    const Pipeline &p;
    Stage<T> a, b;
    Reader<T> grad, weight;
    Writer<T> da, db;
    const bool learnable;
    alignas(64) T kept[BLOCK_SIZE], g_[BLOCK_SIZE], product[BLOCK_SIZE], up[BLOCK_SIZE], terms[MAX_OUTPUTS][BLOCK_SIZE];

    explicit Backward(const Pipeline &p)
        : p(p), a(p.factor[0]), b(p.factor[1]), grad(p.grad), weight(p.weight), da(p.factor[0].dx), db(p.factor[1].dx),
          learnable(a.learnable() || (p.factors == 2 && b.learnable())) {}

    // A gate with nothing but a bias about it or about the other half.
    bool plain_gate(const Stage<T> &gate, const Stage<T> &other) const {
        return gate.gate() && !other.f.value && !gate.f.clamped && !other.f.clamped && gate.f.offset == 0.0 && other.f.offset == 0.0;
    }

    // Through a loop that gives the terms of the parameters' gradients too; `to` may lie where x does.
    void through(Stage<T> &stage, const T *from, T *to, const Place &at) {
        const std::size_t n = at.count;
        if (!stage.f.value) {
            if (to != from) __builtin_memmove(to, from, n * sizeof(T));
        } else {
            T *out[MAX_OUTPUTS] = {to};
            for (int k = 1; k < stage.f.backward->outputs; k++) out[k] = terms[k - 1];
            stage.run(stage.f.backward, from, out, n);
            for (int k = 1; k < stage.f.backward->outputs; k++)
                if (stage.f.dparam[k - 1].data) add_terms(p, at, stage.f.dparam[k - 1], terms[k - 1]);
        }
        if (stage.slope) multiply(to, Elements<T>{stage.slope, 1}, to, n);
    }

    void operator()(const Place &at) {
        const std::size_t n = at.count;
        const T *g = grad.spread(p, at);
        if (p.dropout) draw(p, at, kept), drop(g, kept, g_, n), g = g_;
        const bool valued = p.factors == 2 || p.dweight.data;
        T *x = da.open(p, at), *y = p.factors == 2 ? db.open(p, at) : nullptr;
        const bool fast = p.factors == 2 && !p.dweight.data && (plain_gate(a, b) || plain_gate(b, a));
        if (fast) a.prepare(p, at), b.prepare(p, at);
        else if (p.factors == 2) a.differentiate(p, at), b.differentiate(p, at);
        else if (valued) a.evaluate(p, at), a.slope = nullptr, a.clamp_slope(n);
        else a.prepare(p, at), a.slope = nullptr, a.clamp_slope(n);
        if (p.dweight.data) {
            multiply(g, Elements<T>{a.value, 1}, product, n);
            if (p.factors == 2) multiply(product, Elements<T>{b.value, 1}, product, n);
            add_terms(p, at, p.dweight, product);
        }
        if (p.weight.present) multiply(g, weight.read(p, at), g_, n), g = g_;
        if (fast) {
            if constexpr (sizeof(T) == 4) {
                if (a.f.gate) gate_backward<SiluGate>(g, a.t, b.t, x, y, n);
                else gate_backward<SiluGate>(g, b.t, a.t, y, x, n);
            }
        } else if (p.factors == 1) {
            through(a, g, x, at);
        } else if (learnable) {  // one after the other: what the second reads must not be written yet
            T *const first = product;
            multiply(g, Elements<T>{b.value, 1}, up, n);
            one(a, up, first, at);
            multiply(g, Elements<T>{a.value, 1}, up, n);
            one(b, up, y, at);
            __builtin_memcpy(x, first, n * sizeof(T));
        } else if (a.slope && b.slope) chain<true, true>(g, a, b, x, y, n);
        else if (a.slope) chain<true, false>(g, a, b, x, y, n);
        else if (b.slope) chain<false, true>(g, a, b, x, y, n);
        else chain<false, false>(g, a, b, x, y, n);
        if (a.f.dbias.data) add_terms(p, at, a.f.dbias, x);
        if (p.factors == 2 && b.f.dbias.data) add_terms(p, at, b.f.dbias, y);
        if (p.factors == 2) {
            if (da.direct || db.direct || !close_interleaved(p, at, da, db)) da.close(p, at), db.close(p, at);
        } else da.close(p, at);
    }
    void one(Stage<T> &stage, const T *from, T *to, const Place &at) {
        if (stage.learnable()) through(stage, from, to, at);
        else if (stage.slope) multiply(from, Elements<T>{stage.slope, 1}, to, at.count);
        else __builtin_memcpy(to, from, at.count * sizeof(T));
    }
};

// An elementwise loss of x (factor[0]) and a target: its value, summed or stored, and its gradient with respect to x.
template <class T> struct Loss {
    const Pipeline &p;
    Stage<T> x;
    Reader<T> target, weight, grad;
    Writer<T> out, dx;
    alignas(64) T loss[BLOCK_SIZE], slope[BLOCK_SIZE];

    explicit Loss(const Pipeline &p) : p(p), x(p.factor[0]), target(p.target), weight(p.weight), grad(p.grad), out(p.out), dx(p.factor[0].dx) {}

    void operator()(const Place &at) {
        const std::size_t n = at.count;
        x.prepare(p, at);
        const void *in[MAX_INPUTS] = {x.t, target.spread(p, at)};
        std::ptrdiff_t step[MAX_INPUTS] = {1, 1};
        for (int j = 0; j < x.f.params; j++) in[2 + j] = x.with[j].data, step[2 + j] = x.with[j].step;
        T *const to[2] = {loss, slope};
        const bool differentiated = x.f.dx.data;
        loop_of<T>(differentiated ? x.f.both : x.f.value, in, step, to, n);
        if (p.weight.present) {
            const Elements<T> w = weight.read(p, at);
            multiply(loss, w, loss, n);
            if (differentiated) multiply(slope, w, slope, n);
        }
        if (p.total.data) add_terms(p, at, p.total, loss);
        if (differentiated) {
            if (p.grad.present) multiply(slope, grad.read(p, at), slope, n);
            const T scale = static_cast<T>(p.scale);
            T *const d = dx.open(p, at);
            FASTACT_EACH(i, n) d[i] = slope[i] * scale;
        }
        if (p.out.data) {
            T *const l = out.open(p, at);
            __builtin_memcpy(l, loss, n * sizeof(T));
            out.close(p, at);
        }
        if (differentiated) dx.close(p, at);
    }
};

// Bit i: whether slope i is nearer to `high` than to `low`. n bits from a border of bytes on; the last byte is filled up with zeros.
template <class T> static void pack_bits(const T *slope, T low, T high, unsigned char *bits, std::size_t n) {
    alignas(64) unsigned char flags[BLOCK_SIZE + 8];
    const T middle = low + (high - low) / 2;
    if (low < high) {
        FASTACT_EACH(i, n) flags[i] = slope[i] > middle;
    } else {
        FASTACT_EACH(i, n) flags[i] = slope[i] < middle;
    }
    for (std::size_t i = n; i < (n + 7) / 8 * 8; i++) flags[i] = 0;
    for (std::size_t i = 0; i < n; i += 8) {  // eight bytes, each 0 or 1: the product brings them side by side in the highest byte
        std::uint64_t eight = 0;
        for (int j = 7; j >= 0; j--) eight = eight << 8 | flags[i + static_cast<std::size_t>(j)];
        bits[i / 8] = static_cast<unsigned char>(eight * 0x0102040810204080u >> 56);
    }
}
template <class T> static void by_bits(const T *grad, const unsigned char *bits, T low, T high, T *out, std::size_t n) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const std::int32_t byte = bits[i / 8];
        T with[8];
        for (int j = 0; j < 8; j++) with[j] = byte >> j & 1 ? high : low;
        T result[8];
        for (int j = 0; j < 8; j++) result[j] = grad[i + static_cast<std::size_t>(j)] * with[j];
        __builtin_memcpy(out + i, result, sizeof result);
    }
    for (; i < n; i++) out[i] = grad[i] * (bits[i / 8] >> (i % 8) & 1 ? high : low);
}

template <class T> struct WithMask {
    const Pipeline &p;
    Stage<T> x;
    Writer<T> out;
    explicit WithMask(const Pipeline &p) : p(p), x(p.factor[0]), out(p.out) {}
    void operator()(const Place &at) {
        x.differentiate(p, at);
        T *const y = out.open(p, at);
        __builtin_memcpy(y, x.value, at.count * sizeof(T));
        out.close(p, at);
        pack_bits(x.slope, static_cast<T>(p.slope[0]), static_cast<T>(p.slope[1]), p.bits + at.column / 8, at.count);
    }
};
template <class T> struct FromMask {
    const Pipeline &p;
    Reader<T> grad;
    Writer<T> dx;
    explicit FromMask(const Pipeline &p) : p(p), grad(p.grad), dx(p.factor[0].dx) {}
    void operator()(const Place &at) {
        const T *g = grad.spread(p, at);
        by_bits(g, p.bits + at.column / 8, static_cast<T>(p.slope[0]), static_cast<T>(p.slope[1]), dx.open(p, at), at.count);
        dx.close(p, at);
    }
};

// ---------------------------------------------------------------- bands

template <class Body> static __attribute__((noinline)) void run_band(const Pipeline &p, std::size_t band) {
    Body body(p);
    Place at;
    at.group = band / p.strips, at.strip = band % p.strips;
    const std::size_t begin = at.group * p.units / p.groups * p.unit, rows = p.outer * p.mid;
    std::size_t end = (at.group + 1) * p.units / p.groups * p.unit;
    if (end > rows) end = rows;
    at.outer = begin / p.mid, at.mid = begin % p.mid;
    const std::size_t first = at.strip * p.strip, last = first + p.strip < p.n ? first + p.strip : p.n;
    if (p.packed) {
        at.column = 0, at.run = p.n;
        for (std::size_t row = begin; row < end; row += at.rows) {
            at.rows = end - row < p.block ? end - row : p.block;
            at.count = at.rows * p.n;
            at.outer = row / p.mid, at.mid = row % p.mid;
            body(at);
        }
        return;
    }
    at.rows = 1;
    for (std::size_t row = begin; row < end; row++) {
        for (at.column = first; at.column < last; at.column += p.block) {
            at.run = at.count = last - at.column < p.block ? last - at.column : p.block;
            body(at);
        }
        if (++at.mid == p.mid) at.mid = 0, at.outer++;
    }
}
template <class T> static void run_mode(const Pipeline &p, std::size_t band) {
    switch (p.mode) {
    case FORWARD: return run_band<Forward<T>>(p, band);
    case BACKWARD: return run_band<Backward<T>>(p, band);
    case LOSS: return run_band<Loss<T>>(p, band);
    case WITH_MASK: return run_band<WithMask<T>>(p, band);
    default: return run_band<FromMask<T>>(p, band);
    }
}
static void pipeline(const fastact_job *job, std::size_t band) {
    const Pipeline &p = *reinterpret_cast<const Pipeline *>(job);
    if (p.wide || p.kind == FLOAT64) run_mode<double>(p, band);
    else run_mode<float>(p, band);
}
