// Row-wise calls along any axis but the last: data is [outer][n][inner], and neighbours in memory are elements of different rows, which are
// called columns here.
//
// `Columns` is the executor of rows/programs.hpp that brings a tile of neighbouring columns to shared memory, 16 bytes at a time where they lie
// so, and keeps it there until the results have taken its place: memory is passed over once. A column is
// taken by one thread, or by several of a block, each `groups` rows further, or by those of a cluster of blocks. Threads of a warp have
// neighbouring columns. What there is no room for is read again wherever a program asks for it.
//
// Where threads share a column they meet in every reduction, so all of a block or a cluster go the same way: `any` asks them all. Threads
// beyond the last column follow it: they have no elements, and its numbers.

#define FASTACT_SHARED static __device__ __forceinline__
#include "cluster.cuh"
#include "rows.cuh"

// How a call is cut into tiles, a field a line: entry points are written from this.
struct Tiling {
    int width;    // neighbouring columns of a tile, of one outer index,
    int many;     // and of how many outer indices: more than one only where `width` is all of inner
    int across;   // tiles beside each other
    int rows;     // of a column, for each block
    int room;     // of them in shared memory
    int apart;    // elements from one outer index to the next there
    int groups;   // of threads: each takes every so manieth row
    int vectors;  // whether all that is moved lies on borders of 16 bytes
};

// ---------------------------------------------------------------- numbers of a column

// A column's numbers, where threads share it: those of a block, or of several.
template <class T, int blocks> struct Across {
    T v;
};
constexpr int FLAGS = 64;  // bytes, before all else in shared memory

