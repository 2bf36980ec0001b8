// Elementwise operations over arrays that lie differently: strided, reversed, transposed, with gaps, broadcast.
//
// Loops take contiguous elements. Here tiles of a thousand elements are brought together in the first-level cache, computed, and taken
// apart again; what lies contiguous already is handed over where it is. A tile has columns along the axis on which the result is densest
// and rows along another one: the axis on which a transposed operand is densest, so that both sides use whole cache lines.
// Compiled once, with the baseline's flags: nothing here computes.
#pragma once
#include <cstddef>
#include <cstdint>
#include "interface.hpp"
#include "select.hpp"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    STRIDED_DIMENSIONS = 16,            // after neighbours have been merged
    STRIDED_OPERANDS = MAX_INPUTS + MAX_OUTPUTS,
    TILE_BYTES = 4096,                  // of an operand
    TURNED_BYTES = 16384, TURNED_SIDE = 64,  // of a tile of something transposed: whole cache lines both ways, in the first-level cache
    MANY = 5,                           // operands, for which such tiles would be too large
    DIRECT = 512,                       // rows of so many elements are worth a call of the loop
    LONGEST = 1 << 14,                  // and no longer ones are given to it
    STRIDED_BAND = 1 << 16,             // elements worth a thread's while
    STRIDED_BANDS = 64
};

struct fastact_strided_operand {
    char *data;  // null: a number, `splat`
    const void *splat;
    std::ptrdiff_t stride[STRIDED_DIMENSIONS];  // in bytes
};
struct fastact_strided {
    struct fastact_job job;
    const fastact_isa *isa;
    const fastact_entry *entry;
    int kind, wide, size;  // bytes of an element
    int dimensions;        // at least 2: the last are rows and columns of tiles
    std::size_t extent[STRIDED_DIMENSIONS];
    std::size_t rows, columns, bytes;  // of a full tile
    int down_first;  // tiles follow each other down the columns: along a transposed operand, which hardware then fetches ahead
    int inputs, outputs;
    fastact_strided_operand operand[STRIDED_OPERANDS];  // inputs, then outputs
};

namespace strided {

// ---------------------------------------------------------------- runs of elements

// Elements may lie at any address that their own size, or half of it, divides.
template <class U> static inline U at(const char *p) {
    U u;
    __builtin_memcpy(&u, p, sizeof u);
    return u;
}
template <class U> static inline void put(char *p, U u) { __builtin_memcpy(p, &u, sizeof u); }

// `n` elements, `step` bytes apart, side by side.
template <class U> static void gather(const char *from, std::ptrdiff_t step, char *to, std::size_t n) {
    std::size_t i = 0;
    constexpr std::ptrdiff_t size = sizeof(U);
#if defined(__SSE2__)
    const auto vector = [](const char *p) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(p)); };
    if (step == 2 * size) {  // every second one, out of two vectors; the last, whose neighbour may not be there, by itself
        for (; (i + 16 / size) < n; i += 16 / size, from += 32) {
            const __m128 a = _mm_castsi128_ps(vector(from)), b = _mm_castsi128_ps(vector(from + 16));
            __m128i even;
            if constexpr (size == 4) even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x88));
            else if constexpr (size == 8) even = _mm_castps_si128(_mm_shuffle_ps(a, b, 0x44)), even = _mm_unpacklo_epi64(vector(from), vector(from + 16));
            else {
                const auto low = [](__m128i v) { return _mm_srai_epi32(_mm_slli_epi32(v, 16), 16); };  // packing saturates: sign-extended
                even = _mm_packs_epi32(low(vector(from)), low(vector(from + 16)));
            }
            _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i * sizeof(U)), even);
        }
    }
    if (step == -size) {
        for (; i + 16 / size <= n; i += 16 / size, from -= 16) {
            const __m128i a = vector(from - 16 + size);
            __m128i back;
            if constexpr (size == 8) back = _mm_shuffle_epi32(a, 0x4e);
            else back = _mm_shuffle_epi32(a, 0x1b);
            if constexpr (size == 2) back = _mm_shufflehi_epi16(_mm_shufflelo_epi16(back, 0xb1), 0xb1);
            _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i * sizeof(U)), back);
        }
    }
