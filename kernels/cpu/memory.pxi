# Large results come from a pool, through a memory handler of NumPy's (NEP 49): see memory.hpp.

cdef extern from "memory.hpp":
    ctypedef struct fastact_pool_stats:
        size_t used, idle, used_blocks, idle_blocks, reused, mapped
    bint fastact_pools(size_t itemsize, int nd, const cnp.npy_intp *dims) noexcept nogil
    const size_t _SMALLEST "fastact_pool::SMALLEST"
    const bint FASTACT_HAVE_POOL
    void _pool_start "fastact_pool::start"() noexcept nogil
    void _pool_trim "fastact_pool::trim"(size_t) noexcept nogil
    void _pool_set_limit "fastact_pool::set_limit"(size_t) noexcept nogil
    fastact_pool_stats _pool_stats "fastact_pool::get_stats"() noexcept nogil
    void *_pool_malloc "fastact_pool::pool_malloc"(void *, size_t) noexcept nogil
    void *_pool_calloc "fastact_pool::pool_calloc"(void *, size_t, size_t) noexcept nogil
    void *_pool_realloc "fastact_pool::pool_realloc"(void *, void *, size_t) noexcept nogil
    void _pool_free "fastact_pool::pool_free"(void *, void *, size_t) noexcept nogil

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *, size_t) noexcept nogil
        void *(*calloc)(void *, size_t, size_t) noexcept nogil
        void *(*realloc)(void *, void *, size_t) noexcept nogil
        void (*free)(void *, void *, size_t) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object)
    object PyDataMem_GetHandler()
    PyObject *PyDataMem_DefaultHandler
    object PyArray_NewLikeArray(cnp.ndarray, cnp.NPY_ORDER, PyArray_Descr *, int)
    int PyArray_DescrConverter(object, PyArray_Descr **) except 0
    size_t PyDataType_ELSIZE(PyArray_Descr *)

cdef extern from "Python.h":
    object PyCapsule_New(void *, const char *, void *)

# NumPy frees an array by the handler that it was made with, as long as the process lives: this is static, the capsule never let go.
cdef PyDataMem_Handler _handler
cdef object _capsule


def _make_handler():
    global _capsule
    cdef const char *name = b"fastact"
    cdef int i
    for i in range(7):
        _handler.name[i] = name[i]
    _handler.version = 1
    _handler.allocator.malloc = _pool_malloc
    _handler.allocator.calloc = _pool_calloc
    _handler.allocator.realloc = _pool_realloc
    _handler.allocator.free = _pool_free
    _capsule = PyCapsule_New(&_handler, b"mem_handler", NULL)
    Py_INCREF(<void *>_capsule)
    _pool_start()


_make_handler()

#: Whether this system has what the pool is made of.
HAVE_POOL = bool(FASTACT_HAVE_POOL)
#: Bytes of a result from which on it comes from the pool.
SMALLEST_POOLED = _SMALLEST


cdef object new_array(PyArray_Descr *descr, int nd, const cnp.npy_intp *dims):
    """A new array in C order, uninitialised; takes over the reference to `descr`."""
    if not fastact_pools(PyDataType_ELSIZE(descr), nd, dims):
        return PyArray_NewFromDescr(ndarray_type, descr, nd, dims, NULL, NULL, 0, NULL)
    return pooled(None, descr, nd, dims)


cdef object new_like(cnp.ndarray x, PyArray_Descr *descr):
    """A new array of x's shape and memory order, uninitialised; takes over the reference to `descr`, which may be null for x's own."""
    cdef PyArray_Descr *own = PyArray_DESCR(x) if descr == NULL else descr
    if not fastact_pools(PyDataType_ELSIZE(own), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x)):
        return PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, descr, 0)
    return pooled(x, descr, 0, NULL)


cdef object pooled(cnp.ndarray like, PyArray_Descr *descr, int nd, const cnp.npy_intp *dims):
    """A new array from the pool; takes over the reference to `descr`. A handler that somebody else has set is left in charge."""
    before = PyDataMem_GetHandler()
    cdef bint ours = <PyObject *>before == PyDataMem_DefaultHandler
    if ours:
        PyDataMem_SetHandler(_capsule)
    try:
        if like is None:
            return PyArray_NewFromDescr(ndarray_type, descr, nd, dims, NULL, NULL, 0, NULL)
        return PyArray_NewLikeArray(like, cnp.NPY_KEEPORDER, descr, 0)
    finally:
        if ours:
            PyDataMem_SetHandler(before)


def empty(shape, dtype):
    """A new array in C order, uninitialised, from the pool if it is large.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its dtype.
    """
    cdef cnp.npy_intp dims[64]
    cdef PyArray_Descr *descr
    cdef Py_ssize_t i, nd = len(shape)
    if nd > 64:
        raise ValueError(f"shape has {nd} dimensions, more than NumPy's 64")
    for i in range(nd):
        dims[i] = shape[i]
    PyArray_DescrConverter(dtype, &descr)
    return new_array(descr, <int>nd, dims)


def empty_like(cnp.ndarray x not None, dtype):
    """A new array of x's shape and memory order, uninitialised, from the pool if it is large.

    Parameters
    ----------
    x : ndarray
        The array it is to be like; its class is not kept.
    dtype : dtype
        Its dtype.
    """
    cdef PyArray_Descr *descr
    PyArray_DescrConverter(dtype, &descr)
    return new_like(x, descr)


def set_pool_limit(size_t limit):
    """Keep at most so many bytes of dead results; 0: new results do not come from the pool either."""
    with nogil:
        _pool_set_limit(limit)


def trim_pool(size_t limit=0):
    """Give memory to the system until at most so many bytes wait to be used again."""
    with nogil:
        _pool_trim(limit)


def pool_stats():
    """What is in the pool, and what it has done so far, by name."""
    cdef fastact_pool_stats found = _pool_stats()
    return {
        "used_bytes": found.used,
        "free_bytes": found.idle,
        "used_blocks": found.used_blocks,
        "free_blocks": found.idle_blocks,
        "reused": found.reused,
        "mapped": found.mapped,
    }