// Whether any thread of the block or the cluster says so.
template <int blocks> FASTACT_FUNCTION bool any_of_all(bool one) {
    if constexpr (blocks > 1) cluster_arrive();
    bool found = __syncthreads_or(one) != 0;
    if constexpr (blocks > 1) {
        auto *const flags = reinterpret_cast<float *>(shared_memory());
        cluster_wait();  // what was there has been read
        if (threadIdx.x < blocks) give(flags + cluster_rank(), static_cast<int>(threadIdx.x), found ? 1.0f : 0.0f);
        __syncwarp();
        cluster_arrive();
        cluster_wait();
#pragma unroll
        for (int b = 0; b < blocks; b++) found |= flags[b] != 0.0f;
    }
    return found;
}
template <class Function, class T, int blocks, class... U> FASTACT_FUNCTION Across<T, blocks> lanes(Function f, Across<T, blocks> first, U... rest) {
    return {static_cast<T>(f(first.v, rest.v...))};
}
template <class Function, class T, int blocks, class... U> FASTACT_FUNCTION bool any(Function f, Across<T, blocks> first, U... rest) {
    return any_of_all<blocks>(f(first.v, rest.v...));
}
template <class T, int blocks> FASTACT_FUNCTION void set_all(Across<T, blocks> &u, double value) { u.v = static_cast<T>(value); }
template <class T, int blocks> FASTACT_FUNCTION double one_of(Across<T, blocks> u) { return u.v; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator+(Across<T, b> x, Across<T, b> y) { return {x.v + y.v}; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator-(Across<T, b> x, Across<T, b> y) { return {x.v - y.v}; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator*(Across<T, b> x, Across<T, b> y) { return {x.v * y.v}; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator+(Across<T, b> x, double y) { return {x.v + static_cast<T>(y)}; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator-(Across<T, b> x, double y) { return {x.v - static_cast<T>(y)}; }
template <class T, int b> FASTACT_FUNCTION Across<T, b> operator-(Across<T, b> x) { return {-x.v}; }

template <class N, int blocks> struct ColumnNumber { using type = Across<N, blocks>; };
template <class N> struct ColumnNumber<N, 0> { using type = N; };

FASTACT_FUNCTION float exp2_approximately(float x) {
#ifdef FASTACT_HOST
    return ::exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
// One instruction; passes over NaN.
FASTACT_FUNCTION float larger(float a, float b) { return ::fmaxf(a, b); }
FASTACT_FUNCTION double larger(double a, double b) { return pymax(a, b); }
template <bool first, class A, class B> struct Chosen { using type = A; };
template <class A, class B> struct Chosen<false, A, B> { using type = B; };
template <int kind, class F> FASTACT_FUNCTION Words words_of(const F *v) { return pack<kind>(v); }  // not the executor's own `pack`

// ---------------------------------------------------------------- the executor

// `blocks` is of a column: 0 if one thread takes it. `beyond`: whether some of it may not be in shared memory.
template <int blocks, bool beyond, unsigned features, int program, int direction, int kind, class F_, class N_>
struct Columns : RowNumbers<features, program, direction, kind, F_, typename ColumnNumber<N_, blocks>::type> {
    using F = F_;
    using N = N_;
    using U = typename ColumnNumber<N, blocks>::type;
    using Base = RowNumbers<features, program, direction, kind, F, U>;
    using Fixed = const Columns &;
    using S = Stored<kind>;
    static constexpr bool shares = false, at_once = false;
    static constexpr bool changed = !Base::from_output && (features & (BIAS | SCALED | NOISE));  // whether elements are not as read
    // What the tile holds: numbers of the working type, so that a program finds there what it remembers; or halves as they are, whose terms
    // are cheap and of which there is room for twice as many.
    static constexpr bool as_stored = sizeof(S) == 2 && !is_float64<F> && !changed;
    using T = typename Chosen<as_stored, S, F>::type;
    using Base::call, Base::n, Base::gone, Base::masked, Base::from_output, Base::has_grad, Base::loss_program, Base::wants_result, Base::pack_infinity;

    // An element of this thread: its row, and its value. Nobody else reads or writes it.
    struct At {
        long long row;
        int place;  // in the tile; -1 beyond it
        F x, g;
    };

    const Tiling &tiling;
    int rank, columns, groups, group, column;  // of the cluster; of the tile; the thread's own, and the column it takes or follows
    bool own;                                  // whether it takes it
    long long first_row, outer, left;          // of this block; and of the tile: the first outer index and column
    int slabs, width, mine, here;              // outer indices and columns that are there, rows of this block, and those in shared memory
    int begin, place, step;                    // first row of this thread, and its place, and from there to the next
    T *tile, *grads;
    const S *xs, *gs, *softs;  // this column, row 0
    S *ys;
    long long drawn_at;
    const S *biases;
    const unsigned char *wheres;
    long long limit;

    // Where this block's tile begins, and which group and column of the tile are this thread's: its own, or the last that is there.
    struct Spot {
        long long outer, left;
        int slabs, width, group, slab, inside;
        bool own;
    };
    FASTACT_FUNCTION int least(int a, long long b) { return a < b ? a : static_cast<int>(b); }
    FASTACT_FUNCTION Spot spot_of(const RowsCall &c, const Tiling &t) {
        const unsigned tile = blocks > 1 ? blockIdx.x / blocks : blockIdx.x, down = tile / static_cast<unsigned>(t.across), columns = static_cast<unsigned>(t.width * t.many);
        Spot s;
        s.outer = static_cast<long long>(down) * t.many, s.left = static_cast<long long>(tile - down * t.across) * t.width;
        s.slabs = least(t.many, c.outer - s.outer), s.width = least(t.width, c.inner - s.left);
        const unsigned group = threadIdx.x / columns, number = threadIdx.x - group * columns, slab = t.many > 1 ? number / t.width : 0;
        s.group = static_cast<int>(group), s.slab = static_cast<int>(slab), s.inside = static_cast<int>(number - slab * t.width);
        s.own = s.group < t.groups && s.slab < s.slabs && s.inside < s.width;
        s.slab = least(s.slab, s.slabs - 1), s.inside = least(s.inside, s.width - 1);
        return s;
    }
    FASTACT_ROW_METHOD Columns(const RowsCall &c, const Tiling &t) : Columns(c, t, spot_of(c, t)) {}
    FASTACT_ROW_METHOD Columns(const RowsCall &c, const Tiling &t, const Spot &s)
        : Base(c, (s.outer + s.slab) * c.inner + s.left + s.inside), tiling(t), own(s.own), outer(s.outer), left(s.left), slabs(s.slabs), width(s.width) {
        rank = 0;
        if constexpr (blocks > 1) rank = cluster_rank();
        const int full = t.width, k = s.slab, w = s.inside;
        const long long o = outer, i = left;
        columns = full * t.many, groups = t.groups, group = s.group, column = k * full + w;
        first_row = static_cast<long long>(rank) * t.rows;
        const long long rest = n - first_row;
        mine = static_cast<int>(rest < 0 ? 0 : rest < t.rows ? rest : t.rows), here = mine;
        if constexpr (beyond) here = mine < t.room ? mine : t.room;
        begin = group, place = k * t.apart + group * full + w, step = groups * full;
        auto *const free = reinterpret_cast<T *>(shared_memory() + around());
        tile = free, grads = free + (t.many > 1 ? t.many * t.apart : t.room * full);
        const long long at = (o + k) * c.n * c.inner + i + w;
        xs = static_cast<const S *>(c.x) + at, ys = static_cast<S *>(c.out) + at;
        gs = static_cast<const S *>(c.grad) + at, softs = static_cast<const S *>(c.soft) + at;
        drawn_at = at;
        if constexpr ((features & BIAS) != 0) biases = static_cast<const S *>(c.bias) + c.bias_outer[o + k] + c.bias_inner[i + w];
        if constexpr ((features & WHERE) != 0) wheres = c.where + c.where_outer[o + k] + c.where_inner[i + w];
        limit = features & LIMITS ? c.limits[this->row_number] : n;

        bring(static_cast<const S *>(c.x), tile);
        if constexpr (has_grad) bring(static_cast<const S *>(c.grad), grads);
        __syncthreads();
        if constexpr (changed || masked) prepare();
    }
    // Bytes of shared memory before the tile; as in fastact/backends/cuda_columns.py.
    FASTACT_ROW_METHOD int around() const {
        if constexpr (blocks == 0) return 0;
        else return (FLAGS + 8 * static_cast<int>(blockDim.x) + (blocks > 1 ? 8 * blocks * columns : 0) + 127) / 128 * 128;
    }

    // -------- between memory and the tile

    // What memory and the tile have alike, in runs: whole outer indices, or pieces of rows. Each thread has `unit` elements of them at a time, and
    // `batch` such units: load(b, from, place) for all, then store(b, from, place).
    template <int unit, int batch, class Load, class Store> FASTACT_ROW_METHOD void walk(const S *array, Load load, Store store) const {
        const bool whole = width == call.inner;
        const int runs = whole ? slabs : here, elements = whole ? here * width : width;
        if (!elements) return;
        const unsigned length = static_cast<unsigned>(elements) / unit, runs_on = blockDim.x / length, units_on = blockDim.x % length;
        unsigned u = threadIdx.x % length;
        int run = static_cast<int>(threadIdx.x / length);
        const int place_apart = whole ? tiling.apart : tiling.width, place_on = static_cast<int>(runs_on) * place_apart + static_cast<int>(units_on) * unit;
        const long long apart = whole ? call.n * call.inner : call.inner, on = runs_on * apart + units_on * unit;
        const S *p = array + (outer * call.n + first_row) * call.inner + left + run * apart + u * unit;
        int place_ = run * place_apart + static_cast<int>(u) * unit;
        while (run < runs) {
            const S *from[batch];
            int to[batch];
#pragma unroll
            for (int b = 0; b < batch; b++) {
                from[b] = p, to[b] = run < runs ? place_ : -1;
                if (to[b] >= 0) load(b, from[b], to[b]);
                p += on, place_ += place_on, u += units_on, run += static_cast<int>(runs_on);
                if (u >= length) u -= length, run++, p += apart - elements, place_ += place_apart - elements;
            }
#pragma unroll
            for (int b = 0; b < batch; b++)
                if (to[b] >= 0) store(b, from[b], to[b]);
        }
    }
    static constexpr int vector = lanes_of<kind>;
    FASTACT_ROW_METHOD void bring(const S *from, T *to) const {
        constexpr int batch = 8;
        if (tiling.vectors) {
            Words words[batch];
            walk<vector, batch>(
                from, [&](int b, const S *p, int) FASTACT_INLINE { words[b] = load_words(p, true); },
                [&](int b, const S *, int at) FASTACT_INLINE {
                    if constexpr (sizeof(T) == sizeof(S)) *reinterpret_cast<Words *>(to + at) = words[b];
                    else {
                        F v[vector];
                        unpack<kind>(words[b], v);
#pragma unroll
                        for (int i = 0; i < vector; i += in_words) *reinterpret_cast<Words *>(to + at + i) = words_of<own_kind<F>>(v + i);
                    }
                });
        } else {
            S one[batch];
            walk<1, batch>(
                from, [&](int b, const S *p, int) FASTACT_INLINE { one[b] = *p; }, [&](int b, const S *, int at) FASTACT_INLINE { to[at] = as_held(one[b]); });
        }
    }
    FASTACT_ROW_METHOD void take_away(S *to) const {
        constexpr int batch = 4;
        if (tiling.vectors) {
            Words words[batch];
            walk<vector, batch>(
                to,
                [&](int b, const S *, int at) FASTACT_INLINE {
                    if constexpr (sizeof(T) == sizeof(S)) words[b] = *reinterpret_cast<const Words *>(tile + at);
                    else {
                        F v[vector];
#pragma unroll
                        for (int i = 0; i < vector; i += in_words) fastact::unpack<own_kind<F>>(*reinterpret_cast<const Words *>(tile + at + i), v + i);
                        words[b] = words_of<kind>(v);
                    }
                },
                [&](int b, const S *p, int) FASTACT_INLINE { store_words(const_cast<S *>(p), words[b]); });
        } else {
            S one[batch];
            walk<1, batch>(
                to, [&](int b, const S *, int at) FASTACT_INLINE { one[b] = as_given(tile[at]); },
                [&](int b, const S *p, int) FASTACT_INLINE { *const_cast<S *>(p) = one[b]; });
        }
    }
    static constexpr int in_words = lanes_of<own_kind<F>>;
    FASTACT_FUNCTION T as_held(S v) {
        if constexpr (as_stored) return v;
        else return widen<kind, F>(v);
    }
    FASTACT_FUNCTION S as_given(T v) {
        if constexpr (as_stored) return v;
        else return narrow<kind>(v);
    }
    FASTACT_FUNCTION F number_at(const T *p) {
        if constexpr (as_stored) return widen<kind, F>(*p);
        else return *p;
    }
    FASTACT_FUNCTION void set_number(T *p, F v) {
        if constexpr (as_stored) *p = kind == FLOAT16 ? to_float16(v) : static_cast<S>(to_bfloat16s(v, v));
        else *p = v;
    }

    // -------- elements

    FASTACT_ROW_METHOD F out_of() const { return static_cast<F>(from_output && program != programs::LOG_SOFTMAX ? 0.0 : -pack_infinity()); }
    FASTACT_ROW_METHOD bool kept(long long row) const {
        bool in = true;
        if constexpr ((features & WHERE) != 0) in = wheres[row * call.where_step] != 0;
        if constexpr ((features & LIMITS) != 0) in = in && row < limit;
        return in;
    }
    // As the program sees what memory holds.
    FASTACT_ROW_METHOD F seen(F z, long long row) const {
        if constexpr (changed) {
            const F scale = static_cast<F>(call.scale);
            if constexpr ((features & BIAS) != 0) z = fma(z, scale, widen<kind, F>(biases[row * call.bias_step]) * static_cast<F>(call.bias_scale));
            else if constexpr ((features & SCALED) != 0) z = z * scale;
            if constexpr ((features & NOISE) != 0) {
                const auto drawn = gumbel_at(static_cast<unsigned long long>(call.seed), static_cast<unsigned long long>(drawn_at + row * call.inner));
                z = z + static_cast<F>(call.bias_scale * drawn);
            }
        }
        return !masked || kept(row) ? z : out_of();
    }
    FASTACT_ROW_METHOD F read(long long row) const { return seen(widen<kind, F>(xs[row * call.inner]), row); }
    FASTACT_ROW_METHOD F read_grad(long long row) const {
        if constexpr (!has_grad) return F(0);
        else return !masked || kept(row) ? widen<kind, F>(gs[row * call.inner]) : F(0);
    }
    // What is in the tile becomes what the program sees.
    FASTACT_ROW_METHOD void prepare() {
        bool found = false;
        for (int r = begin, at = place; own && r < here; r += groups, at += step) {
            const long long row = first_row + r;
            if constexpr (masked) {
                const bool in = kept(row);
                found |= in;
                if constexpr (has_grad)
                    if (!in) set_number(grads + at, F(0));
            }
            set_number(tile + at, seen(number_at(tile + at), row));
        }
        if constexpr (masked) {
            if constexpr (beyond)
                for (int r = here + group; own && r < mine; r += groups) found |= kept(first_row + r);
            this->set_some(all(found ? 1.0f : 0.0f, 0.0f, [](float a, float b) { return pymax(a, b); }) > 0.0f);
        }
    }
    static constexpr int batch = 4;
    // Every element of this thread: four at a time, then one by one.
    template <class Four, class One> FASTACT_ROW_METHOD void visit(Four four, One one) const {
        if (!own) return;
        const auto held = [&](int r, int at) FASTACT_INLINE { return At{first_row + r, at, number_at(tile + at), has_grad ? number_at(grads + at) : F(0)}; };
        int r = begin, at = place;
        for (; r + (batch - 1) * groups < here; r += batch * groups, at += batch * step) {
            At some[batch];
#pragma unroll
            for (int b = 0; b < batch; b++) some[b] = held(r + b * groups, at + b * step);
            four(some);
        }
        for (; r < here; r += groups, at += step) one(held(r, at));
        if constexpr (beyond) {
            const auto apart = [&](int r) FASTACT_INLINE { return At{first_row + r, -1, read(first_row + r), read_grad(first_row + r)}; };
            for (r = here + group; r + (batch - 1) * groups < mine; r += batch * groups) {
                At some[batch];
#pragma unroll
                for (int b = 0; b < batch; b++) some[b] = apart(r + b * groups);
                four(some);
            }
            for (; r < mine; r += groups) one(apart(r));
        }
    }

    // -------- what programs ask for

    FASTACT_ROW_METHOD F x(const At &at) const { return at.x; }
    FASTACT_ROW_METHOD F g(const At &at) const { return at.g; }
    FASTACT_ROW_METHOD F soft(const At &at) const { return widen<kind, F>(softs[at.row * call.inner]); }
    FASTACT_ROW_METHOD F weight(const At &at) const { return static_cast<F>(call.weight[at.row]); }
    template <class T> FASTACT_ROW_METHOD T number_of(Across<T, blocks> u) const { return u.v; }
    template <class T> FASTACT_ROW_METHOD T number_of(T u) const { return u; }
    FASTACT_ROW_METHOD F pack(const U &u) const { return static_cast<F>(number_of(u)); }
    FASTACT_FUNCTION U number(U u) { return u; }
    FASTACT_ROW_METHOD U unpacked(F v) const { return U{static_cast<N>(v)}; }
    // Of halves a short one, with an error of up to 2^-19. What `shift` holds but for K is a constant; that log2(e) is rounded is the same for
    // all elements of a column but for 2^-26 of their differences.
    FASTACT_FUNCTION F shifted_exp(F x, F lowest, F shift) {
        if constexpr (sizeof(S) == 2 && !is_float64<F>) return exp2_approximately(fma(x, F(1.44269504f), shift - F(12583039.0f)));
        else return defs::shifted_exp(x, lowest, shift);
    }

    // Over the threads that share a column; in an order that the shape alone decides.
    template <class T, class Join> FASTACT_ROW_METHOD T all(T v, T nothing, Join join) const {
        if constexpr (blocks == 0) return v;
        else {
            auto *const cell = reinterpret_cast<T *>(shared_memory() + FLAGS);
            constexpr int MOST = 16;
            if constexpr (blocks > 1) cluster_arrive();
            __syncthreads();  // the last result has been read
            cell[threadIdx.x] = v;
            __syncthreads();
            int count = groups;
            if (groups > MOST) {  // in two steps
                T part = nothing;
                if (group < MOST)
#pragma unroll 4
                    for (int g = group; g < groups; g += MOST) part = join(part, cell[g * columns + column]);
                __syncthreads();
                if (group < MOST) cell[threadIdx.x] = part;
                __syncthreads();
                count = MOST;
            }
            T r = nothing;
#pragma unroll 4
            for (int g = 0; g < count; g++) r = join(r, cell[g * columns + column]);
            if constexpr (blocks > 1) {
                auto *const given = reinterpret_cast<T *>(shared_memory() + FLAGS + 8 * blockDim.x);
                cluster_wait();
                for (int b = group; own && b < blocks; b += groups) give(given + rank * columns + column, b, r);
                __syncwarp();  // a warp arrives as one
                cluster_arrive();
                cluster_wait();
                r = nothing;
#pragma unroll
                for (int b = 0; b < blocks; b++) r = join(r, given[b * columns + column]);
            }
            return r;
        }
    }

    template <class Body> FASTACT_ROW_METHOD void each(Body body) const {
        visit(
            [&](const At *some) FASTACT_INLINE {
#pragma unroll
                for (int b = 0; b < batch; b++) body(some[b]);
            },
            [&](const At &at) FASTACT_INLINE { body(at); });
    }
    template <class Term> FASTACT_ROW_METHOD U max(Term term) const {
        F m = static_cast<F>(-pack_infinity());
        each([&](const At &at) FASTACT_INLINE { m = larger(m, term(at)); });
        return unpacked(all(m, static_cast<F>(-pack_infinity()), [](F a, F b) { return larger(a, b); }));
    }
    // In float64 with the rounding errors beside it.
    struct Sum {
        N high = N(0), low = N(0);
    };
    FASTACT_ROW_METHOD void add(Sum &sum, N v) const {
        const N after = sum.high + v;
        if constexpr (is_float64<F>) {
            const N added = after - sum.high;
            sum.low += (sum.high - (after - added)) + (v - added);
        }
        sum.high = after;
    }
    // Terms of four elements: floats are joined before a sum in float64 takes them.
    FASTACT_ROW_METHOD void add_terms(Sum &sum, const F *v) const {
        if constexpr (is_float64<F>) {
#pragma unroll
            for (int b = 0; b < batch; b++) add(sum, v[b]);
        } else add(sum, static_cast<N>((v[0] + v[1]) + (v[2] + v[3])));
    }
    FASTACT_ROW_METHOD U total(const Sum &sum) const {
        const N v = sum.low == sum.low ? sum.high + sum.low : sum.high;  // NaN where the sum is infinite
        return U{all(v, N(0), [](N a, N b) { return a + b; })};
    }
    template <class Term> FASTACT_ROW_METHOD U sum(Term term) const {
        Sum s;
        visit(
            [&](const At *some) FASTACT_INLINE {
                F v[batch];
#pragma unroll
                for (int b = 0; b < batch; b++) v[b] = term(some[b]);
                add_terms(s, v);
            },
            [&](const At &at) FASTACT_INLINE { add(s, static_cast<N>(term(at))); });
        return total(s);
    }
    template <class Term> FASTACT_ROW_METHOD U exact_sum(Term term) const {
        Sum s;
        each([&](const At &at) FASTACT_INLINE { add(s, static_cast<N>(term(at))); });
        return total(s);
    }
    template <class Term> FASTACT_ROW_METHOD Results<U, 2> sum2(Term term) const {
        Sum a, b;
        visit(
            [&](const At *some) FASTACT_INLINE {
                F one[batch], two[batch];
#pragma unroll
                for (int k = 0; k < batch; k++) {
                    const auto both = term(some[k]);
                    one[k] = both.a, two[k] = both.b;
                }
                add_terms(a, one), add_terms(b, two);
            },
            [&](const At &at) FASTACT_INLINE {
                const auto both = term(at);
                add(a, static_cast<N>(both.a)), add(b, static_cast<N>(both.b));
            });
        return {total(a), total(b)};
    }
    // The first place where `test` holds, 0 if there is none.
    template <class Test> FASTACT_ROW_METHOD U first(Test test) const {
        double found = static_cast<double>(n);
        each([&](const At &at) FASTACT_INLINE {
            if (static_cast<double>(at.row) < found && test(at)) found = static_cast<double>(at.row);
        });
        found = all(found, static_cast<double>(n), [](double a, double b) { return b < a ? b : a; });
        return U{static_cast<N>(found < static_cast<double>(n) ? found : 0.0)};
    }

    FASTACT_ROW_METHOD F remember(const At &at, F v) const {
        if constexpr (!as_stored)
            if (!beyond || at.place >= 0) tile[at.place] = v;
        return v;
    }
    template <class Term> FASTACT_ROW_METHOD F recall(const At &at, Term term) const {
        if constexpr (as_stored) return term();
        else if constexpr (!beyond) return at.x;
        else return at.place >= 0 ? at.x : term();
    }
    FASTACT_ROW_METHOD F recall_only(const At &at) const { return at.x; }

    FASTACT_ROW_METHOD void put(const At &at, F v) const {
        F y = !masked || kept(at.row) ? v : gone;
        if constexpr (direction != programs::VALUE && !loss_program && (features & SCALED) != 0) y = y * static_cast<F>(call.scale);
        if (!beyond || at.place >= 0) set_number(tile + at.place, y);
        else ys[at.row * call.inner] = narrow<kind>(y);
    }
    // As memory has it, before anything is written.
    FASTACT_ROW_METHOD U peek(const U &row) const { return unpacked(read(static_cast<long long>(number_of(row)))); }
    FASTACT_ROW_METHOD void poke(const U &place_, const U &v) const {
        const long long row = static_cast<long long>(number_of(place_)), r = row - first_row;
        if (!own || r < 0 || r >= mine) return;
        const bool there = !beyond || r < here;
        if ((there ? r : r - here) % groups != group) return;
        put(At{row, there ? place + static_cast<int>(r - group) * tiling.width : -1, F(0), F(0)}, pack(v));
    }

    FASTACT_ROW_METHOD void finish() {
        if constexpr (wants_result) {
            __syncthreads();
            take_away(static_cast<S *>(call.out));
        }
        if (own && group == 0 && rank == 0) this->give_numbers();
    }
};

template <int blocks, bool beyond, unsigned features, int program, int direction, int kind, class F, class N>
FASTACT_FUNCTION void columns(const RowsCall &call, const Tiling &tiling) {
    Columns<blocks, beyond, features, program, direction, kind, F, N> row(call, tiling);
    if (blocks > 0 || row.own) programs::run<program, direction>(row);
    row.finish();
}