#endif
    for (; i + 4 <= n; i += 4, from += 4 * step) {
        const U a = at<U>(from), b = at<U>(from + step), c = at<U>(from + 2 * step), d = at<U>(from + 3 * step);
        char *const here = to + i * sizeof(U);
        if constexpr (sizeof(U) == 4) {  // two elements a store: stores are what there is one of a cycle
            put(here, static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b) << 32);
            put(here + 8, static_cast<std::uint64_t>(c) | static_cast<std::uint64_t>(d) << 32);
        } else if constexpr (sizeof(U) == 2) {
            put(here, static_cast<std::uint64_t>(a) | static_cast<std::uint64_t>(b) << 16 | static_cast<std::uint64_t>(c) << 32 |
                          static_cast<std::uint64_t>(d) << 48);
        } else put(here, a), put(here + sizeof(U), b), put(here + 2 * sizeof(U), c), put(here + 3 * sizeof(U), d);
    }
    for (; i < n; i++, from += step) put(to + i * sizeof(U), at<U>(from));
}

template <class U> static void scatter(const char *from, char *to, std::ptrdiff_t step, std::size_t n) {
    for (std::size_t i = 0; i < n; i++, to += step) put(to, at<U>(from + i * sizeof(U)));
}

template <class U> static void fill(const char *from, char *to, std::size_t n) {
    const U value = at<U>(from);
    std::size_t i = 0;
#if defined(__SSE2__)
    constexpr std::size_t lanes = 16 / sizeof(U);
    U all[lanes];
    for (U &one : all) one = value;
    const __m128i vector = _mm_loadu_si128(reinterpret_cast<const __m128i *>(all));
    for (; i + lanes <= n; i += lanes) _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i * sizeof(U)), vector);
#endif
    for (; i < n; i++) put(to + i * sizeof(U), value);
}

// Rows of a few bytes: a call of memcpy for each would cost more than the copy. The rest of 16 goes in one more, overlapping vector.
static inline void copy_row(const char *from, char *to, std::size_t bytes) {
#if defined(__SSE2__)
    if (bytes >= 16 && bytes <= 256) {
        const auto one = [&](std::size_t i) {
            _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i), _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + i)));
        };
        for (std::size_t i = 0; i + 16 <= bytes; i += 16) one(i);
        if (bytes % 16) one(bytes - 16);
        return;
    }
#endif
    __builtin_memcpy(to, from, bytes);
}

#define FASTACT_UNROLL _Pragma("GCC unroll 8")

