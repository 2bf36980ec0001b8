# Included by compiled.pyx: kernels on CUDA devices, loaded and launched through the driver, and the fast path of arrays that lie there.

from cpython.dict cimport PyDict_GetItem
from libc.stdint cimport int64_t

cdef extern from "cuda.hpp":
    ctypedef void *CUcontext
    ctypedef void *CUmodule
    ctypedef void *CUfunction
    ctypedef void *CUstream
    ctypedef struct fastact_cuda:
        int (*cuInit)(unsigned) nogil
        int (*cuDriverGetVersion)(int *) nogil
        int (*cuGetErrorName)(int, const char **) nogil
        int (*cuGetErrorString)(int, const char **) nogil
        int (*cuDeviceGetCount)(int *) nogil
        int (*cuDeviceGet)(int *, int) nogil
        int (*cuDeviceGetName)(char *, int, int) nogil
        int (*cuDeviceGetAttribute)(int *, int, int) nogil
        int (*cuDevicePrimaryCtxRetain)(CUcontext *, int) nogil
        int (*cuCtxGetCurrent)(CUcontext *) nogil
        int (*cuCtxSetCurrent)(CUcontext) nogil
        int (*cuModuleLoadData)(CUmodule *, const void *) nogil
        int (*cuModuleGetFunction)(CUfunction *, CUmodule, const char *) nogil
        int (*cuFuncSetAttribute)(CUfunction, int, int) nogil
        int (*cuThreadExchangeStreamCaptureMode)(int *) nogil
        int (*cuFuncLoad)(CUfunction) nogil
        int (*cuFuncGetParamInfo)(CUfunction, size_t, size_t *, size_t *) nogil
    ctypedef union fastact_slot:
        int64_t whole
        double real
        float single
    enum: FASTACT_MAX_ARGUMENTS
    const char *fastact_cuda_open(fastact_cuda *, const char *path)
    int fastact_cuda_launch(const fastact_cuda *, CUcontext, CUfunction, unsigned grid, unsigned block, unsigned shared, CUstream,
                            fastact_slot *, int count, bint overlap) nogil

# As in cuda.h.
cdef enum: CAPABILITY_MAJOR = 75
cdef enum: CAPABILITY_MINOR = 76
cdef enum: MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
cdef enum: CAPTURE_MODE_RELAXED = 2
cdef enum: CUDA_ERROR_INVALID_VALUE = 1
#: Dynamic shared memory that a kernel may have without asking for more.
cdef enum: SHARED_UNASKED = 48 * 1024
# As in elementwise.cuh: threads of a block, sixteen bytes each, and what the kernel is told of its pointers.
cdef enum: THREADS_OF_BLOCK = 512
cdef enum: ALIGNED = 1
cdef enum: IN_PLACE = 2
#: The devices whose kernels the fast path remembers.
cdef enum: DEVICES = 16

cdef int[4] ITEMSIZE = [2, 2, 4, 8]  # by how elements are stored
cdef fastact_cuda _cuda
cdef bint _cuda_open = False
cdef int _cuda_version = 0
cdef int _cuda_generation = 0  # what was prepared under another one is stale
cdef dict _contexts = {}  # device -> address of its primary context


class CudaError(RuntimeError):
    """The CUDA driver is missing, or reports an error."""


cdef int check_cuda(int code, str what) except -1:
    cdef const char *name = NULL
    cdef const char *text = NULL
    if code == 0:
        return 0
    _cuda.cuGetErrorName(code, &name)
    _cuda.cuGetErrorString(code, &text)
    named = f"error {code}" if name == NULL else name.decode()
    raise CudaError(f"{what}: {named}" if text == NULL else f"{what}: {named}: {text.decode()}")


def cuda_open(str path=None):
    """Open the CUDA driver, unless it is open.

    Parameters
    ----------
    path : str, optional
        Of another library in the driver's place: all that was loaded before is forgotten. An empty one forgets that.

    Returns
    -------
    int
        The CUDA version that the driver knows, as 13000.

    Raises
    ------
    CudaError
        If there is no driver, or no device.
    """
    global _cuda_open, _cuda_version
    if path is not None:
        _cuda_open = False
        _contexts.clear()
        cuda_forget()
        cuda_arrays()
        if not path:
            return 0
    if not _cuda_open:
        problem = fastact_cuda_open(&_cuda, (path or "libcuda.so.1").encode())
        if problem != NULL:
            raise CudaError(f"the CUDA driver does not load: {problem.decode(errors='replace')}")
        check_cuda(_cuda.cuInit(0), "the CUDA driver does not start")
        check_cuda(_cuda.cuDriverGetVersion(&_cuda_version), "the CUDA driver's version")
        _cuda_open = True
    return _cuda_version


