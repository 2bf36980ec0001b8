# Included by compiled.pyx: pipelines as jobs (pipeline.hpp runs them).

cdef extern from "interface.hpp":
    ctypedef struct fastact_operand:
        char *data
        Py_ssize_t stride[3]
        double number
        int present
    ctypedef struct fastact_sum:
        double *data
        Py_ssize_t stride[3]
        Py_ssize_t group, strip
    ctypedef struct fastact_factor:
        fastact_operand x, bias, dx
        const fastact_entry *value
        const fastact_entry *both
        const fastact_entry *backward
        int params, clamped, gate
        double low, high, offset
        fastact_operand *param
        fastact_sum dbias
        fastact_sum *dparam
    enum: SILU_GATE
    enum: FORWARD
    enum: BACKWARD
    enum: LOSS
    enum: WITH_MASK
    enum: FROM_MASK
    ctypedef struct fastact_pipeline:
        fastact_job job
        int mode, kind, wide, factors
        size_t outer, mid, n, groups, unit, units, strips, strip, block
        int packed
        fastact_factor *factor
        fastact_operand weight, grad, out
        fastact_sum dweight
        int dropout
        unsigned long long seed, threshold
        Py_ssize_t index[3]
        double scale
        fastact_operand target
        fastact_sum total
        unsigned char *bits
        double slope[2]

cdef enum: DIMENSIONS = 64  # NumPy has no more
cdef enum: SHORT = 256  # rows of no more elements are packed, several to a block
cdef enum: LARGEST_BLOCK = 512
cdef enum: BAND = 65536  # elements worth a thread's while
cdef enum: MOST_BANDS = 64
cdef enum: STRIP = 2048  # columns whose sums stay in the second-level cache

MODES = {"forward": FORWARD, "backward": BACKWARD, "loss": LOSS, "with_mask": WITH_MASK, "from_mask": FROM_MASK}
# Functions with faster loops for products, by the name of their definition.
GATES = {"silu": SILU_GATE}

cdef struct Strides:  # of something in all dimensions, until they are known in three
    Py_ssize_t *target
    Py_ssize_t stride[DIMENSIONS]

cdef struct Total:  # what is summed, and how many sums there are
    fastact_sum *target
    Py_ssize_t size, copies


