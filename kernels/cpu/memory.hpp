// A pool of the memory of large results, as allocator functions for NumPy (NEP 49). What costs time in a fresh result of 64 MiB are its
// page faults, several times the arithmetic: memory of a result that died is kept, within a limit, for the next one.
// Everything may be called from any thread, with or without the GIL, and until the process is gone: no Python here, nothing destroyed.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#define FASTACT_HAVE_POOL 1
#else
#define FASTACT_HAVE_POOL 0
#endif

struct fastact_pool_stats {
    std::size_t used, idle;            // bytes of address space in arrays and in the pool
    std::size_t used_blocks, idle_blocks;
    std::size_t reused, mapped;        // how many allocations the pool has served, and how many went to the system
};

namespace fastact_pool {
constexpr std::size_t SMALLEST = std::size_t{1} << 20;  // bytes of a result from which on it comes from here
constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;
// Where data begins in a block, modulo 4096 that is. Two results then begin alike, and arrays from malloc (16 or 64 bytes after a page's
// beginning) far from them. Where a loop writes 64 to 384 bytes after what it reads, modulo 4096, loads of 64 bytes wait for stores that
// they do not depend on: 1.05 to 1.4 times as long (Zen 4: relu 0.085 -> 0.11 ns, silu 0.33 -> 0.41); beginning alike costs nothing.
constexpr std::size_t BEGIN = 2048;
constexpr int MOST_IDLE = 256;

struct Header {            // in the 64 bytes before the data
    void *block;           // what was mapped, or allocated
    std::size_t capacity;  // bytes of it; 0: it came from malloc
    std::size_t room;      // bytes from the data to its end
};
struct Idle {
    void *block;
    std::size_t capacity;
    std::uint64_t stamp;  // larger: came here later
};

static std::mutex mutex;  // of everything below
static Idle idle[MOST_IDLE];
static int idle_count = 0;
static std::uint64_t arrivals = 0;
static fastact_pool_stats stats = {};
static std::atomic<std::size_t> limit{0};  // of stats.idle

static inline Header *header_of(void *data) { return reinterpret_cast<Header *>(static_cast<char *>(data) - 64); }

static void *set_up(void *block, std::size_t capacity) {
    void *data = static_cast<char *>(block) + BEGIN;
    *header_of(data) = {block, capacity, capacity - BEGIN};
    return data;
}

#if FASTACT_HAVE_POOL
static void *map(std::size_t capacity) {
    const std::size_t more = capacity + HUGE_PAGE;
    if (more < capacity) return nullptr;
    void *found = mmap(nullptr, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return nullptr;
    const auto begin = reinterpret_cast<std::uintptr_t>(found);
    const std::size_t before = -begin % HUGE_PAGE;
    if (before) munmap(found, before);
    char *block = static_cast<char *>(found) + before;
    munmap(block + capacity, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    madvise(block, capacity, MADV_HUGEPAGE);
#endif
    return block;
}
static void unmap(void *block, std::size_t capacity) { munmap(block, capacity); }
#else
static void *map(std::size_t) { return nullptr; }
static void unmap(void *, std::size_t) {}
#endif

// Take out what has waited longest; false if nothing waits. With the mutex held.
static bool take_oldest(Idle *taken) {
    int oldest = -1;
    for (int i = 0; i < idle_count; i++)
        if (oldest < 0 || idle[i].stamp < idle[oldest].stamp) oldest = i;
    if (oldest < 0) return false;
    *taken = idle[oldest];
    idle[oldest] = idle[--idle_count];
    stats.idle -= taken->capacity;
    return true;
}

// Give to the system what has waited longest, until at most `bytes` wait.
static void trim(std::size_t bytes) {
    for (;;) {
        Idle away;
        {
            std::lock_guard<std::mutex> hold(mutex);
            if (stats.idle <= bytes || !take_oldest(&away)) return;
        }
        unmap(away.block, away.capacity);  // which takes long: without the mutex
    }
}

// A block of an array that died waits for the next one; for what it is too much, others go, or itself.
static void keep(void *block, std::size_t capacity) {
    const Idle new_one = {block, capacity, 0};
    {
        std::lock_guard<std::mutex> hold(mutex);
        stats.used -= capacity;
        stats.used_blocks--;
    }
    for (bool gone = false; !gone;) {
        Idle away;
        {
            std::lock_guard<std::mutex> hold(mutex);
            if (capacity > limit) away = new_one, gone = true;
            else if (idle_count == MOST_IDLE || stats.idle + capacity > limit) take_oldest(&away);
            else {
                idle[idle_count++] = {block, capacity, ++arrivals};
                stats.idle += capacity;
                return;
            }
        }
        unmap(away.block, away.capacity);
    }
}

static void *allocate_small(std::size_t size) {
    if (size + 128 < size) return nullptr;
    void *block = std::malloc(size + 128);
    if (!block) return nullptr;
    char *data = static_cast<char *>(block) + 128 - reinterpret_cast<std::uintptr_t>(block) % 64;  // with room for the header
    *header_of(data) = {block, 0, size};
    return data;
}

static void *allocate_large(std::size_t size, bool *fresh) {
    const std::size_t need = size + BEGIN;
    // Eight to sixteen sizes for each power of two, so that results that differ a little share blocks; pages never touched cost nothing.
    std::size_t step = SMALLEST / 16;
    while (step < size / 16) step *= 2;
    const std::size_t capacity = (need + step - 1) / step * step;
    if (need < size || capacity < need) return nullptr;
    {
        std::lock_guard<std::mutex> hold(mutex);
        int best = -1;  // the smallest that is large enough, of these the last that came: the warmest
        for (int i = 0; i < idle_count; i++) {
            if (idle[i].capacity < need || idle[i].capacity - need > need / 4) continue;
            if (best < 0 || idle[i].capacity < idle[best].capacity ||
                (idle[i].capacity == idle[best].capacity && idle[i].stamp > idle[best].stamp))
                best = i;
        }
        if (best >= 0) {
            const Idle found = idle[best];
            idle[best] = idle[--idle_count];
            stats.idle -= found.capacity;
            stats.used += found.capacity;
            stats.used_blocks++, stats.reused++;
            *fresh = false;
            return set_up(found.block, found.capacity);
        }
    }
    void *block = map(capacity);
    if (!block) {
        trim(0);
        block = map(capacity);
        if (!block) return nullptr;
    }
    std::lock_guard<std::mutex> hold(mutex);
    stats.used += capacity;
    stats.used_blocks++, stats.mapped++;
    *fresh = true;
    return set_up(block, capacity);
}

static void *allocate(std::size_t size, bool *fresh) {
    *fresh = false;
    return FASTACT_HAVE_POOL && size >= SMALLEST ? allocate_large(size, fresh) : allocate_small(size);
}

// ---------------------------------------------------------------- what NumPy calls

static void *pool_malloc(void *, std::size_t size) {
    bool fresh;
    return allocate(size, &fresh);
}

static void *pool_calloc(void *, std::size_t count, std::size_t each) {
    if (each && count > SIZE_MAX / each) return nullptr;
    bool fresh;
    void *data = allocate(count * each, &fresh);
    if (data && !fresh) std::memset(data, 0, count * each);
    return data;
}

// The size is not asked for: NumPy works it out from the array, whose dtype the user may have set.
static void pool_free(void *, void *data, std::size_t) {
    if (!data) return;
    const Header h = *header_of(data);
    if (h.capacity) keep(h.block, h.capacity);
    else std::free(h.block);
}

static void *pool_realloc(void *, void *data, std::size_t size) {
    bool fresh;
    if (!data) return allocate(size, &fresh);
    const std::size_t room = header_of(data)->room;
    if (size <= room && size >= room / 2) return data;
    void *moved = allocate(size, &fresh);
    if (!moved) return nullptr;  // the old one stays, as with realloc
    std::memcpy(moved, data, room < size ? room : size);
    pool_free(nullptr, data, 0);
    return moved;
}

// ---------------------------------------------------------------- around it

#if FASTACT_HAVE_POOL
static void before_fork() { mutex.lock(); }
static void after_fork_in_parent() { mutex.unlock(); }
// A child begins with an empty pool: writing to pages that it shares would copy them, in the child and in the parent.
static void after_fork_in_child() {
    for (int i = 0; i < idle_count; i++) unmap(idle[i].block, idle[i].capacity);
    idle_count = 0;
    stats.idle = 0;
    mutex.unlock();
}
#endif

static void start() {
#if FASTACT_HAVE_POOL
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
#endif
}

static void set_limit(std::size_t bytes) {
    limit = bytes;
    trim(bytes);
}

static fastact_pool_stats get_stats() {
    std::lock_guard<std::mutex> hold(mutex);
    fastact_pool_stats found = stats;
    found.idle_blocks = static_cast<std::size_t>(idle_count);
    return found;
}
}  // namespace fastact_pool

// Does a result of this dtype's size and shape come from the pool?
static inline bool fastact_pools(std::size_t itemsize, int nd, const std::ptrdiff_t *dims) {
    if (!FASTACT_HAVE_POOL) return false;
    double bytes = static_cast<double>(itemsize);  // overflows are NumPy's to find
    for (int i = 0; i < nd; i++) bytes *= static_cast<double>(dims[i]);
    return bytes >= fastact_pool::SMALLEST && fastact_pool::limit.load(std::memory_order_relaxed) != 0;
}
