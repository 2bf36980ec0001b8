// The CUDA driver, opened when a kernel is first wanted and never linked: the package is built and imported where there is none.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>

// As in cuda.h, of which nothing else is needed.
typedef int CUdevice;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;

struct fastact_launch_attribute {  // CUlaunchAttribute
    int id;
    int pad;
    union {
        char bytes[64];
        int value;
    };
};
struct fastact_launch_config {  // CUlaunchConfig
    unsigned grid[3], block[3], shared;
    CUstream stream;
    fastact_launch_attribute *attributes;
    unsigned count;
};

// Result type, name, parameters. Those in the second list are in newer drivers only.
#define FASTACT_CUDA_CALLS(each) \
    each(cuInit, (unsigned)) \
    each(cuDriverGetVersion, (int *)) \
    each(cuGetErrorName, (int, const char **)) \
    each(cuGetErrorString, (int, const char **)) \
    each(cuDeviceGetCount, (int *)) \
    each(cuDeviceGet, (CUdevice *, int)) \
    each(cuDeviceGetName, (char *, int, CUdevice)) \
    each(cuDeviceGetAttribute, (int *, int, CUdevice)) \
    each(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice)) \
    each(cuCtxGetCurrent, (CUcontext *)) \
    each(cuCtxSetCurrent, (CUcontext)) \
    each(cuModuleLoadData, (CUmodule *, const void *)) \
    each(cuModuleGetFunction, (CUfunction *, CUmodule, const char *)) \
    each(cuFuncSetAttribute, (CUfunction, int, int)) \
    each(cuThreadExchangeStreamCaptureMode, (int *)) \
    each(cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **))
#define FASTACT_CUDA_NEWER(each) \
    each(cuFuncLoad, (CUfunction)) \
    each(cuFuncGetParamInfo, (CUfunction, std::size_t, std::size_t *, std::size_t *)) \
    each(cuLaunchKernelEx, (const fastact_launch_config *, CUfunction, void **, void **))

struct fastact_cuda {
    void *library;
#define FASTACT_DECLARE(name, parameters) int(*name) parameters;
    FASTACT_CUDA_CALLS(FASTACT_DECLARE)
    FASTACT_CUDA_NEWER(FASTACT_DECLARE)
#undef FASTACT_DECLARE
};

// Opens the driver; what went wrong, or null. The text lives until the next call.
static const char *fastact_cuda_open(fastact_cuda *cuda, const char *path) {
    static char message[512];
    fastact_cuda found;
    std::memset(&found, 0, sizeof found);
    found.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!found.library) {
        std::snprintf(message, sizeof message, "%s", dlerror());
        return message;
    }
#define FASTACT_FIND(name, parameters) found.name = reinterpret_cast<int(*) parameters>(dlsym(found.library, #name));
#define FASTACT_NEED(name, parameters) \
    FASTACT_FIND(name, parameters) \
    if (!found.name) { \
        std::snprintf(message, sizeof message, "%s has no " #name ": its driver is too old", path); \
        dlclose(found.library); \
        return message; \
    }
    FASTACT_CUDA_CALLS(FASTACT_NEED)
    FASTACT_CUDA_NEWER(FASTACT_FIND)
#undef FASTACT_NEED
#undef FASTACT_FIND
    *cuda = found;
    return nullptr;
}

// One argument of a kernel: eight bytes, of which the kernel reads as many as its parameter has.
union fastact_slot {
    std::int64_t whole;
    double real;
    float single;
};

constexpr int FASTACT_MAX_ARGUMENTS = 512;

// Launches on `stream` of the context `context`, which is made current for as long as that takes. `overlap`: the grid may begin before the one
// before it has ended (programmatic dependent launch); for kernels that wait for it themselves.
static int fastact_cuda_launch(const fastact_cuda *cuda, CUcontext context, CUfunction function, unsigned grid, unsigned block, unsigned shared,
                               CUstream stream, fastact_slot *slots, int count, bool overlap) {
    void *pointers[FASTACT_MAX_ARGUMENTS];
    CUcontext before = nullptr;
    int failed = cuda->cuCtxGetCurrent(&before);
    if (failed) return failed;
    if (before != context && (failed = cuda->cuCtxSetCurrent(context))) return failed;
    for (int i = 0; i < count; i++) pointers[i] = &slots[i];
    if (overlap && cuda->cuLaunchKernelEx) {
        fastact_launch_attribute attribute = {};
        attribute.id = 6;  // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
        attribute.value = 1;
        const fastact_launch_config config = {{grid, 1, 1}, {block, 1, 1}, shared, stream, &attribute, 1};
        failed = cuda->cuLaunchKernelEx(&config, function, pointers, nullptr);
    } else {
        failed = cuda->cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, pointers, nullptr);
    }
    // A thread that had no context keeps this one, as with the runtime's own launches.
    if (before && before != context) cuda->cuCtxSetCurrent(before);
    return failed;
}