cdef class Pipeline(Job):
    """Activations with what stands before and after them, in one pass: see pipeline.hpp.

    Arrays are NumPy arrays of the storage type, aligned and native, of any strides, that broadcast to `shape`; numbers stand for constant
    arrays. They must not overlap what is written, unless element for element. First say what there is, then `ready()`, run it as any job,
    and ask for `sums()`.

    Parameters
    ----------
    mode : str
        "forward", "backward", "loss", "with_mask" or "from_mask".
    kind : str
        How elements are stored.
    wide : bool
        Compute in float64.
    shape : tuple of int
        Of the result; not empty, without zeros.
    """

    cdef fastact_pipeline *p
    cdef Py_ssize_t shape[DIMENSIONS]
    cdef int ndim
    cdef int itemsize
    cdef Strides *strides
    cdef Total *totals
    cdef int strided, summed
    cdef list shapes  # of the sums
    cdef cnp.ndarray memory  # of all sums

    def __dealloc__(self):
        PyMem_Free(self.strides)
        PyMem_Free(self.totals)

    def __init__(self, str mode, str kind, bint wide, tuple shape):
        cdef Py_ssize_t elements = 1
        cdef int i
        self.ndim = <int>len(shape)
        if self.ndim > DIMENSIONS:
            raise ValueError(f"arrays of {self.ndim} dimensions")
        for i in range(self.ndim):
            self.shape[i] = shape[i]
            elements *= self.shape[i]
        self.allocate(sizeof(fastact_pipeline), elements)
        self.p = <fastact_pipeline *>self.job
        self.p.mode, self.p.kind = MODES[mode], KINDS[kind]
        self.p.wide = wide or self.p.kind == FLOAT64
        self.p.scale = 1.0
        self.itemsize = 8 if self.p.kind == FLOAT64 else 4 if self.p.kind == FLOAT32 else 2
        self.job.run = isa.pipeline
        PyMem_Free(self.strides)
        PyMem_Free(self.totals)
        self.strides = <Strides *>PyMem_Malloc((4 * MAX_INPUTS + 2 * MAX_OUTPUTS + 20) * sizeof(Strides))
        self.totals = <Total *>PyMem_Malloc((2 * MAX_OUTPUTS + 6) * sizeof(Total))
        if self.strides == NULL or self.totals == NULL:
            raise MemoryError()
        self.strided = self.summed = 0
        self.shapes = []

    cdef Py_ssize_t *watch(self, Py_ssize_t *target):
        """Room for strides in all dimensions; in three they come to `target`."""
        cdef Strides *s = &self.strides[self.strided]
        self.strided += 1
        s.target = target
        return s.stride

    cdef int put(self, fastact_operand *o, value) except -1:
        cdef cnp.ndarray a
        cdef Py_ssize_t *stride
        cdef int i, nd
        if value is None:
            return 0
        o.present = 1
        if not cnp.PyArray_Check(value):
            o.number = value
            return 0
        a = value
        nd = cnp.PyArray_NDIM(a)
        if nd > self.ndim or cnp.PyArray_ITEMSIZE(a) != self.itemsize:
            raise ValueError(f"an array of {nd} dimensions and {cnp.PyArray_ITEMSIZE(a)} bytes an element, of {self.ndim} and {self.itemsize}")
        o.data = <char *>cnp.PyArray_DATA(a)
        self.kept.append(a)
        stride = self.watch(o.stride)
        for i in range(self.ndim):
            stride[i] = 0
        for i in range(nd):
            if cnp.PyArray_DIMS(a)[i] == self.shape[self.ndim - nd + i]:
                stride[self.ndim - nd + i] = cnp.PyArray_STRIDES(a)[i] // self.itemsize
                if cnp.PyArray_STRIDES(a)[i] % self.itemsize and cnp.PyArray_DIMS(a)[i] > 1:
                    raise ValueError("strides that are no multiple of an element")
            elif cnp.PyArray_DIMS(a)[i] != 1:
                raise ValueError("an array that does not broadcast to the result")
        return 0

    cdef int add(self, fastact_sum *s, tuple shape) except -1:
        """Sum over all dimensions in which `shape` is broadcast."""
        cdef Py_ssize_t *stride = self.watch(s.stride)
        cdef Py_ssize_t size = 1
        cdef int i, nd = <int>len(shape)
        for i in range(self.ndim):
            stride[i] = 0
        for i in range(nd - 1, -1, -1):
            if shape[i] != 1:
                stride[self.ndim - nd + i] = size
                size *= shape[i]
        self.totals[self.summed].target = s
        self.totals[self.summed].size = size
        self.summed += 1
        self.shapes.append(shape)
        return 0

    def factor(self, name, x, params=(), bias=None, dx=None, double low=-np.inf, double high=np.inf, double offset=0.0,
               bias_shape=None, param_shapes=()):
        """The next factor: activation `name` (None: the identity) of x + bias within [low, high], and `offset` added.

        `dx` is written in backward. Gradients are summed for a bias of `bias_shape`, and for the learnable parameters, in their order,
        of `param_shapes`.
        """
        cdef fastact_factor *f = &self.p.factor[self.p.factors]
        cdef int k
        self.p.factors += 1
        self.put(&f.x, x)
        self.put(&f.bias, bias)
        self.put(&f.dx, dx)
        f.low, f.high, f.offset = low, high, offset
        f.clamped = low > -np.inf or high < np.inf
        if name is not None:
            f.value = entry_of(f"{name}_value")
            f.both = entry_of(f"{name}_value_and_derivative")
            if self.p.mode == BACKWARD:
                f.backward = entry_of(f"{name}_backward")
            if not self.p.wide and (self.p.mode == FORWARD or self.p.mode == BACKWARD):
                f.gate = GATES.get(name, 0)
            f.params = f.value.inputs - f.value.arrays
            if len(params) != f.params:
                raise ValueError(f"{name} takes {f.params} parameters")
            for k in range(f.params):
                self.put(&f.param[k], params[k])
        if bias_shape is not None:
            self.add(&f.dbias, bias_shape)
        for k, shape in enumerate(param_shapes):
            self.add(&f.dparam[k], shape)

    def product(self, out=None, grad=None, weight=None, weight_shape=None):
        """What stands after the factors; `out` is written in forward. Gradients are summed for a weight of `weight_shape`."""
        self.put(&self.p.out, out)
        self.put(&self.p.grad, grad)
        self.put(&self.p.weight, weight)
        if weight_shape is not None:
            self.add(&self.p.dweight, weight_shape)

    def drop(self, unsigned long long seed, unsigned long long threshold, double scale):
        """Dropout: kept, and multiplied by `scale`, is where the random number of an element's index, 24 bits, is below `threshold`."""
        cdef Py_ssize_t *stride = self.watch(self.p.index)
        cdef Py_ssize_t size = 1
        cdef int i
        for i in range(self.ndim - 1, -1, -1):
            stride[i] = size
            size *= self.shape[i]
        self.p.dropout, self.p.seed, self.p.threshold, self.p.scale = 1, seed, threshold, scale

    def loss(self, target, double scale=1.0, bint total=True):
        """Of mode "loss": factor and product said x, dx, weight, grad, and `out` for the single losses; `total`: sum them all.

        dx = slope * weight * grad * scale.
        """
        self.put(&self.p.target, target)
        self.p.scale = scale
        if total:
            self.add(&self.p.total, ())

    def mask(self, cnp.ndarray bits, double low, double high):
        """Of the modes with masks: the packed bits, and the slopes for bits of 0 and of 1. Arrays must be contiguous."""
        self.p.bits = <unsigned char *>cnp.PyArray_DATA(bits)
        self.kept.append(bits)
        self.p.slope[0], self.p.slope[1] = low, high

    def ready(self):
        """Make the plan. False if there are too many dimensions that do not lie alike: then arrays have to be copied first."""
        cdef Py_ssize_t extent[DIMENSIONS]
        cdef int kept[DIMENSIONS]
        cdef int i, k, nd = 0, merged
        for i in range(self.ndim):  # dimension i goes together with the one before it if all arrays go on from one to the next
            if self.shape[i] == 1:
                continue
            merged = nd > 0
            for k in range(self.strided):
                if merged and self.strides[k].stride[kept[nd - 1]] != self.strides[k].stride[i] * self.shape[i]:
                    merged = 0
            if merged:
                extent[nd - 1] *= self.shape[i]
            else:
                extent[nd] = self.shape[i]
                nd += 1
            kept[nd - 1] = i
        if nd > 3:
            return False
        self.p.outer = extent[0] if nd == 3 else 1
        self.p.mid = extent[nd - 2] if nd >= 2 else 1
        self.p.n = extent[nd - 1] if nd >= 1 else 1
        for k in range(self.strided):
            for i in range(nd):
                self.strides[k].target[3 - nd + i] = self.strides[k].stride[kept[i]]
        self.plan()
        return True

    cdef int plan(self) except -1:
        cdef fastact_pipeline *p = self.p
        cdef size_t rows = p.outer * p.mid, n = p.n, total = rows * n
        cdef size_t bands = min(<size_t>MOST_BANDS, max(<size_t>1, total // BAND))
        cdef size_t count, most
        cdef bint along = False, aligned = False, shared
        cdef int k
        cdef cnp.npy_intp size = 0
        cdef fastact_sum *s
        for k in range(self.summed):
            s = self.totals[k].target
            along |= s.stride[2] != 0
            aligned |= s.stride[0] != 0 and p.outer > 1 and s.stride[1] == 0 and p.mid > 1
        p.packed = n <= SHORT and rows > 1
        p.strips = 1
        if p.packed:
            p.block = LARGEST_BLOCK // n
        elif along:
            p.strips = (n + STRIP - 1) // STRIP
            if p.strips > MOST_BANDS:
                p.strips = MOST_BANDS
        elif rows < bands:
            p.strips = min((bands + rows - 1) // rows, (n + LARGEST_BLOCK - 1) // LARGEST_BLOCK)
        p.strip = n
        if p.strips > 1:
            p.strip = ((n + p.strips - 1) // p.strips + LARGEST_BLOCK - 1) // LARGEST_BLOCK * LARGEST_BLOCK
            p.strips = (n + p.strip - 1) // p.strip
        p.unit = p.mid if aligned else p.block if p.packed else 1
        p.units = (rows + p.unit - 1) // p.unit
        p.groups = max(<size_t>1, min(p.units, bands // p.strips))
        for k in range(self.summed):  # what all groups' sums take together is less than an eighth of x
            s = self.totals[k].target
            if (s.stride[0] == 0 and p.outer > 1) or (s.stride[1] == 0 and p.mid > 1):
                most = total * self.itemsize // (64 * self.totals[k].size * (p.strips if s.stride[2] == 0 else 1))
                p.groups = max(<size_t>1, min(p.groups, most))
        if not p.packed:  # blocks of about one size, of whole vectors
            count = (p.strip + LARGEST_BLOCK - 1) // LARGEST_BLOCK
            p.block = min(<size_t>LARGEST_BLOCK, ((p.strip + count - 1) // count + 31) // 32 * 32)
        self.job.bands = p.groups * p.strips
        for k in range(self.summed):
            s = self.totals[k].target
            shared = ((s.stride[0] == 0 and p.outer > 1) or (s.stride[1] == 0 and p.mid > 1)) and not (aligned and s.stride[0] != 0)
            self.totals[k].copies = 1
            if s.stride[2] == 0:
                s.strip = self.totals[k].size
                self.totals[k].copies = p.strips
            if shared:
                s.group = self.totals[k].size * self.totals[k].copies
                self.totals[k].copies *= p.groups
            size += self.totals[k].size * self.totals[k].copies
        if size:
            self.memory = cnp.PyArray_ZEROS(1, &size, cnp.NPY_DOUBLE, 0)
            size = 0
            for k in range(self.summed):
                self.totals[k].target.data = <double *>cnp.PyArray_DATA(self.memory) + size
                size += self.totals[k].size * self.totals[k].copies
        return 0

    def sums(self):
        """What was summed, in the order in which it was asked for: arrays of float64."""
        cdef int k
        cdef Py_ssize_t i, j, begin = 0
        cdef double *to
        cdef double *more
        found = []
        for k in range(self.summed):
            to = self.totals[k].target.data
            for j in range(1, self.totals[k].copies):
                more = to + j * self.totals[k].size
                for i in range(self.totals[k].size):
                    to[i] += more[i]
            found.append(self.memory[begin : begin + self.totals[k].size].reshape(self.shapes[k]))
            begin += self.totals[k].size * self.totals[k].copies
        return found


def loss_job(str name, str kind, bint wide, tuple shape, x, target, params=(), weight=None, grad=None, dx=None, out=None,
             double scale=1.0, bint total=True):
    """An elementwise loss as a job, ready to run; None if its arrays have to be copied first, as they lie too differently.

    For every element ``loss = value(x, target, *params) * weight`` and ``dx = derivative(x, target, *params) * weight * grad * scale``,
    in one pass.

    Parameters
    ----------
    name : str
        A definition of family "loss".
    kind, wide, shape
        As for `Pipeline`; `shape` is that of x.
    x, target : array
        Of the storage type; `target` may be a number or broadcast to x.
    params : sequence
        Numbers, or arrays that broadcast to x, for each parameter of the definition.
    weight, grad : array or float, optional
        They broadcast to x; `grad` is the gradient with respect to each loss (reduction "none").
    dx, out : array, optional
        Where the gradient and the single losses go; either may be x.
    scale : float
        Of the gradient, for example 1 over the number of elements.
    total : bool
        Sum the losses; after the run ``sums()`` has one array, of no dimensions and float64.
    """
    job = Pipeline("loss", kind, wide, shape)
    job.factor(name, x, params, dx=dx)
    job.product(out=out, grad=grad, weight=weight)
    job.loss(target, scale, total)
    return job if job.ready() else None
