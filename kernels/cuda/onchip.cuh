// Row-wise calls along the last axis: rows that pass through memory once.
//
// `OnChip` is the executor of rows/programs.hpp that keeps what it has read: in registers (`Registers`) or in shared memory (`Chunk`), by 16
// bytes in the order of memory. Who takes a row: a few lanes of a warp (`Lanes`), a block, or a cluster of blocks (`Blocks`).
//
// Rows may begin anywhere: words of 16 bytes that hold an element of the row are read whole, and what lies beside the row is left out; at the
// edges elements are written one by one. All arrays of a call lie alike on these borders.

#define FASTACT_SHARED static __device__ __forceinline__
#include "cluster.cuh"
#include "rows.cuh"

// ---------------------------------------------------------------- who takes a row

FASTACT_FUNCTION float larger_of(float a, float b) { return ::fmaxf(a, b); }  // passes over NaN
FASTACT_FUNCTION double larger_of(double a, double b) { return ::fmax(a, b); }
FASTACT_FUNCTION float at_least(float x, float lowest) {  // NaN stays
#ifdef FASTACT_HOST
    return pymax(x, lowest);
#else
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(lowest));
    return r;
#endif
}
FASTACT_FUNCTION double at_least(double x, double lowest) { return pymax(x, lowest); }
// 2^x within 2^-22 of it, for halves; what is below 2^-126 is 0.
FASTACT_FUNCTION float quick_exp2(float x) {
    float r;
#ifdef FASTACT_HOST
    r = ::exp2f(x);
    r = r < 0x1p-126f ? 0.0f : r;
#else
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
#endif
    return r;
}
struct Larger {
    template <class T> FASTACT_ROW_METHOD T operator()(T a, T b) const { return larger_of(a, b); }
};
struct Plus {
    template <class T> FASTACT_ROW_METHOD T operator()(T a, T b) const { return a + b; }
};

