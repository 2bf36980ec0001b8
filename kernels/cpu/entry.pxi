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
            Py_INCREF(descr)  # NewFromDescr takes it over
            y = PyArray_NewFromDescr(ndarray_type, descr, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), NULL, NULL, 0, NULL)
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
