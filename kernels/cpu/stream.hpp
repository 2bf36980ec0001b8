// Stores past the caches, for results that do not fit into the last of them. An ordinary store reads the line that it is about to
// overwrite: a third of the traffic of y = f(x). Loops are told by the highest bit of their number of elements; the branch that it takes
// in each step is free, where a second copy of every loop would not be, and neither are blocks computed in the first-level cache and copied
// out from there: nothing hides the copy (relu over 16Mi elements, one core: 0.26 ns each plainly, 0.17 so; silu 0.33 -> 0.39; tried).

constexpr std::size_t PAST = ~(~std::size_t{0} >> 1);

#if FASTACT_VECTOR_BYTES == 64
#define FASTACT_STREAMS 1
template <class V> FASTACT_FUNCTION void store_past(void *p, V v) { _mm512_stream_si512(static_cast<__m512i *>(p), (__m512i)v); }
#elif FASTACT_VECTOR_BYTES == 32
#define FASTACT_STREAMS 1
template <class V> FASTACT_FUNCTION void store_past(void *p, V v) { _mm256_stream_si256(static_cast<__m256i *>(p), (__m256i)v); }
#else
#define FASTACT_STREAMS 0
#endif
#if FASTACT_STREAMS
FASTACT_FUNCTION void store_past(float *p, VecF v) { store_past<VecF>(static_cast<void *>(p), v); }
FASTACT_FUNCTION void store_past(double *p, VecD v) { store_past<VecD>(static_cast<void *>(p), v); }
template <class H, class T> FASTACT_FUNCTION void store_past(T *p, Duo<H> v) {
    store_past(p, v.a);
    store_past(p + Lanes<H>::count, v.b);
}
// What will be read soon: the processor's own prefetcher falls behind where x is not aligned to vectors, as NumPy's large arrays never are
// (relu 0.20 -> 0.17 ns; 2 KiB ahead 0.19, 4 KiB 0.20).
template <class F, class T> FASTACT_FUNCTION void fetch_ahead(const T *p) {
    for (std::size_t line = 0; line < sizeof(F); line += 64) __builtin_prefetch(reinterpret_cast<const char *>(p) + line + 1024);
}
#endif
