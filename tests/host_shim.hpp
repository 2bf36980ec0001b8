// What CUDA text needs to compile as plain C++ and run on the CPU, thread by thread: enough to judge its arithmetic and its
// indices. Kernels with barriers get one real thread for each of theirs, block after block.
#define FASTACT_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static

struct Index {
    unsigned x;
};
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;

#ifdef FASTACT_HOST_BARRIERS
#include <barrier>
#include <thread>
#include <vector>
static std::barrier<> *everyone;
static inline void __syncthreads() { everyone->arrive_and_wait(); }

template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    std::barrier<> barrier(block);
    everyone = &barrier;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < block; t++)
        threads.emplace_back([=] {
            threadIdx.x = t, blockDim.x = block, gridDim.x = grid;
            for (unsigned b = 0; b < grid; b++) {
                blockIdx.x = b;
                kernel();
                __syncthreads();
            }
        });
    for (auto &t : threads) t.join();
}
#else
template <class Kernel> static void launch(unsigned grid, unsigned block, Kernel kernel) {
    blockDim.x = block, gridDim.x = grid;
    for (blockIdx.x = 0; blockIdx.x < grid; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < block; threadIdx.x++) kernel();
}
#endif
