# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
"""The compiled side of fastact on the CPU: the loops of the best instruction set, and the fast path of every call.

`Entry` is one direction of one activation as a callable. A plain, native array below a size limit never leaves compiled code: check,
allocate, loop. Everything else goes to the Python function the entry was made with.
"""

import os
import warnings

import numpy as np

cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject

cnp.import_array()

cdef extern from "interface.hpp":
    enum: MAX_INPUTS
    enum: MAX_OUTPUTS
    enum: SPLAT
    enum: FLOAT16
    enum: BFLOAT16
    enum: FLOAT32
    enum: FLOAT64
    ctypedef struct fastact_entry:
        const char *name
        int inputs, outputs, arrays, stored
        void *loop32
    ctypedef struct fastact_table:
        int entries
        const fastact_entry *entry
    ctypedef struct fastact_job:
        void (*run)(const fastact_job *, size_t) noexcept nogil
        size_t bands
    ctypedef struct fastact_isa:
        const char *name
        int vector_bytes
        int tables
        const fastact_table *const *table
        void (*rows)(const fastact_job *, size_t) noexcept nogil
        void (*pipeline)(const fastact_job *, size_t) noexcept nogil

cdef extern from "select.hpp":
    const fastact_isa *fastact_isas[]
    bint fastact_runs(const fastact_isa *)
    bint fastact_baseline_fma()
    const char *FASTACT_DIGEST
    void fastact_run(const fastact_isa *, const fastact_entry *, int kind, int how, const void **, const Py_ssize_t *, void **, size_t) nogil
    int fastact_how(const fastact_entry *, int kind, bint wide, size_t) noexcept nogil
    size_t fastact_get_stream_bytes() noexcept nogil
    void fastact_set_stream_bytes(size_t) noexcept nogil
    float fastact_single(double) noexcept nogil
    void fastact_run_band(const fastact_job *, size_t) noexcept nogil
    void fastact_run_bands(const fastact_job *) noexcept nogil
    void fastact_fma_yardstick(const double *, double *, size_t) nogil

cdef extern from "Python.h":
    ctypedef struct PyTypeObject

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArray_Descr
    object PyArray_NewFromDescr(PyTypeObject *type, PyArray_Descr *descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides, void *data, int flags, PyObject *obj)
    PyTypeObject *ndarray_type "&PyArray_Type"
    enum: NPY_HALF
    bint PyArray_ISCARRAY_RO(cnp.ndarray)
    bint PyArray_ISCARRAY(cnp.ndarray)
    PyArray_Descr *PyArray_DESCR(cnp.ndarray)  # borrowed

cdef extern from "Python.h":
    void Py_INCREF(void *)
    void Py_DECREF(void *)
    bint PyFloat_CheckExact(object)
    double PyFloat_AS_DOUBLE(object)

#: Above this many elements a loop runs without the GIL; below, releasing it costs more than it gives.
cdef enum: WITHOUT_GIL = 10000

# ---------------------------------------------------------------- instruction sets

NAMES = {"baseline": "baseline", "v3": "x86-64-v3", "v4": "x86-64-v4"}


def _available():
    cdef int i = 0
    found = []
    while fastact_isas[i] != NULL:
        found.append((NAMES[fastact_isas[i].name.decode()], fastact_runs(fastact_isas[i])))
        i += 1
    return found


#: Instruction sets in this build, best last, and whether this machine runs them.
INSTRUCTION_SETS = dict(_available())
cdef const fastact_isa *isa = NULL


cdef const fastact_isa *_choose(str wanted) except NULL:
    cdef int i = 0
    cdef const fastact_isa *best = NULL
    while fastact_isas[i] != NULL:
        name = NAMES[fastact_isas[i].name.decode()]
        if wanted is None:
            if fastact_runs(fastact_isas[i]):
                best = fastact_isas[i]
        elif name == wanted:
            best = fastact_isas[i]
        i += 1
    runnable = ", ".join(name for name, runs in INSTRUCTION_SETS.items() if runs)
    if best == NULL:
        raise RuntimeError(f"FASTACT_ISA={wanted!r} is not an instruction set of this build; this machine can run: {runnable}")
    if not fastact_runs(best):
        raise RuntimeError(f"FASTACT_ISA={wanted!r}: this machine's processor lacks these instructions; it can run: {runnable}")
    return best


isa = _choose(os.environ.get("FASTACT_ISA") or None)
#: The instruction set in use.
ISA = NAMES[isa.name.decode()]
#: The hash of the lowered text that the loops were built from.
DIGEST = FASTACT_DIGEST.decode()
#: Bytes of one vector, 0 without vectors.
VECTOR_BYTES = isa.vector_bytes
#: False where every fused multiply-add is a call into the C library: the same bits, some 40 times slower.
HARDWARE_FMA = ISA != "baseline" or fastact_baseline_fma()
if not HARDWARE_FMA:
    warnings.warn(
        "fastact runs its baseline build, which has no fused multiply-add instruction and is some 40 times slower; results are the same",
        RuntimeWarning,
        stacklevel=2,
    )

cdef dict _entries = {isa.table[t].entry[i].name.decode(): (t, i) for t in range(isa.tables) for i in range(isa.table[t].entries)}
#: The operations there are loops for.
OPERATIONS = tuple(_entries)

KINDS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32, "float64": FLOAT64}
cdef tuple KIND_NAMES = tuple(sorted(KINDS, key=KINDS.get))
cdef int _bfloat16_type = -1
cdef object _bfloat16_dtype = _bfloat16_type  # no dtype is this