cdef int device_handle(int device, int *handle) except -1:
    cuda_open()
    return check_cuda(_cuda.cuDeviceGet(handle, device), f"CUDA device {device}")


def cuda_device_count():
    """How many CUDA devices there are."""
    cdef int count = 0
    cuda_open()
    check_cuda(_cuda.cuDeviceGetCount(&count), "the number of CUDA devices")
    return count


def cuda_device(int device):
    """A device's name and its compute capability, as 90 for 9.0."""
    cdef int handle, major = 0, minor = 0
    cdef char name[256]
    device_handle(device, &handle)
    check_cuda(_cuda.cuDeviceGetName(name, sizeof(name), handle), f"CUDA device {device}")
    check_cuda(_cuda.cuDeviceGetAttribute(&major, CAPABILITY_MAJOR, handle), f"CUDA device {device}")
    check_cuda(_cuda.cuDeviceGetAttribute(&minor, CAPABILITY_MINOR, handle), f"CUDA device {device}")
    return (<bytes>name).decode(errors="replace"), 10 * major + minor


cdef CUcontext context_of(int device) except NULL:
    """The context that the runtime, and so every array library, uses on a device."""
    cdef int handle
    cdef CUcontext context = NULL
    if device not in _contexts:
        device_handle(device, &handle)
        check_cuda(_cuda.cuDevicePrimaryCtxRetain(&context, handle), f"the context of CUDA device {device}")
        _contexts[device] = <size_t>context
    return <CUcontext><size_t>_contexts[device]


