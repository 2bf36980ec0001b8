// Runs every kernel of one instruction set over few and over many elements while callgrind counts instructions: compiled into a
// shared object and called by instructions.py, under Valgrind.
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <valgrind/callgrind.h>
#include "interface.hpp"

namespace {
constexpr std::size_t FEW = 1024, MANY = 3072;  // multiples of every block of loops.hpp; their difference is free of what a call costs
alignas(64) double input[MANY], output[MAX_OUTPUTS][MANY], splat[SPLAT];
alignas(64) float single[MANY], single_splat[SPLAT];
alignas(64) std::uint16_t half[MANY], brain[MANY];

// Counts what `run(size)` executes; callgrind writes it down with the name, the storage and the size.
template <class Run> void twice(const char *name, const char *storage, Run run) {
    char label[120];
    for (std::size_t size : {FEW, MANY}) {
        std::snprintf(label, sizeof label, "%s %s %zu", name, storage, size);
        CALLGRIND_ZERO_STATS;
        run(size);
        CALLGRIND_DUMP_STATS_AT(label);
    }
}

void elementwise(const fastact_isa *isa, const fastact_entry *e, const char *storage, int kind, int wide) {
    const void *const stored[] = {half, brain, single, input};
    const void *in[MAX_INPUTS];
    std::ptrdiff_t step[MAX_INPUTS];
    void *out[MAX_OUTPUTS];
    for (int k = 0; k < e->inputs; k++) {
        step[k] = k < e->arrays;
        in[k] = step[k] ? stored[kind] : wide ? static_cast<const void *>(splat) : single_splat;
    }
    for (int k = 0; k < e->outputs; k++) out[k] = output[k];
    twice(e->name, storage, [&](std::size_t n) { isa->run(e, kind, wide, in, step, out, n); });
}

void rows(const fastact_isa *isa, int program, int direction, std::size_t length, const char *name) {
    static std::int64_t labels[MANY];
    static double loss[MANY], alpha = 1.3;
    int failed = 0;
    fastact_rows r = {};
    r.job.bands = 1;
    r.program = program, r.direction = direction, r.kind = FLOAT32;
    r.n = length, r.inner = 1, r.gather = 16;
    r.x = single, r.grad = direction ? single : nullptr, r.out = output[0];
    r.alpha = &alpha, r.labels = labels, r.loss = loss, r.failed = &failed;
    r.scale = r.bias_scale = r.margin = r.row_scale = 1.0, r.power = 1;
    const auto run = [&](std::size_t n) { r.outer = n / length, isa->rows(&r.job, 0); };
    run(FEW), run(MANY);  // so that malloc finds its scratch at once, whatever ran before
    twice(name, "float32", run);
}

// Is `name` among these, separated by spaces? Nothing means all.
bool wanted(const char *names, const char *name) {
    const std::size_t length = std::strlen(name);
    for (const char *at = names; (at = std::strstr(at, name)); at++)
        if ((at == names || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return !*names;
}
}  // namespace

extern "C" __attribute__((visibility("default"))) void fastact_count(const fastact_isa *isa, const char *names) {
    for (std::size_t i = 0; i < MANY; i++) {
        const float x = static_cast<float>(i * 37 % 256) / 32.0f - 4.0f;  // from -4 to 4, the same in every 256; all fit into halves
        std::uint32_t word;
        std::memcpy(&word, &x, 4);
        input[i] = single[i] = x;
        brain[i] = static_cast<std::uint16_t>(word >> 16);
        half[i] = x == 0 ? 0 : static_cast<std::uint16_t>((word >> 16 & 0x8000u) | ((word & 0x7fffffffu) - 0x38000000u) >> 13);
    }
    for (int i = 0; i < SPLAT; i++) splat[i] = 0.75, single_splat[i] = 0.75f;
    CALLGRIND_START_INSTRUMENTATION;
    for (int t = 0; t < isa->tables; t++)
        for (int i = 0; i < isa->table[t]->entries; i++) {
            const fastact_entry *e = &isa->table[t]->entry[i];
            if (!wanted(names, e->name)) continue;
            elementwise(isa, e, "float64", FLOAT64, 1);
            elementwise(isa, e, "precise", FLOAT32, 1);
            if (!e->loop32) continue;  // the others are computed in float64, too
            elementwise(isa, e, "float32", FLOAT32, 0);
            elementwise(isa, e, "bfloat16", BFLOAT16, 0);
            elementwise(isa, e, "float16", FLOAT16, 0);
        }
    static const char *const programs[] = {"softmax", "log_softmax", "hardmax", "sparsemax", "entmax15", "entmax", "cross_entropy", "multi_margin"};
    static const char *const directions[] = {"value", "backward", "backward_from_output"};
    char name[80];
    for (int program = 0; program < 8; program++)
        for (int direction = 0; direction < (program < 2 ? 3 : program < 6 ? 2 : 1); direction++)
            for (std::size_t length : {8, 64, 256}) {  // rows in the lanes of a pack, in pairs, and one along the packs
                std::snprintf(name, sizeof name, "%s_%s_rows_of_%zu", programs[program], directions[direction], length);
                if (wanted(names, name)) rows(isa, program, direction, length, name);
            }
    CALLGRIND_STOP_INSTRUMENTATION;
}