// Everyone gets the same bits: at each step two lanes join the same two numbers, and joining commutes.
template <int size, class T, class Join> FASTACT_FUNCTION T over_lanes(T v, Join join) {
#pragma unroll
    for (int step = 1; step < size; step *= 2) v = join(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

// `size` neighbouring lanes of a warp.
template <int size_> struct Lanes {
    static constexpr bool beside = size_ < 32, wide = false;
    static constexpr int blocks = 1;
    FASTACT_ROW_METHOD explicit Lanes(const RowsCall &) {}
    FASTACT_ROW_METHOD int rank() const { return threadIdx.x % size_; }
    FASTACT_ROW_METHOD int size() const { return size_; }
    FASTACT_ROW_METHOD int block() const { return 0; }
    FASTACT_ROW_METHOD long long row() const { return (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / size_; }
    FASTACT_ROW_METHOD void begin() const {}
    template <class T, class Join> FASTACT_ROW_METHOD T all(T v, T, Join join) const { return over_lanes<size_>(v, join); }
};

// A block of up to `most` whole warps, or `blocks_` of such. Each reduction has one barrier: its cells are not those of the one before.
template <int blocks_, int most> struct Blocks {
    static constexpr bool beside = false, wide = true;
    static constexpr int blocks = blocks_;
    int block_, warps;
    mutable unsigned char *cells, *other_cells;

    FASTACT_FUNCTION int cell_bytes(int threads) { return blocks * threads / 32 * 16; }  // of one reduction, of two numbers
    FASTACT_ROW_METHOD explicit Blocks(const RowsCall &) : block_(0), warps(blockDim.x / 32) {
        if constexpr (blocks > 1) {
            cluster_announce();
            block_ = cluster_rank();
        }
        cells = shared_memory(), other_cells = cells + cell_bytes(blockDim.x);
    }
    FASTACT_ROW_METHOD int rank() const { return threadIdx.x; }
    FASTACT_ROW_METHOD int size() const { return blockDim.x; }
    FASTACT_ROW_METHOD int block() const { return block_; }
    FASTACT_ROW_METHOD long long row() const { return blockIdx.x / blocks; }
    // Before the first reduction: the others are there.
    FASTACT_ROW_METHOD void begin() const {
        if constexpr (blocks > 1) cluster_wait();
    }
    // What warps have told, each cell by one lane of `span`, joined: the same for all lanes, whichever span they are of.
    static constexpr int span = blocks * most < 32 ? blocks * most : 32;
    template <class T, class Value, class Join> FASTACT_ROW_METHOD T told(T nothing, Value value, Join join) const {
        T r = nothing;
#pragma unroll
        for (int k = 0; k < blocks * most; k += span) {
            const int i = k + threadIdx.x % span;
            if (i < blocks * warps) r = join(r, value(i));
        }
        return over_lanes<span>(r, join);
    }
    template <class T> FASTACT_ROW_METHOD T *cell(int k) const { return reinterpret_cast<T *>(cells) + k; }
    // What a warp says, in its cell, for everyone.
    template <class T> FASTACT_ROW_METHOD void tell(int k, T v) const {
        const int lane = threadIdx.x % 32, own = block_ * warps + threadIdx.x / 32;
        if constexpr (blocks > 1) {
            if (lane < blocks) give(cell<T>(k * blocks * warps + own), lane, v);
        } else if (lane == 0) *cell<T>(k * warps + own) = v;
    }
    FASTACT_ROW_METHOD void meet() const {
        if constexpr (blocks > 1) cluster_arrive(), cluster_wait();
        else __syncthreads();
    }
    FASTACT_ROW_METHOD void turn() const {
        unsigned char *const last = cells;
        cells = other_cells, other_cells = last;
    }
    template <class T, class Join> FASTACT_ROW_METHOD T all(T v, T nothing, Join join) const {
        tell(0, over_lanes<32>(v, join));
        meet();
        const T r = told(nothing, [&](int i) FASTACT_INLINE { return *cell<T>(i); }, join);
        turn();
        return r;
    }
};

// ---------------------------------------------------------------- a vector of a row

// What a thread has of a row at a time: elements of 16 bytes.
template <int kind, class F> struct Vector {
    static constexpr int lanes = lanes_of<kind>;
    F x[lanes], y[lanes];  // what comes in, and the results
    Words grads, softs;
    int base;         // the place in the row of its first element: before 0 where the row begins inside
    unsigned inside;  // a bit for each element of the row,
    unsigned kept;    // and for those that are not left out
};

// 2^d, for whole d up to 1; what is too small for a float is 0.
FASTACT_FUNCTION float power_of_two(float d) {
    const int i = d > -150.0f ? static_cast<int>(d) : -150, half = i / 2;
    return float_of(static_cast<unsigned>(127 + half) << 23) * float_of(static_cast<unsigned>(127 + (i - half)) << 23);
}

// A sum on its way: terms of a vector are added in pairs, then fours, and so on.
template <class N, class F, int count> FASTACT_FUNCTION F sum_of_tree(const F *v) {
    if constexpr (count == 1) return v[0];
    else return sum_of_tree<N, F, count / 2>(v) + sum_of_tree<N, F, count / 2>(v + count / 2);
}

template <class U> struct NumberOf { using type = U; };
template <class T> struct NumberOf<Beside<T>> { using type = T; };
template <bool first, class A, class B> struct Either { using type = A; };
template <class A, class B> struct Either<false, A, B> { using type = B; };

// ---------------------------------------------------------------- where a row lies

// In registers, `vectors` a thread.
template <int vectors> struct Registers {
    static constexpr bool in_registers = true, bulk = false;
    static constexpr int count = vectors;
};
// In shared memory as far as there is room, `vectors` at a time where not; copies run beside the arithmetic if `bulk`.
template <bool bulk_, int vectors> struct Chunk {
    static constexpr bool in_registers = false, bulk = bulk_;
    static constexpr int count = vectors;
};
constexpr int PIECES = 4;  // a chunk arrives in so many

// ---------------------------------------------------------------- the executor

template <class Team, class Place, unsigned features, int program, int direction, int kind, class F_, class U_>
struct OnChip : RowNumbers<features, program, direction, kind, F_, U_> {
    using Base = RowNumbers<features, program, direction, kind, F_, U_>;
    using F = F_;
    using U = U_;
    using N = typename NumberOf<U>::type;
    using V = Vector<kind, F>;
    using Fixed = const OnChip &;
    struct At {
        V *v;
        int e;
    };
    static constexpr int lanes = lanes_of<kind>;
    static constexpr unsigned all_lanes = (1u << lanes) - 1;
    static constexpr bool edges = features & EDGES, in_registers = Place::in_registers;
    static constexpr bool shares = false, at_once = Team::wide && !is_float64<F>;
    static constexpr bool changed = !Base::from_output && (features & (BIAS | SCALED | NOISE));  // whether elements are not as read
    using Base::call, Base::gone, Base::some, Base::masked, Base::from_output, Base::has_grad, Base::has_soft, Base::has_sink, Base::loss_program,
        Base::pack_infinity, Base::sink, Base::wants_lse;

    Team team;
    const Words *xs, *gs, *softs;
    Words *ys;
    int length, limit, start;  // elements of the row, those up to the limit, and the place of the first word's first element
    int begin_, mine;          // vectors of the row: the first of this block's, and how many are
    int here;                  // of them in shared memory
    const Stored<kind> *biases;
    const unsigned char *wheres;
    mutable V held[in_registers ? Place::count : 1];
    mutable F factor;     // what a remembered term is multiplied by
    mutable bool filled;  // whether the pieces of the chunk have been waited for
    Words *chunk;
    Arrival *arrivals;

    FASTACT_ROW_METHOD OnChip(const RowsCall &c, long long rows) : OnChip(c, Team(c), rows) {}
    FASTACT_ROW_METHOD OnChip(const RowsCall &c, const Team &team_, long long rows) : Base(c, team_.row() < rows ? team_.row() : rows - 1), team(team_) {
        const long long number = this->row_number, from = number * c.n;
        const bool there = team.row() < rows;
        const auto *const row = static_cast<const Stored<kind> *>(c.x) + from;
        const int before = edges ? static_cast<int>(reinterpret_cast<unsigned long long>(row) % sizeof(Words) / sizeof(Stored<kind>)) : 0;
        const auto word = [&](const void *p) { return reinterpret_cast<Words *>(const_cast<Stored<kind> *>(static_cast<const Stored<kind> *>(p) + from - before)); };
        xs = word(c.x), ys = word(c.out), gs = word(c.grad), softs = word(c.soft);
        start = -before, length = there ? static_cast<int>(c.n) : 0;
        limit = length;
        if constexpr ((features & LIMITS) != 0) {
            const long long given = c.limits[number];
            limit = given < length ? (given > 0 ? static_cast<int>(given) : 0) : length;
        }
        const int vectors = there ? (before + length + lanes - 1) / lanes : 0;
        if constexpr (Team::blocks > 1) {
            const int share = (vectors + Team::blocks - 1) / Team::blocks, left = vectors - team.block() * share;
            begin_ = team.block() * share, mine = left < 0 ? 0 : left < share ? left : share;
        } else begin_ = 0, mine = vectors;
        if constexpr ((features & (BIAS | WHERE)) != 0) {
            const long long o = number / c.inner, i = number - o * c.inner;
            if constexpr ((features & BIAS) != 0) biases = static_cast<const Stored<kind> *>(c.bias) + c.bias_outer[o] + c.bias_inner[i];
            if constexpr ((features & WHERE) != 0) wheres = c.where + c.where_outer[o] + c.where_inner[i];
        }
        factor = F(1);
        filled = false;
        if constexpr (in_registers) load();
        else fill();
        team.begin();
        if constexpr (masked && from_output) {
            if (call.masked_nan) settle();
        }
    }

    // -------- vectors

    FASTACT_ROW_METHOD F out_of() const { return static_cast<F>(from_output && program != programs::LOG_SOFTMAX ? 0.0 : -pack_infinity()); }
    FASTACT_ROW_METHOD Words nothing() const {
        F v[lanes];
#pragma unroll
        for (int e = 0; e < lanes; e++) v[e] = out_of();
        return fastact::pack<kind>(v);
    }
    FASTACT_ROW_METHOD int base_of(int c) const { return (begin_ + c) * lanes + start; }
    FASTACT_ROW_METHOD unsigned bits_below(int base, int end) const {  // of [0, end) in a vector
        const int high = end - base;
        unsigned bits = high >= lanes ? all_lanes : high > 0 ? (1u << high) - 1 : 0u;
        if constexpr (edges)
            if (base < 0) bits &= all_lanes << -base;
        return bits;
    }
    // Bytes of a mask, as bits.
    FASTACT_ROW_METHOD unsigned bits_of_bytes(int base, unsigned inside) const {
        unsigned bits = 0;
        const long long step = call.where_step;
        if (step == 1 && inside == all_lanes && reinterpret_cast<unsigned long long>(wheres + base) % 4 == 0 && lanes >= 4) {
#pragma unroll
            for (int k = 0; k < lanes / 4; k++) {
                const unsigned w = reinterpret_cast<const unsigned *>(wheres + base)[k];
                const unsigned set = ((w | ((w & 0x7f7f7f7fu) + 0x7f7f7f7fu)) & 0x80808080u) >> 7;  // 1 in each byte that is not 0
                bits |= (set * 0x10204080u >> 28) << (4 * k);
            }
        } else if (step == 0) {
            bits = wheres[0] ? inside : 0u;
        } else {
#pragma unroll
            for (int e = 0; e < lanes; e++)
                if ((inside >> e & 1) && wheres[(base + e) * step]) bits |= 1u << e;
        }
        return bits & inside;
    }
    // What memory or shared memory holds, as the program sees it.
    FASTACT_ROW_METHOD void take(V &v, int c, const Words &words) const {
        v.base = base_of(c);
        v.inside = bits_below(v.base, length);
        v.kept = v.inside;
        if constexpr ((features & LIMITS) != 0) v.kept &= bits_below(v.base, limit);
        if constexpr ((features & WHERE) != 0) v.kept &= bits_of_bytes(v.base, v.inside);
        fastact::unpack<kind>(words, v.x);
        if constexpr (changed) {
            const F scale = static_cast<F>(call.scale);
            F more[lanes];
            if constexpr ((features & BIAS) != 0) take_bias(v, more);
#pragma unroll
            for (int e = 0; e < lanes; e++) {
                if constexpr ((features & BIAS) != 0) v.x[e] = fma(v.x[e], scale, more[e] * static_cast<F>(call.bias_scale));
                else if constexpr ((features & SCALED) != 0) v.x[e] = v.x[e] * scale;
                if constexpr ((features & NOISE) != 0) {
                    const auto place = static_cast<unsigned long long>(this->row_number * this->n + v.base + e);
                    v.x[e] = v.x[e] + static_cast<F>(call.bias_scale * gumbel_at(static_cast<unsigned long long>(call.seed), place));
                }
            }
        }
        if constexpr (masked || edges || changed) {
            if (v.kept != all_lanes) {
#pragma unroll
                for (int e = 0; e < lanes; e++) v.x[e] = v.kept >> e & 1 ? v.x[e] : out_of();
            }
        }
    }
    FASTACT_ROW_METHOD void take_bias(const V &v, F *more) const {
        const long long step = call.bias_step;
        const Stored<kind> *const from = biases + v.base * step;
        if (step == 1 && v.inside == all_lanes && reinterpret_cast<unsigned long long>(from) % sizeof(Words) == 0) {
            fastact::unpack<kind>(load_words(from, true), more);
        } else {
#pragma unroll
            for (int e = 0; e < lanes; e++) more[e] = v.inside >> e & 1 ? widen<kind, F>(from[e * step]) : F(0);
        }
    }
    FASTACT_ROW_METHOD bool empty(int c) const { return (features & LIMITS) != 0 && base_of(c) >= limit; }

    // All vectors of this thread: once, in order.
    template <class Body> FASTACT_ROW_METHOD void visit(Body body) const {
        if constexpr (in_registers) {
#pragma unroll
            for (int j = 0; j < Place::count; j++)
                if (team.rank() + j * team.size() < mine) body(held[j], team.rank() + j * team.size());
        } else {
            const int size = team.size();
            const auto one = [&](int c, const Words &words, const Words &grads, const Words &soft) FASTACT_INLINE {
                V v;
                take(v, c, words);
                v.grads = grads, v.softs = soft;
                body(v, c);
            };
            // Vector c is that of rank c % size in every pass.
            const auto from_chunk = [&](int from, int to) FASTACT_INLINE {
                for (int c = from + (team.rank() + size - from % size) % size; c < to; c += size)
                    one(c, chunk[c], chunk[has_grad ? here + c : c], chunk[has_soft ? here + c : c]);
            };
            if (Place::bulk && !filled) {
                const int piece = piece_of();
                for (int i = 0, from = 0; from < here; i++, from += piece) {
                    wait(arrivals + i);
                    from_chunk(from, from + piece < here ? from + piece : here);
                }
            } else {
                if (!filled) __syncthreads();
                from_chunk(0, here);
            }
            filled = true;
            for (int from = here; from < mine; from += size * Place::count) {  // what there was no room for
                Words w[Place::count], g[Place::count], s[Place::count];
#pragma unroll
                for (int u = 0; u < Place::count; u++) read(from + u * size + team.rank(), w[u], g[u], s[u]);
#pragma unroll
                for (int u = 0; u < Place::count; u++) {
                    const int c = from + u * size + team.rank();
                    if (c < mine) one(c, w[u], g[u], s[u]);
                }
            }
        }
    }
    FASTACT_ROW_METHOD int piece_of() const { return (here + PIECES - 1) / PIECES; }
    FASTACT_ROW_METHOD void read(int c, Words &w, Words &g, Words &s) const {
        const bool in_place = call.in_place != 0, there = c < mine && !empty(c);
        w = nothing();
        if (there) w = load_words(xs + begin_ + c, in_place);
        if constexpr (has_grad) {
            g = Words{};
            if (there) g = load_words(gs + begin_ + c, in_place);
        }
        if constexpr (has_soft) {
            s = Words{};
            if (c < mine) s = load_words(softs + begin_ + c, in_place);
        }
    }
    FASTACT_ROW_METHOD void load() const {
        Words words[Place::count];
#pragma unroll
        for (int j = 0; j < Place::count; j++) read(team.rank() + j * team.size(), words[j], held[j].grads, held[j].softs);
#pragma unroll
        for (int j = 0; j < Place::count; j++) take(held[j], team.rank() + j * team.size(), words[j]);
    }
    // Begins to bring this block's part to shared memory: behind the cells, the arrivals, and then x and grad or soft.
    FASTACT_ROW_METHOD void fill() {
        unsigned char *const free = shared_memory() + 2 * Team::cell_bytes(blockDim.x);
        arrivals = reinterpret_cast<Arrival *>(free);
        chunk = reinterpret_cast<Words *>(free + (PIECES * sizeof(Arrival) + 15) / 16 * 16);
        int wanted = mine;
        if constexpr ((features & LIMITS) != 0) {
            const int kept = (limit - start + lanes - 1) / lanes - begin_;
            wanted = kept < 0 ? 0 : kept < mine ? kept : mine;
        }
        here = wanted < call.held ? wanted : static_cast<int>(call.held);
        const Words *const more = has_grad ? gs : softs;
        constexpr bool two = has_grad || has_soft;
        if constexpr (Place::bulk) {
            if (threadIdx.x == 0) {
                const int piece = piece_of();
                prepare(arrivals, PIECES);
                for (int i = 0; i < PIECES; i++) {
                    const int from = i * piece, count = from + piece < here ? piece : here - from;
                    if (count <= 0) break;
                    const unsigned bytes = static_cast<unsigned>(count) * sizeof(Words);
                    expect(arrivals + i, two ? 2 * bytes : bytes);
                    copy_to_shared(chunk + from, xs + begin_ + from, bytes, arrivals + i);
                    if constexpr (two) copy_to_shared(chunk + here + from, more + begin_ + from, bytes, arrivals + i);
                }
            }
            __syncthreads();  // everyone may wait for what has been prepared
        } else {
            const bool in_place = call.in_place != 0;
            constexpr int batch = 4;
            for (int c = team.rank(); c < here; c += batch * team.size()) {
                Words w[batch], g[batch];
#pragma unroll
                for (int u = 0; u < batch; u++) {
                    const int at = c + u * team.size();
                    if (at >= here) continue;
                    w[u] = load_words(xs + begin_ + at, in_place);
                    if constexpr (two) g[u] = load_words(more + begin_ + at, in_place);
                }
#pragma unroll
                for (int u = 0; u < batch; u++) {
                    const int at = c + u * team.size();
                    if (at >= here) continue;
                    chunk[at] = w[u];
                    if constexpr (two) chunk[here + at] = g[u];
                }
            }
        }
    }
    FASTACT_ROW_METHOD void write(const V &v, int c) const {
        if (!edges || v.inside == all_lanes) return store_words(ys + begin_ + c, fastact::pack<kind>(v.y));
        auto *const y = reinterpret_cast<Stored<kind> *>(ys + begin_ + c);
#pragma unroll
        for (int e = 0; e < lanes; e++)
            if (v.inside >> e & 1) y[e] = narrow<kind>(v.y[e]);
    }
    // Whether anything is left in the row, looked for only where it matters.
    FASTACT_ROW_METHOD void settle() {
        float found = 0.0f;
        visit([&](V &v, int) FASTACT_INLINE { found = v.kept ? 1.0f : found; });
        found = team.all(found, 0.0f, Larger());
        this->set_some(found > 0.0f);
    }

    // -------- what programs ask for

    FASTACT_ROW_METHOD F x(At at) const { return at.v->x[at.e]; }
    FASTACT_ROW_METHOD F one_of_words(const Words &words, int e) const {
        F all[lanes];
        fastact::unpack<kind>(words, all);
        return all[e];
    }
    FASTACT_ROW_METHOD F g(At at) const {
        if constexpr (!has_grad) return F(0);
        else if constexpr (masked || edges) return at.v->kept >> at.e & 1 ? one_of_words(at.v->grads, at.e) : F(0);
        else return one_of_words(at.v->grads, at.e);
    }
    FASTACT_ROW_METHOD F soft(At at) const { return one_of_words(at.v->softs, at.e); }
    FASTACT_ROW_METHOD F weight(At at) const { return at.v->inside >> at.e & 1 ? static_cast<F>(call.weight[at.v->base + at.e]) : F(0); }
    FASTACT_ROW_METHOD F packed(float v) const { return static_cast<F>(v); }
    FASTACT_ROW_METHOD F packed(double v) const { return static_cast<F>(v); }
    template <class T> FASTACT_ROW_METHOD F packed(Beside<T> v) const { return static_cast<F>(v.v); }
    template <class T> FASTACT_ROW_METHOD F pack(T u) const { return packed(u); }
    template <class T> FASTACT_FUNCTION U number(T v) {
        if constexpr (Team::beside) return U{static_cast<N>(v)};
        else return static_cast<N>(v);
    }
    template <class T> FASTACT_FUNCTION U number(Beside<T> v) { return U{static_cast<N>(v.v)}; }
    FASTACT_ROW_METHOD U unpacked(F v) const { return number(v); }
    // For halves the power of two comes from the device: log2(e) x - k, the rest of log2(e) included.
    FASTACT_FUNCTION F shifted_exp(F x, F lowest, F shift) {
        if constexpr (lanes == 8) return quick_exp2(fma(x, 1.925963033500e-8f, fma(x, 1.44269502162933349609375f, shift - 12583039.0f)));
        else {
            const auto parts = defs::exp_split(at_least(x, lowest), shift);
            return fma(parts.a, parts.b, parts.b);
        }
    }

    template <class Body> FASTACT_ROW_METHOD void each(Body body) const {
        visit([&](V &v, int c) FASTACT_INLINE {
#pragma unroll
            for (int e = 0; e < lanes; e++) body(At{&v, e});
            write(v, c);
        });
    }
    template <class Term> FASTACT_ROW_METHOD F largest_here(Term term) const {
        F m = static_cast<F>(-pack_infinity());
        visit([&](V &v, int) FASTACT_INLINE {
#pragma unroll
            for (int e = 0; e < lanes; e++) m = larger_of(m, term(At{&v, e}));
        });
        return m;
    }
    // Narrow, where nothing is compared with it that is wider.
    using Largest = typename Either<has_sink, U, typename Either<Team::beside, Beside<F>, F>::type>::type;
    template <class Term> FASTACT_ROW_METHOD Largest max(Term term) {
        const F m = team.all(largest_here(term), static_cast<F>(-pack_infinity()), Larger());
        if constexpr (masked) {
            const bool low = m == static_cast<F>(-pack_infinity());
            if (Team::beside ? __any_sync(0xffffffffu, low) != 0 : low) settle();
        }
        if constexpr (has_sink) return unpacked(m);
        else return Largest{m};
    }
    // Terms of one vector; what is beside the row does not count.
    template <class Term> FASTACT_ROW_METHOD void terms_of(V &v, F *terms, Term term) const {
#pragma unroll
        for (int e = 0; e < lanes; e++) {
            terms[e] = term(At{&v, e});
            if constexpr (edges) terms[e] = v.inside >> e & 1 ? terms[e] : F(0);
        }
    }
    // In float64 each with its rounding error beside it, as elsewhere; else floats by vectors.
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
    FASTACT_ROW_METHOD void add_terms(Sum &sum, const F *terms) const {
        if constexpr (is_float64<F>) {
#pragma unroll
            for (int e = 0; e < lanes; e++) add(sum, terms[e]);
        } else add(sum, static_cast<N>(sum_of_tree<N, F, lanes>(terms)));
    }
    FASTACT_ROW_METHOD N joined(const Sum &sum) const { return sum.low == sum.low ? sum.high + sum.low : sum.high; }  // NaN where the sum is infinite
    FASTACT_ROW_METHOD U total(const Sum &sum) const { return number(team.all(joined(sum), N(0), Plus())); }
    template <class Term> FASTACT_ROW_METHOD U sum(Term term) const {
        Sum s;
        visit([&](V &v, int) FASTACT_INLINE {
            F terms[lanes];
            terms_of(v, terms, term);
            add_terms(s, terms);
        });
        return total(s);
    }
    template <class Term> FASTACT_ROW_METHOD U exact_sum(Term term) const {
        Sum s;
        visit([&](V &v, int) FASTACT_INLINE { add_exactly(s, v, term); });
        return total(s);
    }
    template <class Term> FASTACT_ROW_METHOD void add_exactly(Sum &s, V &v, Term term) const {
        F terms[lanes];
        terms_of(v, terms, term);
        if constexpr (sizeof(N) == 8) {
#pragma unroll
            for (int e = 0; e < lanes; e++) add(s, terms[e]);
        } else add_terms(s, terms);
    }
    template <class Term> FASTACT_ROW_METHOD Results<U, 2> sum2(Term term) const {
        Sum a, b;
        visit([&](V &v, int) FASTACT_INLINE {
            F one[lanes], two[lanes];
#pragma unroll
            for (int e = 0; e < lanes; e++) {
                const auto both = term(At{&v, e});
                const bool counts = !edges || (v.inside >> e & 1);
                one[e] = counts ? both.a : F(0), two[e] = counts ? both.b : F(0);
            }
            add_terms(a, one), add_terms(b, two);
        });
        return {total(a), total(b)};
    }
    template <class Test> FASTACT_ROW_METHOD U first(Test test) const {
        float found = static_cast<float>(1 << 24);
        visit([&](V &v, int) FASTACT_INLINE {
#pragma unroll
            for (int e = lanes - 1; e >= 0; e--)
                if ((v.inside >> e & 1) && test(At{&v, e}) && static_cast<float>(v.base + e) < found) found = static_cast<float>(v.base + e);
        });
        found = team.all(found, static_cast<float>(1 << 24), [](float a, float b) { return b < a ? b : a; });
        return number(static_cast<N>(found < static_cast<float>(1 << 24) ? found : 0.0f));
    }

    // The largest and the sum of the terms in one pass and one exchange. A thread's terms are relative to the largest it knows of, that is,
    // shifted by a power of two, which a later shift puts right without an error.
    FASTACT_ROW_METHOD float frame(F m) const {
        const F near = m < F(-65536) ? F(-65536) : m > F(65536) ? F(65536) : m;
        return nearest_of(static_cast<float>(near) * 1.44269504f);
    }
    template <bool remember_, class Terms> FASTACT_ROW_METHOD Terms exponentials(U &nan) {
        const F low = static_cast<F>(-pack_infinity());
        constexpr float DOWN = 12583103.0f;
        F m = low;
        float k;
        Sum s;
        const auto terms_in_frame = [&](V &v) FASTACT_INLINE {
            const F shift = F(DOWN - k), lowest = F(k * 0.693147180f - 110.5f);
            F terms[lanes];
#pragma unroll
            for (int e = 0; e < lanes; e++) {
                terms[e] = shifted_exp(v.x[e], lowest, shift);
                if constexpr (remember_) remember(At{&v, e}, terms[e]);
                if constexpr (edges) terms[e] = v.inside >> e & 1 ? terms[e] : F(0);
            }
            if constexpr (remember_ || sizeof(N) == 4) add_terms(s, terms);
            else {
#pragma unroll
                for (int e = 0; e < lanes; e++) add(s, terms[e]);
            }
        };
        if constexpr (in_registers) {
            m = over_lanes<32>(largest_here([&](At at) FASTACT_INLINE { return x(at); }), Larger());
            k = frame(m);
            visit([&](V &v, int) FASTACT_INLINE { terms_in_frame(v); });
        } else {
            k = frame(m);
            visit([&](V &v, int) FASTACT_INLINE {
                F most = v.x[0];
#pragma unroll
                for (int e = 1; e < lanes; e++) most = larger_of(most, v.x[e]);
                if (most > m) {
                    m = most;
                    const float last = k;
                    k = frame(m);
                    s.high *= static_cast<N>(power_of_two(last - k));
                }
                terms_in_frame(v);
            });
            const F own = m;
            m = over_lanes<32>(own, Larger());
            s.high *= static_cast<N>(power_of_two(k - frame(m)));
            k = frame(m);
        }
        const N part = over_lanes<32>(s.high, Plus());
        team.tell(0, static_cast<N>(m)), team.tell(1, part);
        team.meet();
        const F most = team.told(low, [&](int i) FASTACT_INLINE { return static_cast<F>(*team.template cell<N>(i)); }, Larger());
        if constexpr (masked) {
            if (most == low) settle();
        }
        Largest largest = most;
        if (has_sink) largest = sink > largest ? sink : largest;
        Terms t(*this, largest);
        const float final = static_cast<float>(t.k);
        nan = number(largest);
        if (t.shifted) {
            const int count = Team::blocks * team.warps;
            const auto part = [&](int i) FASTACT_INLINE {
                const F m = static_cast<F>(*team.template cell<N>(i));
                return *team.template cell<N>(count + i) * static_cast<N>(power_of_two(frame(m) - final));
            };
            t.total = team.told(N(0), part, Plus());
            if constexpr (in_registers && remember_) factor = static_cast<F>(power_of_two(k - final));
            team.turn();
        } else {  // rare: what is too large for this, or infinite
            team.turn();
            if constexpr (in_registers && remember_) load();
            if (wants_lse) nan = programs::nan_among_infinite(*this, nan);
            t.total = exact_sum([&](At at) FASTACT_INLINE {
                const F term = t.careful(x(at));
                if constexpr (remember_) remember(at, term);
                return term;
            });
        }
        if (has_sink) t.total = t.total + t.term_of(sink);
        return t;
    }

    template <class T> FASTACT_ROW_METHOD F remember(At at, T v) const {
        if constexpr (in_registers) at.v->x[at.e] = v;
        return v;
    }
    template <class Term> FASTACT_ROW_METHOD F recall(At at, Term term) const {
        if constexpr (!in_registers) return term();
        else if constexpr (at_once) return at.v->x[at.e] * factor;
        else return at.v->x[at.e];
    }

    FASTACT_ROW_METHOD void put(At at, F v) const {
        F y = v;
        if constexpr (masked) y = at.v->kept >> at.e & 1 ? v : gone;
        if constexpr (direction != programs::VALUE && !loss_program && (features & SCALED) != 0) y = y * static_cast<F>(call.scale);
        at.v->y[at.e] = y;
    }
    // One element, as memory has it: before anything is written.
    FASTACT_ROW_METHOD U peek(U place) const {
        const int p = static_cast<int>(one_of(place));
        return unpacked(widen<kind, F>(reinterpret_cast<const Stored<kind> *>(xs)[p - start]));
    }
    FASTACT_ROW_METHOD void poke(U place, U v) const {
        const int p = static_cast<int>(one_of(place)), c = (p - start) / lanes - begin_;
        const bool apart = !in_registers && c >= here;
        if (c >= 0 && c < mine && (apart ? c - here : c) % team.size() == team.rank()) reinterpret_cast<Stored<kind> *>(ys)[p - start] = narrow<kind>(packed(v));
    }
    FASTACT_ROW_METHOD void finish() {
        if constexpr (!in_registers && Place::bulk) {  // no block ends before its copies
            if (!filled)
                for (int i = 0; i * piece_of() < here; i++) wait(arrivals + i);
        }
        if (length && team.rank() == 0 && team.block() == 0) this->give_numbers();
    }
};

template <class Team, class Place, unsigned features, int program, int direction, int kind, class F, class U> FASTACT_FUNCTION void rows_on_chip(const RowsCall &call) {
    OnChip<Team, Place, features, program, direction, kind, F, U> row(call, call.outer);
    programs::run<program, direction>(row);
    row.finish();
}
