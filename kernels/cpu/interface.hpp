// What the compiled module and the instruction sets' translation units agree on. Plain C, nothing inline.
#pragma once
#include <cstddef>
#include <cstdint>

enum Kind { FLOAT16, BFLOAT16, FLOAT32, FLOAT64 };  // how elements are stored
enum { MAX_INPUTS = 14, MAX_OUTPUTS = 14, SPLAT = 64 };  // a gradient, x and 12 parameters; SPLAT: elements a splatted number must cover, the widest pack
enum How { WIDE = 1, STREAM = 2 };  // compute in float64; store past the caches

extern "C" {
struct fastact_entry {  // an elementwise operation: gelu_value, gelu_derivative, gelu_backward ...
    const char *name;
    int inputs, outputs, arrays;  // the first `arrays` inputs are arrays, the rest parameters
    int stored;                   // the first `stored` outputs are stored like x, the rest in the working type
    int unit_gradient;            // the loop takes one more array before these, which is 1 throughout
    void (*loop32)();             // its loop in float32, null if there is none; the type is known to loops.hpp alone
    void (*loop64)();
    void (*loop_wide)();          // over float32, computed in float64 with what that needs; null: through loop64
    void (*derivative32)();       // if not null, the loop above gives the first output and this one, with a gradient of 1, the second
    void (*derivative64)();
};
struct fastact_table {  // the operations of one translation unit
    int entries;
    const struct fastact_entry *entry;
};
// A piece of work in bands that may run on several threads. How many there are, and where their borders are, follows from shapes alone:
// sums that are folded band by band have the same bits for any number of threads. First member of the structs that say the rest.
struct fastact_job {
    void (*run)(const struct fastact_job *, std::size_t band);
    std::size_t bands;
};
struct fastact_spread {  // an array broadcast over [outer][n][inner]: element (o, r, c) is data[outer[o] + r * step + inner[c]]
    const void *data;
    const std::int64_t *outer;
    std::ptrdiff_t step;
    const std::int64_t *inner;
};
struct fastact_rows {  // a row-wise call; its members are those of `Rows` in fastact/rows.py, null or 0 where there is none
    struct fastact_job job;
    int program, direction;  // as in rows/programs.hpp
    int kind, wide;
    std::size_t outer, n, inner;
    std::size_t gather;  // rows of up to so many elements go side by side
    const void *x, *grad, *soft;
    void *out;
    const double *row_grad, *sink, *alpha, *weight;
    int sink_step, alpha_step;  // 0: one number for all rows
    double scale, bias_scale;
    struct fastact_spread bias, where;
    const std::int64_t *limits, *labels;
    int masked_nan, hard, has_noise, has_ignore, power;
    std::uint64_t noise;
    std::int64_t ignore;
    double smoothing, z_loss, margin, row_scale;
    double *lse, *dsink, *dalpha, *loss;
    double *dbias;  // one after the other for each band
    std::size_t bias_size;
    int *failed;  // set where there was no memory for a tile
};
// A pipeline, as pipeline.hpp runs it: elements in the view [outer][mid][n], through activations and what stands before and after them.
struct fastact_operand {  // an array in the view, or a number
    char *data;           // null: the number, if it is present at all
    std::ptrdiff_t stride[3];  // in elements; 0: the same all along
    double number;
    int present;
};
struct fastact_sum {  // what is summed, in float64: one number for each element of an array that is broadcast over the view
    double *data;     // null: not wanted
    std::ptrdiff_t stride[3];
    std::ptrdiff_t group, strip;  // each group of rows and strip of columns may have its own, to be added up afterwards
};
struct fastact_factor {  // function(clamp(x + bias)) + offset
    struct fastact_operand x, bias, dx;
    const struct fastact_entry *value, *both, *backward;  // null: the identity
    int params, clamped;
    int gate;                     // which of GATES has faster loops for products, in float32
    double low, high, offset;
    struct fastact_operand param[MAX_INPUTS];
    struct fastact_sum dbias, dparam[MAX_OUTPUTS];
};
enum Gates { NO_GATE, SILU_GATE };
enum Mode { FORWARD, BACKWARD, LOSS, WITH_MASK, FROM_MASK };
struct fastact_pipeline {
    struct fastact_job job;
    int mode, kind, wide, factors;
    std::size_t outer, mid, n;            // the view; rows are numbered outer * mid
    std::size_t groups, unit, units;      // bands: `units` units of `unit` rows in `groups` groups,
    std::size_t strips, strip, block;     // times strips of `strip` columns; blocks of `block` columns, or of `block` rows if `packed`
    int packed;
    struct fastact_factor factor[2];      // out = product of the factors * weight, some of it dropped
    struct fastact_operand weight, grad, out;
    struct fastact_sum dweight;
    int dropout;                          // kept: those whose random number, 24 bits, is less than `threshold`; times `scale`
    unsigned long long seed, threshold;
    std::ptrdiff_t index[3];              // of the element whose number it is
    double scale;                         // of dropout; of a loss's gradient
    struct fastact_operand target;        // LOSS: factor[0] has x, the functions and dx; out the losses
    struct fastact_sum total;
    unsigned char *bits;                  // WITH_MASK, FROM_MASK: bit i, whether the slope at element i is slope[1]
    double slope[2];
};
struct fastact_isa {
    const char *name;
    int vector_bytes;
    int tables;
    const struct fastact_table *const *table;
    void (*run)(const struct fastact_entry *, int kind, int how, const void *const *in, const std::ptrdiff_t *step, void *const *out, std::size_t n);
    void (*rows)(const struct fastact_job *, std::size_t band);      // of a fastact_rows, see rows.hpp
    void (*pipeline)(const struct fastact_job *, std::size_t band);  // of a fastact_pipeline, see pipeline.hpp
};
}