// to[j][i] = from[i][j]: `m` rows of `n` contiguous elements, rows `from_step` bytes apart; rows of the result lie `to_step` apart.
template <class U>
static void transpose(const char *from, std::ptrdiff_t from_step, char *to, std::ptrdiff_t to_step, std::size_t m, std::size_t n) {
    constexpr std::ptrdiff_t size = sizeof(U);
    const auto row = [](std::size_t i, std::ptrdiff_t step) { return static_cast<std::ptrdiff_t>(i) * step; };
    std::size_t i = 0;
#if defined(__SSE2__)
    constexpr std::size_t side = 16 / size;
    for (; i + side <= m; i += side) {
        std::size_t j = 0;
        for (; j + side <= n; j += side) {
            __m128i v[side], w[side];
            FASTACT_UNROLL for (std::size_t k = 0; k < side; k++)
                v[k] = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from + row(i + k, from_step) + row(j, size)));
            if constexpr (size == 2) {
                FASTACT_UNROLL for (std::size_t k = 0; k < side / 2; k++)
                    w[2 * k] = _mm_unpacklo_epi16(v[k], v[k + side / 2]), w[2 * k + 1] = _mm_unpackhi_epi16(v[k], v[k + side / 2]);
                FASTACT_UNROLL for (std::size_t k = 0; k < side / 2; k++)
                    v[2 * k] = _mm_unpacklo_epi16(w[k], w[k + side / 2]), v[2 * k + 1] = _mm_unpackhi_epi16(w[k], w[k + side / 2]);
                FASTACT_UNROLL for (std::size_t k = 0; k < side / 2; k++)
                    w[2 * k] = _mm_unpacklo_epi16(v[k], v[k + side / 2]), w[2 * k + 1] = _mm_unpackhi_epi16(v[k], v[k + side / 2]);
            } else if constexpr (size == 4) {
                const __m128i a = _mm_unpacklo_epi32(v[0], v[2]), b = _mm_unpackhi_epi32(v[0], v[2]);
                const __m128i c = _mm_unpacklo_epi32(v[1], v[3]), d = _mm_unpackhi_epi32(v[1], v[3]);
                w[0] = _mm_unpacklo_epi32(a, c), w[1] = _mm_unpackhi_epi32(a, c), w[2] = _mm_unpacklo_epi32(b, d), w[3] = _mm_unpackhi_epi32(b, d);
            } else w[0] = _mm_unpacklo_epi64(v[0], v[1]), w[1] = _mm_unpackhi_epi64(v[0], v[1]);
            FASTACT_UNROLL for (std::size_t k = 0; k < side; k++) _mm_storeu_si128(reinterpret_cast<__m128i *>(to + row(j + k, to_step) + row(i, size)), w[k]);
        }
        for (; j < n; j++)
            for (std::size_t k = i; k < i + side; k++) put(to + row(j, to_step) + row(k, size), at<U>(from + row(k, from_step) + row(j, size)));
    }
#endif
    for (; i < m; i++)
        for (std::size_t j = 0; j < n; j++) put(to + row(j, to_step) + row(i, size), at<U>(from + row(i, from_step) + row(j, size)));
}

// ---------------------------------------------------------------- tiles

// A tile of `rows` by `columns` elements, `down` and `along` bytes apart, as one run.
template <class U>
static void read_tile(const char *from, std::ptrdiff_t down, std::ptrdiff_t along, char *to, std::size_t rows, std::size_t columns) {
    const std::ptrdiff_t size = sizeof(U);
    const std::size_t line = columns * sizeof(U);
    if (!down && !along) return fill<U>(from, to, rows * columns);
    if (down == size && along != size && rows > 1 && along)
        return transpose<U>(from, along, to, static_cast<std::ptrdiff_t>(line), columns, rows);
    for (std::size_t i = 0; i < rows; i++, from += down) {
        if (!down && i) __builtin_memcpy(to + i * line, to, line);
        else if (along == size) copy_row(from, to + i * line, line);
        else if (!along) fill<U>(from, to + i * line, columns);
        else gather<U>(from, along, to + i * line, columns);
    }
}
template <class U>
static void write_tile(const char *from, char *to, std::ptrdiff_t down, std::ptrdiff_t along, std::size_t rows, std::size_t columns) {
    const std::ptrdiff_t size = sizeof(U);
    const std::size_t line = columns * sizeof(U);
    if (down == size && along != size && rows > 1) return transpose<U>(from, static_cast<std::ptrdiff_t>(line), to, along, rows, columns);
    for (std::size_t i = 0; i < rows; i++, to += down) {
        if (along == size) copy_row(from + i * line, to, line);
        else scatter<U>(from + i * line, to, along, columns);
    }
}

// Where a tile is: its number in each dimension, columns first in the order in which tiles are taken.
struct Walk {
    const fastact_strided &s;
    int inner, outer;             // of the last two dimensions, the one that tiles follow first
    std::size_t tiles[2];         // along rows, along columns
    std::size_t at[STRIDED_DIMENSIONS];
    std::ptrdiff_t base[STRIDED_OPERANDS];  // of the dimensions before the last two

