# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
"""The compiled side of fastact on the CPU: the loops of the best instruction set, and the fast path of every call.

`Entry` is one direction of one activation as a callable. A plain, contiguous, native array below a size limit never leaves
compiled code: check, allocate, loop. Everything else goes to the Python function the entry was made with.
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
    int fastact_how(bint wide, size_t) noexcept nogil
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
cdef int _bfloat16_type = -1


def set_bfloat16(dtype):
    """Make known the dtype that an extension registered for bfloat16."""
    global _bfloat16_type
    _bfloat16_type = dtype.num


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


# ---------------------------------------------------------------- whole calls, for the backend adapter

cdef inline const fastact_entry *entry_of(str name) except NULL:
    cdef int table, i
    table, i = _entries[name]
    return &isa.table[table].entry[i]


def run_elementwise(str name, str kind, bint wide, list arrays, list params, list outs):
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
    cdef int how = fastact_how(wide, n * cnp.PyArray_ITEMSIZE(arrays[0]) * (len(arrays) + len(outs)))
    if n > WITHOUT_GIL:
        with nogil:
            fastact_run(isa, entry, stored, how, inputs, step, outputs, n)
    else:
        fastact_run(isa, entry, stored, how, inputs, step, outputs, n)


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

    def run(self):
        """All bands, one after the other, on this thread."""
        if self.elements > WITHOUT_GIL:
            with nogil:
                fastact_run_bands(self.job)
        else:
            fastact_run_bands(self.job)


include "memory.pxi"
include "rows.pxi"
include "pipeline.pxi"

# ---------------------------------------------------------------- the fast path

cdef int _overrides = 0


def add_override(int change):
    """Count the contexts in which automatic choice is not what decides; while there are any, no call takes the fast path."""
    global _overrides
    _overrides += change


cdef Py_ssize_t _served = 0


def served():
    """How many calls the fast path has served in this process."""
    return _served


def _rounded(double value, int kind):
    """A number as an array of that storage type would hold it."""
    if kind == FLOAT16:
        return float(np.float16(value))
    if kind == BFLOAT16:
        bits = int(np.float32(value).view(np.uint32))
        return float(np.uint32((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32))
    return value


cdef class Entry:
    """One direction of one activation.

    Parameters
    ----------
    name : str
        The lowered operation.
    general : callable
        Called with the same arguments whenever the fast path does not apply.
    defaults : dict of str to float or None
        Parameters and their defaults; None if they must be given.
    """

    cdef const fastact_entry *entry
    cdef object general
    cdef Splat *defaults  # of each parameter, as each of the four storage types holds it
    cdef bint fast
    cdef int required  # bit i: parameter i has no default
    cdef tuple names
    cdef public Py_ssize_t limit

    def __dealloc__(self):
        PyMem_Free(self.defaults)

    def __init__(self, str name, general, dict defaults):
        self.general = general
        self.names = tuple(defaults)
        self.required = 0
        self.limit = 0
        self.fast = name in _entries
        if self.fast:
            self.entry = entry_of(name)
            self.fast = self.entry.outputs == 1 and self.entry.loop32 != NULL
        if defaults and self.defaults == NULL:
            self.defaults = <Splat *>PyMem_Malloc(4 * len(defaults) * sizeof(Splat))
            if self.defaults == NULL:
                raise MemoryError()
        for i, value in enumerate(defaults.values()):
            if value is None:
                self.required |= 1 << i
            for kind in range(4):
                splat(&self.defaults[4 * i + kind], 0.0 if value is None else _rounded(value, kind))

    def __call__(self, *args, **kwargs):
        if self.fast and _overrides == 0:
            result = self.serve(args, kwargs)
            if result is not None:
                return result
        return self.general(*args, **kwargs)

    cdef object serve(self, tuple args, dict kwargs):
        """The result, or None where the fast path does not apply."""
        cdef int arrays = self.entry.arrays, given = <int>len(args), k, stored
        cdef cnp.ndarray x, g = None, y
        cdef const void *inputs[MAX_INPUTS]
        cdef Py_ssize_t step[MAX_INPUTS]
        cdef void *outputs[1]
        cdef Splat numbers[MAX_INPUTS]
        cdef Py_ssize_t n, size
        cdef bint wide
        cdef PyArray_Descr *descr
        cdef char *begin
        cdef char *target
        cdef PyObject *stored_by_name[MAX_INPUTS]
        if given < arrays or given > self.entry.inputs:
            return None
        for k in range(self.entry.inputs):
            stored_by_name[k] = NULL
        out = None
        if kwargs:
            for key, value in kwargs.items():
                if key == "out":
                    out = value
                    continue
                # A parameter by name; anything else, a wrong or repeated name too, is for the general path.
                k = <int>self.names.index(key) + arrays if key in self.names else -1
                if k < given or stored_by_name[k] != NULL or not PyFloat_CheckExact(value):
                    return None
                stored_by_name[k] = <PyObject *>value
        if not cnp.PyArray_CheckExact(args[arrays - 1]):
            return None
        x = args[arrays - 1]
        stored = kind_of(x)
        n = cnp.PyArray_SIZE(x)
        if stored < 0 or n > self.limit or cnp.PyArray_NDIM(x) == 0 or not PyArray_ISCARRAY_RO(x):
            return None
        if arrays == 2:
            if not cnp.PyArray_CheckExact(args[0]):
                return None
            g = args[0]
            if cnp.PyArray_TYPE(g) != cnp.PyArray_TYPE(x) or not PyArray_ISCARRAY_RO(g) or not same_shape(g, x):
                return None
            inputs[0], step[0] = cnp.PyArray_DATA(g), 1
        inputs[arrays - 1], step[arrays - 1] = cnp.PyArray_DATA(x), 1
        wide = stored == FLOAT64
        for k in range(arrays, self.entry.inputs):
            step[k] = 0
            if stored < FLOAT32 and (k < given or stored_by_name[k] != NULL):
                return None  # halves round their parameters to a half first: left to the general path
            if stored_by_name[k] != NULL:
                splat(&numbers[k], PyFloat_AS_DOUBLE(<object>stored_by_name[k]))
                inputs[k] = splatted(&numbers[k], wide)
            elif k < given:
                if not PyFloat_CheckExact(args[k]):
                    return None
                splat(&numbers[k], PyFloat_AS_DOUBLE(args[k]))
                inputs[k] = splatted(&numbers[k], wide)
            elif self.required & (1 << (k - arrays)):
                return None
            else:
                inputs[k] = splatted(&self.defaults[4 * (k - arrays) + stored], wide)
        if out is None:
            descr = PyArray_DESCR(x)
            Py_INCREF(descr)  # new_array takes it over
            y = new_array(descr, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))
        else:
            if not cnp.PyArray_CheckExact(out):
                return None
            y = out
            if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x) or not PyArray_ISCARRAY(y) or not same_shape(y, x):
                return None
            size = cnp.PyArray_NBYTES(x)
            target = <char *>cnp.PyArray_DATA(y)
            for k in range(arrays):
                begin = <char *>inputs[k]
                if begin != target and begin < target + size and target < begin + size:
                    return None  # overlapping, but not equal
        outputs[0] = cnp.PyArray_DATA(y)
        global _served
        _served += 1
        if n > WITHOUT_GIL:
            with nogil:
                fastact_run(isa, self.entry, stored, wide, inputs, step, outputs, n)
        else:
            fastact_run(isa, self.entry, stored, wide, inputs, step, outputs, n)
        return y


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b):
    cdef int i, nd = cnp.PyArray_NDIM(a)
    if nd != cnp.PyArray_NDIM(b):
        return False
    for i in range(nd):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True
