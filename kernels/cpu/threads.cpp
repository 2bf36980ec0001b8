// A pool of threads for the bands of jobs. Compiled with the baseline's flags alone.
//
// One call at a time has the threads; who comes meanwhile runs its bands alone, and a thread that finds more threads running than its
// call was given goes home: callers on threads of their own (joblib, dask) do not add up to more than there are cores.
// A call never waits for a thread that has not come: threads enter an open call, take the next band until there is none, and leave; the
// caller does the same and then waits only for those inside. So a thread that wakes too late costs nothing, and a call is never slower
// than alone by more than waking them, one system call.
// A thread that has left waits a little, awake, for the next call, and then sleeps. Threads are never joined: what they use is never
// freed, and a process ends with them asleep. A forked child has none, forgets the pool and makes another when it needs one.
#include "threads.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

#include "select.hpp"

namespace {

enum { MOST_THREADS = 1024 };
// How long a thread stays awake for the next call, and how often it looks at the clock. Calls in a row come within a few microseconds;
// for longer, other programs pay.
constexpr auto AWAKE = std::chrono::microseconds(20);
enum { LOOKS = 64 };
constexpr std::size_t STACK = std::size_t{2} << 20;  // tiles of a few 100 KiB stand there; musl would give 128 KiB

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

struct Pool {
    // The open call: how many may still enter (from bit 16) and how many threads are inside.
    std::atomic<unsigned> door{0};
    const fastact_job *job = nullptr;  // written while nobody is inside
    int threads = 0;
    std::atomic<bool> stay_awake{false};
    alignas(64) std::atomic<std::size_t> next{0};  // the band to take
    alignas(64) std::atomic<int> asleep{0};
    std::atomic<bool> caller_asleep{false};
    int started = 0;  // by whoever has the pool
    std::mutex mutex;
    std::condition_variable call, left;
};
constexpr unsigned PLACE = 1u << 16, INSIDE = PLACE - 1;

Pool *pool = nullptr;             // made once, never freed; another in a forked child
std::atomic<bool> taken{false};   // somebody has the pool
std::atomic<int> running{0};      // threads that run bands now, callers among them
std::atomic<int> asked{0}, quota{0};

// Takes bands until there are none; a guest goes also when more threads run than the call was given.
void take_bands(Pool *p, const fastact_job *job, bool guest) {
    fastact_environment environment;
    for (std::size_t band; (band = p->next.fetch_add(1, std::memory_order_relaxed)) < job->bands;) {
        job->run(job, band);
        if (guest && running.load(std::memory_order_relaxed) > p->threads) break;
    }
    p->door.fetch_and(INSIDE, std::memory_order_relaxed);  // there is nothing left to enter for, or no core
}

bool enter(Pool *p) {
    unsigned door = p->door.load(std::memory_order_relaxed);
    while (door >= PLACE)
        if (p->door.compare_exchange_weak(door, door - PLACE + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
}

void leave(Pool *p) {
    if ((p->door.fetch_sub(1) & INSIDE) == 1 && p->caller_asleep.load()) {
        std::lock_guard<std::mutex> lock(p->mutex);
        p->left.notify_one();
    }
}

// Looks for a while whether `done`; the caller decides what to do if it is not.
template <class Done> bool watch(Done done) {
    const auto end = std::chrono::steady_clock::now() + AWAKE;
    do
        for (int i = 0; i < LOOKS; i++) {
            if (done()) return true;
            pause();
        }
    while (std::chrono::steady_clock::now() < end);
    return false;
}

void *work(void *given) {
    Pool *const p = static_cast<Pool *>(given);
    for (;;) {
        if (enter(p)) {
            running.fetch_add(1, std::memory_order_relaxed);
            take_bands(p, p->job, true);
            running.fetch_sub(1, std::memory_order_relaxed);
            leave(p);
        }
        if (p->stay_awake.load(std::memory_order_relaxed) && watch([p] { return p->door.load(std::memory_order_relaxed) >= PLACE; })) continue;
        std::unique_lock<std::mutex> lock(p->mutex);
        p->asleep.fetch_add(1);  // before the door is looked at: who opens it looks at this after
        p->call.wait(lock, [p] { return p->door.load() >= PLACE; });
        p->asleep.fetch_sub(1);
    }
    return nullptr;
}

// More threads, up to `wanted`; as many as the system gives. They take no signals: those are the interpreter's.
void start(Pool *p, int wanted) {
    if (p->started >= wanted) return;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (p->started < wanted && !pthread_create(&thread, &attributes, work, p)) {
        p->started++;
#if defined(__linux__)
        pthread_setname_np(thread, "fastact");
#endif
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
}

void in_child() {
    pool = nullptr;  // its threads are not here, and its mutex may be held by one of them
    taken.store(false);
    running.store(0);
}

// The pool, for the one who has taken it.
Pool *get_pool() {
    static const int registered = pthread_atfork(nullptr, nullptr, in_child);
    (void)registered;
    if (!pool) pool = new (std::nothrow) Pool;
    return pool;
}

int cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return std::max(1, CPU_COUNT(&set));
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : static_cast<int>(std::min<long>(online, MOST_THREADS));
}

struct Counted {
    Counted() { running.fetch_add(1, std::memory_order_relaxed); }
    ~Counted() { running.fetch_sub(1, std::memory_order_relaxed); }
};

void run_elementwise_band(const fastact_job *job, std::size_t band) {
    const auto *w = reinterpret_cast<const fastact_elementwise *>(job);
    static const std::size_t sizes[] = {2, 2, 4, 8};
    const std::size_t begin = band * w->band, n = std::min(w->band, w->n - begin);
    const std::size_t size = sizes[w->kind], working = (w->wide & 1) || !w->entry->loop32 ? 8 : 4;
    const void *in[MAX_INPUTS];
    void *out[MAX_OUTPUTS];
    for (int k = 0; k < w->entry->inputs; k++) in[k] = static_cast<const char *>(w->in[k]) + (w->step[k] ? begin * size : 0);
    for (int k = 0; k < w->entry->outputs; k++) out[k] = static_cast<char *>(w->out[k]) + begin * (k < w->entry->stored ? size : working);
    w->isa->run(w->entry, w->kind, w->wide, in, w->step, out, n);
}

}  // namespace

void fastact_run_threads(const fastact_job *job, int threads) {
    Counted here;
    // Those that run already, for other callers, have their cores.
    threads = std::min(threads, threads - running.load(std::memory_order_relaxed) + 1);
    threads = static_cast<int>(std::min<std::size_t>({job->bands, static_cast<std::size_t>(std::max(threads, 1)), MOST_THREADS}));
    Pool *p = nullptr;
    if (threads > 1 && !taken.exchange(true, std::memory_order_acquire) && !(p = get_pool())) taken.store(false);
    if (!p) return fastact_run_bands(job);
    start(p, threads - 1);
    p->job = job;
    p->threads = threads;
    p->stay_awake.store(threads <= cores(), std::memory_order_relaxed);
    p->next.store(0, std::memory_order_relaxed);
    p->door.store(PLACE * static_cast<unsigned>(threads - 1));  // before `asleep` is looked at, as all without an order named here
    if (const int asleep = p->asleep.load()) {
        { std::lock_guard<std::mutex> lock(p->mutex); }  // who has counted itself asleep now is
        for (int i = std::min(asleep, threads - 1); i > 0; i--) p->call.notify_one();
    }
    take_bands(p, job, false);
    const auto empty = [p] { return (p->door.load(std::memory_order_acquire) & INSIDE) == 0; };
    if (!watch(empty)) {
        std::unique_lock<std::mutex> lock(p->mutex);
        p->caller_asleep.store(true);
        p->left.wait(lock, [p] { return (p->door.load() & INSIDE) == 0; });
        p->caller_asleep.store(false);
    }
    taken.store(false, std::memory_order_release);
}

int fastact_get_num_threads(void) {
    int found = std::min<int>(cores(), MOST_THREADS);
    if (const int most = quota.load(std::memory_order_relaxed)) found = std::min(found, most);
    if (const int most = asked.load(std::memory_order_relaxed)) found = std::min(found, most);
    return found;
}

void fastact_set_num_threads(int threads) { asked.store(std::max(threads, 0), std::memory_order_relaxed); }

void fastact_set_quota(int most) { quota.store(std::max(most, 0), std::memory_order_relaxed); }

void fastact_start(int threads) {
    if (threads < 2 || taken.exchange(true, std::memory_order_acquire)) return;
    if (Pool *p = get_pool()) start(p, std::min<int>(threads, MOST_THREADS) - 1);
    taken.store(false, std::memory_order_release);
}

int fastact_started(void) { return pool ? pool->started : 0; }

void fastact_plan(fastact_elementwise *work, int threads) {
    // Bands of whole pages, so that no two threads write one cache line; some for each thread, so that who is held up takes fewer;
    // not so many that they are lost in the calls, nor so large that the second-level cache sees one only once.
    constexpr std::size_t grain = 4096, least = 2 * grain, most = 32 * grain;
    const std::size_t share = work->n / (8 * static_cast<std::size_t>(std::max(threads, 1)));
    work->band = std::min(most, std::max(least, (share + grain - 1) / grain * grain));
    work->job.run = run_elementwise_band;
    work->job.bands = (work->n + work->band - 1) / work->band;
}
