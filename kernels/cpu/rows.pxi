# Included by compiled.pyx: row-wise calls as jobs.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

cdef extern from "interface.hpp":
    ctypedef struct fastact_spread:
        const void *data
        const int64_t *outer
        Py_ssize_t step
        const int64_t *inner
    ctypedef struct fastact_rows:
        fastact_job job
        int program, direction, kind, wide
        size_t outer, n, inner, gather
        const void *x
        const void *grad
        const void *soft
        void *out
        const double *row_grad
        const double *sink
        const double *alpha
        const double *weight
        int sink_step, alpha_step
        double scale, bias_scale
        fastact_spread bias, where
        const int64_t *limits
        const int64_t *labels
        int masked_nan, hard, has_noise, has_ignore, power
        uint64_t noise
        int64_t ignore
        double smoothing, z_loss, margin, row_scale
        double *lse
        double *dsink
        double *dalpha
        double *loss
        double *dbias
        size_t bias_size
        int *failed

#: As in rows/programs.hpp.
PROGRAMS = {"softmax": 0, "log_softmax": 1, "hardmax": 2, "sparsemax": 3, "entmax15": 4, "entmax": 5, "cross_entropy": 6, "multi_margin": 7}
ROW_DIRECTIONS = {"value": 0, "value_and_grad": 0, "backward": 1, "backward_from_output": 2}
#: Elements of a band, about; no more bands than that; and rows of up to so many elements lie side by side in the lanes of a pack.
cdef enum: ROWS_BAND = 32768
cdef enum: ROWS_BANDS = 64
cdef enum: GATHER = 16


cdef void *_address(a) except? NULL:
    return NULL if a is None else cnp.PyArray_DATA(a)


