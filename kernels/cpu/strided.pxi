# Included by compiled.pyx: elementwise operations over arrays that lie differently (strided.hpp runs them).

cdef extern from "strided.hpp":
    enum: STRIDED_DIMENSIONS
    ctypedef struct fastact_strided:
        fastact_job job
    void fastact_strided_begin(fastact_strided *, const fastact_isa *, const fastact_entry *, int kind, bint wide)
    void fastact_strided_operand_at(fastact_strided *, int k, void *data, const cnp.npy_intp *strides, int dimensions, const void *splat)
    bint fastact_strided_plan(fastact_strided *, int dimensions, const cnp.npy_intp *shape)


cdef class StridedJob(Job):
    """An elementwise operation over arrays of one shape and storage type, of any strides, aligned and native; see `strided_job`."""

    cdef Splat *numbers

    def __dealloc__(self):
        PyMem_Free(self.numbers)


def strided_job(str name, str kind, bint wide, list arrays, list params, list outs):
    """One operation over arrays that lie differently, as a job.

    Parameters
    ----------
    name, kind, wide, params
        As for `run_elementwise`.
    arrays, outs : list
        Arrays of one shape, not empty, with strides of their own, aligned and native. Parameters are numbers or such arrays. None may
        overlap an output, unless element for element.

    Returns
    -------
    Job or None
        None where there is no such loop, or there are too many dimensions.
    """
    cdef StridedJob job
    cdef fastact_strided *s
    cdef const fastact_entry *entry
    cdef cnp.ndarray x = arrays[0]
    cdef int nd = cnp.PyArray_NDIM(x), stored = KINDS[kind], k = 0
    wide = wide or stored == FLOAT64
    if nd > STRIDED_DIMENSIONS or name not in _entries:
        return None
    entry = entry_of(name)
    if len(arrays) != entry.arrays or len(arrays) + len(params) != entry.inputs or not len(outs) == entry.outputs == entry.stored:
        return None
    job = StridedJob()
    job.allocate(sizeof(fastact_strided), cnp.PyArray_SIZE(x))
    job.numbers = <Splat *>PyMem_Malloc(max(1, len(params)) * sizeof(Splat))
    if job.numbers == NULL:
        raise MemoryError()
    s = <fastact_strided *>job.job
    fastact_strided_begin(s, isa, entry, stored, wide)
    for a in (*arrays, *params, *outs):
        if isinstance(a, cnp.ndarray):
            if not same_shape(a, x):
                raise ValueError("arrays of different shapes")
            fastact_strided_operand_at(s, k, cnp.PyArray_DATA(a), cnp.PyArray_STRIDES(a), nd, NULL)
            job.kept.append(a)
        else:
            splat(&job.numbers[k - entry.arrays], a)
            fastact_strided_operand_at(s, k, NULL, NULL, 0, splatted(&job.numbers[k - entry.arrays], wide))
        k += 1
    return job if fastact_strided_plan(s, nd, cnp.PyArray_DIMS(x)) else None