    Walk(const fastact_strided &s) : s(s) {
        const int n = s.dimensions;
        inner = s.down_first ? n - 2 : n - 1, outer = s.down_first ? n - 1 : n - 2;
        tiles[0] = (s.extent[n - 2] + s.rows - 1) / s.rows, tiles[1] = (s.extent[n - 1] + s.columns - 1) / s.columns;
    }
    std::size_t count(int d) const { return d < s.dimensions - 2 ? s.extent[d] : tiles[d - (s.dimensions - 2)]; }
    std::size_t total() const {
        std::size_t found = 1;
        for (int d = 0; d < s.dimensions; d++) found *= count(d);
        return found;
    }
    void settle() {
        for (int k = 0; k < s.inputs + s.outputs; k++) {
            base[k] = 0;
            for (int d = 0; s.operand[k].data && d < s.dimensions - 2; d++) base[k] += static_cast<std::ptrdiff_t>(at[d]) * s.operand[k].stride[d];
        }
    }
    void go(std::size_t tile) {
        at[inner] = tile % count(inner), tile /= count(inner);
        at[outer] = tile % count(outer), tile /= count(outer);
        for (int d = s.dimensions - 3; d >= 0; d--) at[d] = tile % count(d), tile /= count(d);
        settle();
    }
    void next() {
        if (++at[inner] < count(inner)) return;
        at[inner] = 0;
        if (++at[outer] < count(outer)) return;
        at[outer] = 0;
        for (int d = s.dimensions - 3; d >= 0; d--) {
            if (++at[d] < count(d)) break;
            at[d] = 0;
        }
        settle();
    }
    std::size_t row() const { return at[s.dimensions - 2] * s.rows; }
    std::size_t column() const { return at[s.dimensions - 1] * s.columns; }
    char *place(int k) const {
        const fastact_strided_operand &o = s.operand[k];
        const std::ptrdiff_t *const last = o.stride + s.dimensions - 2;
        return o.data + base[k] + static_cast<std::ptrdiff_t>(row()) * last[0] + static_cast<std::ptrdiff_t>(column()) * last[1];
    }
};

template <class U> static void run_band(const fastact_strided &s, std::size_t band) {
    const int n = s.dimensions, all = s.inputs + s.outputs;
    const std::size_t last = s.extent[n - 1], before = s.extent[n - 2];
    Walk walk(s);
    const std::size_t total = walk.total(), part = total / s.job.bands, more = total % s.job.bands;
    const std::size_t begin = part * band + (band < more ? band : more), end = begin + part + (band < more);
    const auto tiles = static_cast<char *>(__builtin_alloca(static_cast<std::size_t>(all) * s.bytes + 64));
    char *const aligned = tiles + (64 - reinterpret_cast<std::uintptr_t>(tiles) % 64) % 64;
    const char *held[STRIDED_OPERANDS] = {};  // what a tile of an input holds, where it may be used again
    std::size_t held_rows[STRIDED_OPERANDS], held_columns[STRIDED_OPERANDS];
    const void *in[MAX_INPUTS];
    std::ptrdiff_t step[MAX_INPUTS];
    void *out[MAX_OUTPUTS];
    walk.go(begin);
    for (std::size_t tile = begin; tile < end; tile++, walk.next()) {
        const std::size_t i = walk.column(), j = walk.row();
        const std::size_t c = last - i < s.columns ? last - i : s.columns, r = before - j < s.rows ? before - j : s.rows;
        char *place[STRIDED_OPERANDS];
        bool direct[STRIDED_OPERANDS];
        for (int k = 0; k < all; k++) {
            const fastact_strided_operand &o = s.operand[k];
            if (!o.data) continue;
            place[k] = walk.place(k);
            direct[k] = (o.stride[n - 1] == s.size || c == 1) && (r == 1 || o.stride[n - 2] == static_cast<std::ptrdiff_t>(c) * s.size);
        }
        for (int k = 0; k < s.inputs; k++) {
            const fastact_strided_operand &o = s.operand[k];
            step[k] = o.data != nullptr;
            if (!o.data) in[k] = o.splat;
            else if (direct[k]) in[k] = place[k];
            else {
                char *const to = aligned + static_cast<std::size_t>(k) * s.bytes;
                in[k] = to;
                const bool again = !o.stride[n - 1] || !o.stride[n - 2];
                if (again && held[k] == place[k] && held_rows[k] == r && held_columns[k] == c) continue;
                read_tile<U>(place[k], o.stride[n - 2], o.stride[n - 1], to, r, c);
                if (again) held[k] = place[k], held_rows[k] = r, held_columns[k] = c;
            }
        }
        for (int k = 0; k < s.outputs; k++) out[k] = direct[s.inputs + k] ? place[s.inputs + k] : aligned + static_cast<std::size_t>(s.inputs + k) * s.bytes;
        s.isa->run(s.entry, s.kind, s.wide, in, step, out, r * c);
        for (int k = 0; k < s.outputs; k++) {
            const fastact_strided_operand &o = s.operand[s.inputs + k];
            if (!direct[s.inputs + k]) write_tile<U>(static_cast<const char *>(out[k]), place[s.inputs + k], o.stride[n - 2], o.stride[n - 1], r, c);
        }
    }
}

