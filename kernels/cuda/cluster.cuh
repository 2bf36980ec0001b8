// Shared memory of a launch, blocks that work together (a cluster, since Hopper), and copies into shared memory that run beside the arithmetic.
//
// Inline PTX stays in here. With FASTACT_HOST the header in front has functions of the same names, which also judge that the rules are kept:
// - Such a kernel has nothing in shared memory but `shared_memory()`, whose size is given at launch.
// - Before the first `give`, every thread announces itself and waits: blocks of a cluster start one by one. Every arrival has one wait, and
//   every thread of the cluster takes part. A block does not end while others may still give it something.
// - An arrival counts the bytes it was told to expect; nobody reads what was copied before having waited for it.
// - No kernel is given a cluster of one block: its blocks would start some eight times as slowly.

// Bytes of the block, on a border of 128.
FASTACT_FUNCTION unsigned char *shared_memory() {
#ifdef FASTACT_HOST
    return ::block_memory();
#else
    extern __shared__ __align__(128) unsigned char block_memory[];
    return block_memory;
#endif
}

// ---------------------------------------------------------------- blocks that work together

#ifdef FASTACT_HOST
FASTACT_FUNCTION int cluster_rank() { return ::cluster_rank(); }
FASTACT_FUNCTION void cluster_announce() { ::cluster_arrive(); }
FASTACT_FUNCTION void cluster_arrive() { ::cluster_arrive(); }
FASTACT_FUNCTION void cluster_wait() { ::cluster_wait(); }
template <class T> FASTACT_FUNCTION void give(T *p, int rank, T v) { *::in_block(p, rank) = v; }
#else
FASTACT_FUNCTION unsigned shared_address(const void *p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }
FASTACT_FUNCTION int cluster_rank() {
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
// Arrives and publishes nothing: this block is there.
FASTACT_FUNCTION void cluster_announce() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
// What this thread has given is there for who waits.
FASTACT_FUNCTION void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
FASTACT_FUNCTION void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// Writes to the place of `p`, which is in this block's shared memory, in the memory of the block of that rank.
FASTACT_FUNCTION unsigned shared_address(const void *p, int rank) {
    unsigned there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(p)), "r"(rank));
    return there;
}
FASTACT_FUNCTION void give(float *p, int rank, float v) {
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(shared_address(p, rank)), "f"(v) : "memory");
}
FASTACT_FUNCTION void give(double *p, int rank, double v) {
    asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(shared_address(p, rank)), "d"(v) : "memory");
}
#endif

// ---------------------------------------------------------------- copies that run beside the arithmetic

// Counts what arrives in shared memory, once: one thread prepares it and expects bytes, everyone may wait.
struct alignas(8) Arrival {
    unsigned long long state;
};
#ifdef FASTACT_HOST
FASTACT_FUNCTION void prepare(Arrival *arrivals, int count) {
    for (int i = 0; i < count; i++) ::arrival_prepare(&arrivals[i].state);
}
FASTACT_FUNCTION void copy_to_shared(void *to, const void *from, unsigned bytes, Arrival *arrival) { ::arrival_copy(to, from, bytes, &arrival->state); }
FASTACT_FUNCTION void expect(Arrival *arrival, unsigned bytes) { ::arrival_expect(&arrival->state, bytes); }
FASTACT_FUNCTION void wait(Arrival *arrival) { ::arrival_wait(&arrival->state); }
#else
// By one thread, before the block's next barrier; copies may begin at once.
FASTACT_FUNCTION void prepare(Arrival *arrivals, int count) {
    for (int i = 0; i < count; i++) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(arrivals + i)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// By the same thread, once, before the copies it counts.
FASTACT_FUNCTION void expect(Arrival *arrival, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(arrival)), "r"(bytes) : "memory");
}
// All on borders of 16 bytes; at least 16.
FASTACT_FUNCTION void copy_to_shared(void *to, const void *from, unsigned bytes, Arrival *arrival) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes),
                 "r"(shared_address(arrival))
                 : "memory");
}
// Until all that was expected is there. Never without an `expect` before.
FASTACT_FUNCTION void wait(Arrival *arrival) {
    asm volatile(
        "{\n.reg .pred there;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 there, [%0], 0;\n@there bra done;\nbra again;\ndone:\n}" ::"r"(
            shared_address(arrival))
        : "memory");
}
#endif
