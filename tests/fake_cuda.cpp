// A stand-in for libcuda: two devices whose memory is the host's. A "cubin" is a shared library with `params_<kernel>` functions, which
// launches run at once; what a launch was given is kept for the tests to read.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {
constexpr int DEVICES = 2;
enum { INVALID_VALUE = 1, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, MISALIGNED = 716 };
struct Context {
    int device;
} contexts[DEVICES] = {{0}, {1}};
struct Function {
    void *library;
    void (*run)(unsigned, unsigned, unsigned, void **);
    const char *sizes;
    Context *context;
    int shared = 48 << 10;
};
thread_local Context *current = nullptr;
struct {
    long count;
    int device, overlap, capture_mode;
    unsigned grid, block, shared;
    void *stream;
} last;
std::vector<void *> modules;
int fail_next = 0, capability = 90, dry = 0;
}  // namespace

extern "C" {
// For the tests.
long fake_count() { return last.count; }
long fake_last(int what) {
    const long found[] = {last.device, last.overlap, last.grid, last.block, last.shared, reinterpret_cast<long>(last.stream), last.capture_mode};
    return found[what];
}
void fake_fail(int code) { fail_next = code; }
void fake_capability(int value) { capability = value; }
void fake_dry(int yes) { dry = yes; }  // real cubins are taken, and launches run nothing
void fake_leave() { current = nullptr; }
int fake_modules(void **found) {  // how many there are
    if (found) std::copy(modules.begin(), modules.end(), found);
    return static_cast<int>(modules.size());
}
int fake_current() { return current ? current->device : -1; }

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuGetErrorName(int code, const char **text) { return *text = code == MISALIGNED ? "CUDA_ERROR_MISALIGNED_ADDRESS" : "CUDA_ERROR_FAKE", 0; }
int cuGetErrorString(int, const char **text) { return *text = "as the stand-in has it", 0; }
int cuDeviceGetCount(int *count) { return *count = DEVICES, 0; }
int cuDeviceGet(int *handle, int device) { return device < 0 || device >= DEVICES ? 101 : (*handle = device, 0); }
int cuDeviceGetName(char *name, int size, int) { return std::strncpy(name, "Fake", size), 0; }
int cuDeviceGetAttribute(int *value, int what, int) { return *value = what == 75 ? capability / 10 : capability % 10, 0; }
int cuDevicePrimaryCtxRetain(Context **context, int device) { return *context = &contexts[device], 0; }
int cuCtxGetCurrent(Context **context) { return *context = current, 0; }
int cuCtxSetCurrent(Context *context) { return current = context, 0; }
int cuThreadExchangeStreamCaptureMode(int *mode) {
    std::swap(*mode, last.capture_mode);
    return 0;
}
int cuModuleLoadData(void **module, const unsigned char *image) {
    if (!current || last.capture_mode != 2) return INVALID_CONTEXT;
    if (dry) return 0;
    if (std::memcmp(image, "\177ELF", 4)) return INVALID_IMAGE;
    unsigned long sections;
    unsigned short size, count;
    std::memcpy(&sections, image + 0x28, 8), std::memcpy(&size, image + 0x3a, 2), std::memcpy(&count, image + 0x3c, 2);
    static int loaded = 0;  // the loader knows libraries by their names
    const std::string path = "/tmp/fake_cuda_" + std::to_string(getpid()) + "_" + std::to_string(loaded++) + ".so";
    std::FILE *file = std::fopen(path.c_str(), "wb");
    if (!file) return INVALID_IMAGE;
    std::fwrite(image, 1, sections + size * count, file);
    std::fclose(file);
    *module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    if (*module) modules.push_back(*module);
    return *module ? 0 : INVALID_IMAGE;
}
int cuModuleGetFunction(Function **function, void *module, const char *name) {
    if (dry) return *function = new Function{nullptr, nullptr, nullptr, current}, 0;
    void *run = dlsym(module, ("params_" + std::string(name)).c_str());
    if (!run) return NOT_FOUND;
    auto *sizes = static_cast<const char *>(dlsym(module, ("sizes_" + std::string(name)).c_str()));
    *function = new Function{module, reinterpret_cast<decltype(Function::run)>(run), sizes, current};
    return 0;
}
int cuFuncLoad(Function *) { return 0; }
int cuFuncGetParamInfo(Function *function, std::size_t index, std::size_t *, std::size_t *size) {
    if (!function->sizes) return NOT_FOUND;
    for (std::size_t i = 0; i <= index; i++)
        if (!function->sizes[i]) return INVALID_VALUE;
    return *size = function->sizes[index], 0;
}
int cuFuncSetAttribute(Function *function, int what, int value) { return what == 8 && value <= 227 << 10 ? (function->shared = value, 0) : INVALID_VALUE; }

static int run(Function *function, unsigned grid, unsigned block, unsigned shared, void *stream, void **params, int overlap) {
    if (fail_next) {
        const int code = fail_next;
        return fail_next = 0, code;
    }
    if (!current || current != function->context) return INVALID_CONTEXT;
    if (!grid || !block || block > 1024 || static_cast<int>(shared) > function->shared) return INVALID_VALUE;
    last.count++, last.device = current->device, last.overlap = overlap;
    last.grid = grid, last.block = block, last.shared = shared, last.stream = stream;
    if (dry) return 0;
    function->run(grid, block, shared, params);
    auto *faults = reinterpret_cast<int (*)()>(dlsym(function->library, "faults_found"));
    return faults && faults() ? MISALIGNED : 0;
}
int cuLaunchKernel(Function *function, unsigned grid, unsigned, unsigned, unsigned block, unsigned, unsigned, unsigned shared, void *stream, void **params, void **) {
    return run(function, grid, block, shared, stream, params, 0);
}
struct Config {
    unsigned grid[3], block[3], shared;
    void *stream;
    int *attribute;
    unsigned count;
};
int cuLaunchKernelEx(const Config *c, Function *function, void **params, void **) {
    if (c->count != 1 || c->attribute[0] != 6 || c->grid[1] * c->grid[2] * c->block[1] * c->block[2] != 1) return INVALID_VALUE;
    return run(function, c->grid[0], c->block[0], c->shared, c->stream, params, c->attribute[2]);
}
}