static void run(const fastact_job *job, std::size_t band) {
    const auto &s = *reinterpret_cast<const fastact_strided *>(job);
    if (s.size == 2) run_band<std::uint16_t>(s, band);
    else if (s.size == 4) run_band<std::uint32_t>(s, band);
    else run_band<std::uint64_t>(s, band);
}

static inline std::size_t distance(std::ptrdiff_t stride) { return static_cast<std::size_t>(stride < 0 ? -stride : stride); }

}  // namespace strided

static void fastact_strided_begin(fastact_strided *s, const fastact_isa *isa, const fastact_entry *entry, int kind, int wide) {
    s->job.run = strided::run, s->isa = isa, s->entry = entry, s->kind = kind, s->wide = wide;
    s->size = kind == FLOAT64 ? 8 : kind == FLOAT32 ? 4 : 2;
    s->inputs = entry->inputs, s->outputs = entry->outputs;
}

// An operand: data and strides of an array of the common shape, or null and a number.
static void fastact_strided_operand_at(fastact_strided *s, int k, void *data, const std::ptrdiff_t *stride, int dimensions, const void *splat) {
    fastact_strided_operand &o = s->operand[k];
    o.data = static_cast<char *>(data), o.splat = splat;
    for (int d = 0; data && d < dimensions; d++) o.stride[d] = stride[d];
}