def set_bfloat16(dtype):
    """Make known the dtype that an extension registered for bfloat16."""
    global _bfloat16_type, _bfloat16_dtype
    _bfloat16_type, _bfloat16_dtype = dtype.num, dtype


cdef inline int kind_of(cnp.ndarray x):
    cdef int t = cnp.PyArray_TYPE(x)
    if t == cnp.NPY_FLOAT:
        return FLOAT32
    if t == cnp.NPY_DOUBLE:
        return FLOAT64
    if t == NPY_HALF:
        return FLOAT16
    if t == _bfloat16_type:
        return BFLOAT16
    return -1


# ---------------------------------------------------------------- numbers, splatted over a pack

cdef struct Splat:
    double wide[SPLAT]
    float narrow[SPLAT]


cdef inline void splat(Splat *s, double value) noexcept nogil:
    cdef int i
    cdef float single = fastact_single(value)
    for i in range(SPLAT):
        s.wide[i] = value
        s.narrow[i] = single


cdef inline const void *splatted(const Splat *s, bint wide) noexcept nogil:
    return <const void *>s.wide if wide else <const void *>s.narrow


include "threads.pxi"

# ---------------------------------------------------------------- whole calls, for the backend adapter

cdef inline const fastact_entry *entry_of(str name) except NULL:
    cdef int table, i
    table, i = _entries[name]
    return &isa.table[table].entry[i]


def run_elementwise(str name, str kind, bint wide, list arrays, list params, list outs, int threads=1):
    """One operation over 1-D contiguous arrays of one storage type.

    Parameters
    ----------
    name : str
        The operation, as in `OPERATIONS`.
    kind : str
        How the elements are stored: float16, bfloat16, float32 or float64.
    wide : bool
        Compute in float64; always so for float64.
    arrays, params, outs : list
        Arrays of equal length; parameters are numbers or such arrays. Outputs beyond the stored ones are in the working type.
    threads : int
        On how many it runs at most.
    """
    cdef const fastact_entry *entry = entry_of(name)
    cdef const void *inputs[MAX_INPUTS]
    cdef Py_ssize_t step[MAX_INPUTS]
    cdef void *outputs[MAX_OUTPUTS]
    cdef Splat numbers[MAX_INPUTS]
    cdef int k = 0, stored = KINDS[kind]
    cdef Py_ssize_t n = cnp.PyArray_SIZE(arrays[0])
    wide = wide or stored == FLOAT64
    if len(arrays) != entry.arrays or len(arrays) + len(params) != entry.inputs or len(outs) != entry.outputs:
        raise ValueError(f"{name} takes {entry.arrays} arrays, {entry.inputs - entry.arrays} parameters and {entry.outputs} outputs")
    for a in (*arrays, *params):
        if isinstance(a, cnp.ndarray):
            inputs[k], step[k] = cnp.PyArray_DATA(a), 1
        else:
            splat(&numbers[k], a)
            inputs[k], step[k] = splatted(&numbers[k], wide), 0
        k += 1
    for k, a in enumerate(outs):
        outputs[k] = cnp.PyArray_DATA(a)
    if n > WITHOUT_GIL:
        run_on(threads, entry, stored, wide, inputs, step, outputs, n)
    else:
        fastact_run(isa, entry, stored, fastact_how(entry, stored, wide, n), inputs, step, outputs, n)


def stream_bytes(limit=None):
    """From how many bytes on, all arrays of a call together, results are stored past the caches; set it first, if `limit` is given."""
    if limit is not None:
        fastact_set_stream_bytes(limit)
    return fastact_get_stream_bytes()


def fma_yardstick(cnp.ndarray x, cnp.ndarray out):
    """A fixed loop over two contiguous arrays of float64, for the regression check to time kernels against."""
    cdef Py_ssize_t n = cnp.PyArray_SIZE(x)
    with nogil:
        fastact_fma_yardstick(<const double *>cnp.PyArray_DATA(x), <double *>cnp.PyArray_DATA(out), n)


# ---------------------------------------------------------------- jobs

cdef class Job:
    """Work in bands, which may run in any order, side by side.

    Attributes
    ----------
    bands : int
        How many there are; it follows from shapes alone.
    function, address : int
        ``void function(address, band)`` runs one of them.
    """

    cdef fastact_job *job  # at the head of a larger struct that subclasses know
    cdef list kept  # the arrays that it points into
    cdef Py_ssize_t elements

    def __dealloc__(self):
        PyMem_Free(self.job)

    cdef int allocate(self, size_t size, Py_ssize_t elements) except -1:
        """Make the struct of `size` bytes, all zero; the work is about `elements` elements."""
        PyMem_Free(self.job)
        self.job = <fastact_job *>PyMem_Calloc(1, size)
        if self.job == NULL:
            raise MemoryError()
        self.kept = []
        self.elements = elements
        return 0

    @property
    def bands(self):
        return self.job.bands

    @property
    def function(self):
        return <size_t>&fastact_run_band

    @property
    def address(self):
        return <size_t>self.job

    def run(self, int threads=1):
        """All bands, on up to `threads` threads; the bits are those of one."""
        if self.elements > WITHOUT_GIL:
            with nogil:
                fastact_run_threads(self.job, threads)
        else:
            fastact_run_bands(self.job)


include "memory.pxi"
include "rows.pxi"
include "pipeline.pxi"

# ---------------------------------------------------------------- the fast path

cdef int _overrides = 0


def add_override(int change):
    """Count the contexts in which automatic choice is not what decides; only while there are any do calls look at them."""
    global _overrides
    _overrides += change


cdef Py_ssize_t _served = 0


def served():
    """How many calls the fast path has served in this process."""
    return _served


include "strided.pxi"
include "cuda.pxi"
include "entry.pxi"