cdef class RowsJob(Job):
    """A row-wise call, a `fastact.rows.Rows` on NumPy arrays, as a job; `finish` follows when all bands are done."""

    cdef int failed
    cdef object call, partial

    def __init__(self, call):
        cdef cnp.ndarray x = call.x
        cdef fastact_rows *r
        cdef Py_ssize_t size = cnp.PyArray_SIZE(x), bands, most
        self.allocate(sizeof(fastact_rows), size)
        r = <fastact_rows *>self.job
        self.call, self.failed, r.failed = call, 0, &self.failed
        r.job.run = isa.rows
        r.program, r.direction = PROGRAMS[call.program], ROW_DIRECTIONS[call.direction]
        r.kind, r.wide = KINDS[call.kind], call.wide
        r.outer, r.n, r.inner, r.gather = x.shape[0], x.shape[1], x.shape[2], GATHER
        r.x, r.grad, r.soft, r.out = cnp.PyArray_DATA(x), _address(call.grad), _address(call.soft), _address(call.out)
        r.row_grad, r.weight = <const double *>_address(call.row_grad), <const double *>_address(call.weight)
        r.sink, r.alpha = <const double *>_address(call.sink), <const double *>_address(call.alpha)
        r.sink_step = call.sink is not None and call.sink.size > 1
        r.alpha_step = call.alpha is not None and call.alpha.size > 1
        r.scale, r.bias_scale = call.scale, call.bias_scale
        self.spread(&r.bias, call.bias)
        self.spread(&r.where, call.where)
        r.limits, r.labels = <const int64_t *>_address(call.limits), <const int64_t *>_address(call.labels)
        r.masked_nan, r.hard, r.power = call.masked_nan, call.hard, call.power
        r.has_noise = call.noise is not None
        r.noise = call.noise if r.has_noise else 0
        r.has_ignore = call.ignore is not None
        r.ignore = call.ignore if r.has_ignore else 0
        r.smoothing, r.z_loss, r.margin, r.row_scale = call.smoothing, call.z_loss, call.margin, call.row_scale
        r.lse, r.dsink, r.dalpha, r.loss = (
            <double *>_address(call.lse), <double *>_address(call.dsink), <double *>_address(call.dalpha), <double *>_address(call.loss)
        )
        bands = bands_of(size, x.shape[1])
        self.partial = None
        if call.dbias is not None:  # a sum for each band: no more of them than take an eighth of x
            most = max(1, size // (8 * max(1, call.dbias.size)))
            bands = min(bands, most)
            self.partial = np.zeros((bands, call.dbias.size))
            r.dbias, r.bias_size = <double *>_address(self.partial), call.dbias.size
        r.job.bands = bands

    cdef int spread(self, fastact_spread *s, given) except -1:
        if given is not None:
            s.data, s.step = _address(given.data), given.step
            s.outer, s.inner = <const int64_t *>_address(given.outer), <const int64_t *>_address(given.inner)
        return 0

    def finish(self):
        """Fold the bands' sums, in order; raises if a band found no memory."""
        if self.failed:
            raise MemoryError(f"{self.call.program}: no memory for a scratch tile of rows of {self.call.x.shape[1]} elements")
        if self.partial is not None:
            self.call.dbias[...] = self.partial.sum(axis=0)


# ---------------------------------------------------------------- the fast path

cdef class RowEntry:
    """A row-wise function in one direction: serves plain arrays itself, with an axis and `out` and nothing else; all else goes to `general`.

    Parameters
    ----------
    program, direction : str
        As in `Rows`.
    scale : float
        What x is multiplied by: 1, or -1.
    general : callable
        Called with the same arguments whenever the fast path does not apply.
    fast : bool
        Whether there is a fast path.
    """

    cdef int program, direction, arrays
    cdef double scale
    cdef object general
    cdef bint fast
    cdef public int cost

    def __init__(self, str program, str direction, double scale, general, bint fast):
        self.program, self.direction, self.scale, self.general, self.fast = PROGRAMS[program], ROW_DIRECTIONS[direction], scale, general, fast
        self.arrays = 1 if direction == "value" else 2

    def __call__(self, *args, **kwargs):
        if self.fast and _overrides == 0:
            result = self.serve(args, kwargs)
            if result is not None:
                return result
        return self.general(*args, **kwargs)

    cdef object serve(self, tuple args, dict kwargs):
        cdef fastact_rows r
        cdef cnp.ndarray x, g = None, y
        cdef PyArray_Descr *descr
        cdef int given = <int>len(args), k, nd, axis = -1, failed = 0, threads
        cdef bint named = False
        cdef Py_ssize_t n
        cdef cnp.npy_intp *shape
        if given < self.arrays or given > self.arrays + 1:
            return None
        out = None
        place = args[self.arrays] if given > self.arrays else None
        if kwargs:
            for key, value in kwargs.items():
                if key == "out":
                    out = value
                elif key == "axis" and place is None:
                    place = value
                    if place is None:
                        return None
                elif key == "backend" and type(value) is str and value == "cython":
                    named = True
                else:
                    return None
        if place is None:
            if given > self.arrays:
                return None
        elif type(place) is not int or not -64 <= place < 64:
            return None
        else:
            axis = place
        if not cnp.PyArray_CheckExact(args[self.arrays - 1]):
            return None
        x = args[self.arrays - 1]
        nd, n = cnp.PyArray_NDIM(x), cnp.PyArray_SIZE(x)
        memset(&r, 0, sizeof(r))
        r.kind = kind_of(x)
        if axis < 0:
            axis += nd
        if r.kind < 0 or n == 0 or (n >= _elsewhere[self.cost][r.kind] and not named) or axis < 0 or axis >= nd or not PyArray_ISCARRAY_RO(x):
            return None
        if self.arrays == 2:
            if not cnp.PyArray_CheckExact(args[0]):
                return None
            g = args[0]
            if cnp.PyArray_TYPE(g) != cnp.PyArray_TYPE(x) or not PyArray_ISCARRAY_RO(g) or not same_shape(g, x):
                return None
            r.grad = cnp.PyArray_DATA(g)
        if out is None:
            descr = PyArray_DESCR(x)
            Py_INCREF(descr)  # new_array takes it over
            y = new_array(descr, nd, cnp.PyArray_DIMS(x))
        else:
            if not cnp.PyArray_CheckExact(out):
                return None
            y = out
            if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x) or not PyArray_ISCARRAY(y) or not same_shape(y, x):
                return None
            if apart(x, y) or (g is not None and apart(g, y)):
                return None
        shape = cnp.PyArray_DIMS(x)
        r.outer = r.inner = 1
        for k in range(axis):
            r.outer *= shape[k]
        r.n = shape[axis]
        for k in range(axis + 1, nd):
            r.inner *= shape[k]
        r.job.run, r.job.bands = isa.rows, bands_of(n, r.n)
        r.program, r.direction, r.wide, r.gather = self.program, self.direction, r.kind == FLOAT64, GATHER
        r.x, r.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(y)
        r.scale, r.bias_scale, r.row_scale, r.failed = self.scale, 1.0, 1.0, &failed
        global _served
        _served += 1
        if n > WITHOUT_GIL:
            threads = threads_for(self.cost, r.kind, n)
            with nogil:
                fastact_run_threads(&r.job, threads)
        else:
            fastact_run_bands(&r.job)
        if failed:
            raise MemoryError(f"no memory for a scratch tile of rows of {r.n} elements")
        return y


cdef inline Py_ssize_t bands_of(Py_ssize_t size, Py_ssize_t n) noexcept:
    return min(max(1, size // ROWS_BAND), ROWS_BANDS, max(1, size // max(1, n)))


cdef inline bint apart(cnp.ndarray a, cnp.ndarray out):
    """Whether two arrays of one size overlap without being the same."""
    cdef char *begin = <char *>cnp.PyArray_DATA(a)
    cdef char *target = <char *>cnp.PyArray_DATA(out)
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(a)
    return begin != target and begin < target + size and target < begin + size