// Order and merge the dimensions, and choose the tiles. False if there are too many; nothing may be empty.
static bool fastact_strided_plan(fastact_strided *s, int dimensions, const std::ptrdiff_t *shape) {
    using strided::distance;
    const int all = s->inputs + s->outputs;
    const fastact_strided_operand &result = s->operand[s->inputs];
    int order[STRIDED_DIMENSIONS + 2], n = 0;
    for (int d = 0; d < dimensions; d++) {  // those of the result from the longest stride to the shortest
        if (shape[d] == 1) continue;
        int at = n++;
        for (; at > 0 && distance(result.stride[order[at - 1]]) < distance(result.stride[d]); at--) order[at] = order[at - 1];
        order[at] = d;
    }
    for (int i = 0; i < n; i++) {  // the result goes forward
        const int d = order[i];
        if (result.stride[d] >= 0) continue;
        for (int k = 0; k < all; k++) {
            fastact_strided_operand &o = s->operand[k];
            if (o.data) o.data += (shape[d] - 1) * o.stride[d], o.stride[d] = -o.stride[d];
        }
    }
    // Neighbours that all operands pass through as one are one. At the end one dimension more than there are may be needed.
    std::size_t extent[STRIDED_DIMENSIONS + 1];
    int from[STRIDED_DIMENSIONS + 1], merged = 0;
    for (int i = 0; i < n; i++) {
        const int d = order[i];
        bool one = merged > 0;
        for (int k = 0; one && k < all; k++) {
            const fastact_strided_operand &o = s->operand[k];
            if (o.data) one = o.stride[from[merged - 1]] == o.stride[d] * shape[d];
        }
        if (one) extent[merged - 1] *= static_cast<std::size_t>(shape[d]), from[merged - 1] = d;
        else extent[merged] = static_cast<std::size_t>(shape[d]), from[merged++] = d;
    }
    if (!merged) return false;
    const int columns = from[merged - 1];
    int rows = merged - 2;  // the axis of the tile's rows
    bool transposed = false;
    for (int k = 0; k < all; k++) {
        const fastact_strided_operand &o = s->operand[k];
        for (int i = 0; o.data && i < merged - 1; i++) {
            const std::size_t here = distance(o.stride[from[i]]);
            if (here && here < distance(o.stride[columns]) && (!transposed || here == static_cast<std::size_t>(s->size)))
                rows = i, transposed = true;
        }
    }
    std::ptrdiff_t stride[STRIDED_OPERANDS][STRIDED_DIMENSIONS];
    int placed[STRIDED_DIMENSIONS], count = 0;
    for (int i = 0; i < merged - 1; i++)
        if (i != rows) placed[count++] = i;
    placed[count++] = rows;  // -1: there is one dimension
    placed[count++] = merged - 1;
    for (int i = 0; i < count; i++) {
        const int from_i = placed[i];
        s->extent[i] = from_i < 0 ? 1 : extent[from_i];
        for (int k = 0; k < all; k++)
            if (s->operand[k].data) stride[k][i] = from_i < 0 ? 0 : s->operand[k].stride[from[from_i]];
    }
    s->dimensions = count;
    for (int k = 0; k < all; k++)
        for (int i = 0; s->operand[k].data && i < count; i++) s->operand[k].stride[i] = stride[k][i];
    const bool turned = transposed && all < MANY;
    const std::size_t block = static_cast<std::size_t>((turned ? TURNED_BYTES : TILE_BYTES) / s->size), side = turned ? TURNED_SIDE : TURNED_SIDE / 2;
    const std::size_t last = s->extent[count - 1], before = s->extent[count - 2];
    const auto least = [](std::size_t a, std::size_t b) { return a < b ? a : b; };
    s->down_first = transposed;
    bool plain = true;  // every row of every operand can be handed over
    for (int k = 0; k < all; k++)
        if (s->operand[k].data) plain &= s->operand[k].stride[count - 1] == s->size;
    if (transposed) {
        const std::size_t whole = static_cast<std::size_t>(16 / s->size);  // what is transposed at once
        const auto even = [&](std::size_t count, std::size_t most) {  // pieces of about one size
            const std::size_t pieces = (count + most - 1) / most;
            return least(most, ((count + pieces - 1) / pieces + whole - 1) / whole * whole);
        };
        s->columns = least(last, even(last, before < side ? block / before : side));
        s->rows = least(before, even(before, block / s->columns));
    } else if (plain && last >= DIRECT) s->columns = least(last, LONGEST), s->rows = 1;
    else {
        s->columns = least(last, block);
        s->rows = s->columns > block / 2 ? 1 : least(before, block / s->columns);
    }
    s->bytes = plain && s->rows == 1 ? 0 : (s->rows * s->columns * static_cast<std::size_t>(s->size) + 63) / 64 * 64;
    std::size_t total = 1;
    for (int i = 0; i < count; i++) total *= s->extent[i];
    const std::size_t bands = total / STRIDED_BAND;
    const std::size_t tiles = total / (s->columns * s->rows);
    s->job.bands = bands < 1 || tiles < 1 ? 1 : least(least(bands, STRIDED_BANDS), tiles);
    return true;
}