cdef class CudaKernel:
    """An entry point of a compiled text, loaded on a device and ready to be launched.

    Attributes
    ----------
    device : int
    overlap : bool
        Whether it may begin before what the stream ran before has ended; for kernels that wait for that themselves.
    """

    cdef CUcontext context
    cdef CUfunction function
    cdef str name
    cdef readonly int device
    cdef readonly bint overlap
    cdef int generation, shared, count  # the dynamic shared memory it may have; its parameters, -1 if unknown
    cdef unsigned char size[FASTACT_MAX_ARGUMENTS]  # of each parameter

    def __init__(self):
        raise TypeError("kernels come from load_cuda")

    cdef int run(self, unsigned grid, unsigned block, unsigned shared, CUstream stream, fastact_slot *slots, int count) except -1:
        cdef int failed
        if self.generation != _cuda_generation and not self.alive():
            raise CudaError(f"kernel {self.name!r} was loaded by a driver that is gone")
        with nogil:  # a full queue makes the launch wait
            failed = fastact_cuda_launch(&_cuda, self.context, self.function, grid, block, shared, stream, slots, count, self.overlap)
        if failed:
            check_cuda(failed, f"launch of {self.name!r} on CUDA device {self.device}, {grid} blocks of {block} threads")
        return 0

    cdef bint alive(self):
        self.generation = _cuda_generation if <size_t>self.context == _contexts.get(self.device, 0) else self.generation
        return self.generation == _cuda_generation

    def launch(self, unsigned grid, unsigned block, tuple args, unsigned shared=0, size_t stream=0):
        """Launch it: `grid` blocks of `block` threads, with `shared` bytes of dynamic shared memory, on a stream of its device.

        Parameters
        ----------
        args : tuple
            As the entry point takes them: ``int`` for pointers and integers, ``numpy.float32`` and ``numpy.float64`` for numbers.

        Raises
        ------
        TypeError
            If they are not what the entry point takes.
        CudaError
            What the driver reports, be it of work that it was given before.
        """
        cdef fastact_slot slots[FASTACT_MAX_ARGUMENTS]
        cdef int i, size, count = len(args)
        if (count != self.count and self.count >= 0) or count > FASTACT_MAX_ARGUMENTS:
            raise TypeError(f"kernel {self.name!r} takes {self.count} arguments, not {count}")
        for i in range(count):
            value = args[i]
            if isinstance(value, np.float32):
                slots[i].single, size = value, 4
            elif isinstance(value, float):  # numpy.float64 too
                slots[i].real, size = value, 8
            elif isinstance(value, (int, np.integer)):
                slots[i].whole, size = value, 8
                if self.count >= 0 and self.size[i] == 4:
                    size = 4  # the lower half
            else:
                raise TypeError(f"argument {i} of kernel {self.name!r} must be an int or a NumPy float, not {type(value).__name__}")
            if self.count >= 0 and self.size[i] != size:
                raise TypeError(f"argument {i} of kernel {self.name!r} has {self.size[i]} bytes, not {size}")
        if shared > SHARED_UNASKED and shared > <unsigned>self.shared:
            check_cuda(_cuda.cuFuncSetAttribute(self.function, MAX_DYNAMIC_SHARED_SIZE_BYTES, shared), f"{shared} bytes of shared memory")
            self.shared = shared
        self.run(grid, block, shared, <CUstream>stream, slots, count)

    cdef int elementwise(
        self, int kind, bint wide, int inputs, const int64_t *pointer, const double *number, int outputs, const int64_t *out, Py_ssize_t n,
        CUstream stream
    ) except -1:
        """Launch it as the entry point of an elementwise kernel, over n > 0 elements; a null pointer stands for a number."""
        cdef fastact_slot slots[2 * MAX_INPUTS + MAX_OUTPUTS + 2]
        cdef int i, k, at = 0
        cdef int64_t bits = 0, access = 0
        cdef Py_ssize_t share = THREADS_OF_BLOCK * (16 // ITEMSIZE[kind])
        for k in range(inputs):
            slots[at].whole = pointer[k]
            if wide or kind == FLOAT64:
                slots[at + 1].real = number[k]
            else:
                slots[at + 1].single = fastact_single(number[k])
            at += 2
            bits |= pointer[k]
            for i in range(outputs):
                if pointer[k] == out[i]:
                    access |= IN_PLACE
        for i in range(outputs):
            slots[at].whole = out[i]
            bits |= out[i]
            at += 1
        if not bits & 15:
            access |= ALIGNED
        slots[at].whole, slots[at + 1].whole = n, access
        return self.run(<unsigned>((n + share - 1) // share), THREADS_OF_BLOCK, 0, stream, slots, at + 2)

    def run_elementwise(self, str kind, bint wide, list given, list outs, Py_ssize_t n, size_t stream):
        """Launch it as the entry point of an elementwise kernel over `n` elements.

        Parameters
        ----------
        kind, wide
            How elements are stored, and whether they are computed in float64.
        given : list
            Addresses, as ``int``, of arrays; ``float`` for numbers.
        outs : list of int
            Addresses.
        """
        cdef int64_t pointer[MAX_INPUTS]
        cdef int64_t out[MAX_OUTPUTS]
        cdef double number[MAX_INPUTS]
        cdef int k
        for k in range(len(given)):
            value = given[k]
            if isinstance(value, float):
                pointer[k], number[k] = 0, value
            else:
                pointer[k], number[k] = value, 0.0
        for k in range(len(outs)):
            out[k] = outs[k]
        if n > 0:
            self.elementwise(KINDS[kind], wide, len(given), pointer, number, len(outs), out, n, <CUstream>stream)


def load_cuda(bytes image, str name, int device, bint overlap=False):
    """Load a cubin, or PTX, on a device and find an entry point in it.

    Parameters
    ----------
    image : bytes
        What the compiler made.
    name : str
        The entry point.
    device : int
        Where it is loaded. (Also while a stream is captured: nothing there depends on what streams do.)
    overlap : bool, default False
        See `CudaKernel`.

    Returns
    -------
    CudaKernel

    Raises
    ------
    CudaError
        If the driver does not take it.
    """
    cdef CudaKernel kernel = CudaKernel.__new__(CudaKernel)
    cdef CUcontext before = NULL
    cdef CUmodule module = NULL
    cdef int failed, i, mode = CAPTURE_MODE_RELAXED
    cdef size_t offset, size
    kernel.context, kernel.device, kernel.overlap, kernel.name = context_of(device), device, overlap, name
    kernel.generation, kernel.shared, kernel.count = _cuda_generation, 0, -1
    what = f"{name!r} on CUDA device {device}"
    check_cuda(_cuda.cuCtxGetCurrent(&before), what)
    check_cuda(_cuda.cuCtxSetCurrent(kernel.context), what)
    _cuda.cuThreadExchangeStreamCaptureMode(&mode)
    try:
        # Modules stay loaded as long as the process lives: a graph may still launch what nobody else holds.
        check_cuda(_cuda.cuModuleLoadData(&module, <const char *>image), what)
        check_cuda(_cuda.cuModuleGetFunction(&kernel.function, module, name.encode()), what)
        if _cuda.cuFuncLoad != NULL:  # now, not at the first launch
            check_cuda(_cuda.cuFuncLoad(kernel.function), what)
        if _cuda.cuFuncGetParamInfo != NULL:
            for i in range(FASTACT_MAX_ARGUMENTS):
                failed = _cuda.cuFuncGetParamInfo(kernel.function, i, &offset, &size)
                if failed:
                    kernel.count = i if failed == CUDA_ERROR_INVALID_VALUE else -1  # there are no more
                    break
                kernel.size[i] = <unsigned char>size
    finally:
        _cuda.cuThreadExchangeStreamCaptureMode(&mode)
        if before != NULL:
            _cuda.cuCtxSetCurrent(before)
    return kernel


# ---------------------------------------------------------------- the fast path

cdef object _cupy_type = None
cdef object _cupy_stream = None
cdef object _torch_type = None
cdef object _torch_stream = None
cdef object _torch_empty_like = None
cdef object _torch_records = None  # whether gradients are recorded
cdef object _torch_written = None  # to be told of a tensor that was written to
cdef dict _torch_kinds = {}
cdef object _prepare = None
cdef Py_ssize_t _served_cuda = 0
cdef tuple _dtypes = tuple(np.dtype(name) for name in ("float16", "float32", "float64"))


def cuda_arrays(prepare=None, cupy=None, torch=None):
    """Make known the arrays that the fast path of elementwise functions takes; without arguments, that it takes none.

    Parameters
    ----------
    prepare : callable, optional
        ``prepare(entry, kind, wide, device)`` gives the `CudaKernel`, or None where the general path is to say why there is none.
    cupy : tuple, optional
        CuPy's type of arrays, and what gives its current stream.
    torch : tuple, optional
        PyTorch's type of tensors, its dtypes by name, ``empty_like``, what gives the address of a device's current stream,
        ``is_grad_enabled``, and ``increment_version``.
    """
    global _prepare, _cupy_type, _cupy_stream, _torch_type, _torch_kinds, _torch_empty_like, _torch_stream
    global _torch_records, _torch_written
    if prepare is None:
        _cupy_type = _torch_type = None
    _prepare = prepare
    if cupy is not None:
        _cupy_type, _cupy_stream = cupy
    if torch is not None:
        _torch_type, dtypes, _torch_empty_like, _torch_stream, _torch_records, _torch_written = torch
        _torch_kinds = {dtype: KINDS[name] for name, dtype in dtypes.items()}


def cuda_forget():
    """Forget the kernels that the fast path remembers."""
    global _cuda_generation
    _cuda_generation += 1


def served_cuda():
    """How many calls on CUDA arrays the fast path has served in this process."""
    return _served_cuda


cdef struct OnDevice:
    int kind, device
    Py_ssize_t n
    int64_t pointer


cdef bint in_order(tuple shape, tuple strides, Py_ssize_t step):
    """Whether an array of these extents lies in one piece in C order."""
    cdef Py_ssize_t i, extent
    for i in range(len(shape) - 1, -1, -1):
        extent = shape[i]
        if extent != 1 and <Py_ssize_t>strides[i] != step:
            return False
        step *= extent
    return True


cdef int numpy_kind(object dtype):
    """How a dtype is stored, by the object itself; -1 for all others."""
    if dtype is _dtypes[1]:
        return FLOAT32
    if dtype is _dtypes[0]:
        return FLOAT16
    if dtype is _dtypes[2]:
        return FLOAT64
    return BFLOAT16 if dtype is _bfloat16_dtype else -1


cdef object see_cupy(object a, OnDevice *seen):
    """The shape of a CuPy array that lies in order, or None."""
    cdef tuple shape
    cdef int kind = numpy_kind(a.dtype)
    if kind < 0:
        return None
    shape = a.shape
    seen.kind, seen.n = kind, a.size
    if seen.n and not in_order(shape, a.strides, ITEMSIZE[kind]):
        return None
    memory = a.data
    seen.pointer, seen.device = memory.ptr, memory.device_id
    return shape


cdef object see_torch(object a, OnDevice *seen):
    """The shape of a tensor on a CUDA device that lies in order, and of which nothing is to be recorded, or None."""
    cdef PyObject *kind
    if not a.is_cuda or (a.requires_grad and _torch_records()):
        return None
    kind = PyDict_GetItem(_torch_kinds, a.dtype)
    if kind == NULL or not a.is_contiguous():
        return None
    seen.kind, seen.n = <object>kind, a.numel()
    if seen.n == 1 and a.is_neg():  # a view that is to be read with its sign changed: of more elements it would not lie in order
        return None
    seen.pointer, seen.device = a.data_ptr(), a.get_device()
    return a.shape if seen.pointer or not seen.n else None


cdef inline object see(object a, bint torch, OnDevice *seen):
    return see_torch(a, seen) if torch else see_cupy(a, seen)


cdef inline bint across(int64_t a, int64_t b, Py_ssize_t size):
    """Whether two pieces of one size overlap without being the same."""
    return a != b and a < b + size and b < a + size
