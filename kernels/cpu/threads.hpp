// Threads of our own, which run the bands of jobs. See threads.cpp.
#pragma once
#include "interface.hpp"

extern "C" {
// Runs all bands of `job`, on up to `threads` threads, the caller among them. Returns when all are done.
void fastact_run_threads(const struct fastact_job *job, int threads);
// How many threads a call may run on now: at most what was asked for, the cores that the caller may run on, and the quota.
__attribute__((visibility("default"))) int fastact_get_num_threads(void);
// Ask for that many; 0: as many as there are.
__attribute__((visibility("default"))) void fastact_set_num_threads(int threads);
// What a container's processor quota comes to, in cores; 0: none.
void fastact_set_quota(int cores);
// Start the threads for a call on `threads` of them.
void fastact_start(int threads);
// How many threads this process has started.
int fastact_started(void);

// An elementwise operation over n elements as a job: each band is `band` elements, the last one what is left.
struct fastact_elementwise {
    struct fastact_job job;
    const struct fastact_isa *isa;
    const struct fastact_entry *entry;
    int kind, wide;  // as in fastact_isa's run
    const void *in[MAX_INPUTS];
    std::ptrdiff_t step[MAX_INPUTS];
    void *out[MAX_OUTPUTS];
    std::size_t n, band;
};
// Fill in all that follows from the members above, for so many threads.
void fastact_plan(struct fastact_elementwise *work, int threads);
}
