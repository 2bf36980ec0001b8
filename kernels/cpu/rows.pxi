# Included by compiled.pyx: row-wise calls as jobs.

from libc.stdint cimport int64_t, uint64_t

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
        bands = min(max(1, size // ROWS_BAND), ROWS_BANDS, max(1, size // max(1, x.shape[1])))
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
