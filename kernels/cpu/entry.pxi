# Included by compiled.pyx: one direction of one activation as a callable, and its fast path.

from cpython.contextvars cimport PyContextVar_Get
from cpython.exc cimport PyErr_Clear
from cpython.float cimport PyFloat_Check
from cpython.long cimport PyLong_AsDouble, PyLong_CheckExact

cdef extern from *:
    """
    // Cython gives its classes no vectorcall, which spares a tuple and a dictionary for each call. `type` is the class itself, which gets
    // it, or a subclass, which has its offset: before Python 3.12 subclasses do not take over the flag. One that has a __call__ of its
    // own is called by that.
    static void fastact_set_vectorcall(PyObject *own, PyObject *entry, Py_ssize_t offset) {
        PyTypeObject *const type = (PyTypeObject *)own, *const base = (PyTypeObject *)entry;
        if (type->tp_flags & Py_TPFLAGS_HAVE_VECTORCALL || type->tp_call != base->tp_call) return;
        if (type == base) type->tp_vectorcall_offset = offset;
        if (type->tp_vectorcall_offset != offset) return;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
        PyType_Modified(type);
    }
    """
    ctypedef PyObject *const *Arguments "PyObject *const *"
    ctypedef object (*vectorcallfunc)(object, Arguments, size_t, PyObject *)
    void fastact_set_vectorcall(object own, object entry, Py_ssize_t offset)

cdef extern from "Python.h":
    object PyObject_Vectorcall(object, Arguments, size_t, PyObject *)
    object PyVectorcall_Call(object, PyObject *, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *)
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t)
    bint PyTuple_CheckExact(PyObject *)
    tuple PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(object, Py_ssize_t, object)
    bint PyUnicode_CheckExact(PyObject *)
    Arguments PySequence_Fast_ITEMS(object)

cdef extern from "numpy/arrayobject.h":
    bint PyArray_ISBEHAVED_RO(cnp.ndarray)
    bint PyArray_ISBEHAVED(cnp.ndarray)
    object PyArray_Scalar(void *data, PyArray_Descr *descr, PyObject *base)

cdef extern from "calls.hpp":
    double fastact_rounded(double, int kind) noexcept nogil
    double fastact_sum_of(const void *terms, bint wide, size_t n) noexcept nogil

#: Up to so many elements the gradients of parameters are summed here: one block of a pipeline, which larger ones go through.
cdef enum: SUMMED_HERE = 512

# ---------------------------------------------------------------- what was asked for

cdef object _backend_variable = None
cdef object _accuracy_variable = None
cdef str _environment_backend = None
cdef str _environment_accuracy = None


def follow(backend, accuracy, str environment_backend, str environment_accuracy):
    """Make known where backend and accuracy are named: two context variables, and what stands in their place where they hold None."""
    global _backend_variable, _accuracy_variable, _environment_backend, _environment_accuracy
    _backend_variable, _accuracy_variable = backend, accuracy
    _environment_backend, _environment_accuracy = environment_backend, environment_accuracy


cdef inline bint same_text(PyObject *a, str b):
    return a == <PyObject *>b or (PyUnicode_CheckExact(a) and <str>a == b)


cdef object in_context(variable, str otherwise):
    cdef PyObject *found = NULL
    PyContextVar_Get(variable, NULL, &found)
    if found == NULL:
        return otherwise
    value = <object>found
    Py_DECREF(found)
    return otherwise if value is None else value


cdef int asked(PyObject *backend, PyObject *accuracy, str own) except -2:
    """Whether to compute in float64, for "precise"; -1 where another backend than `own` is to run, or an error to be raised."""
    cdef PyObject *none = <PyObject *>None
    cdef bint wide = False
    if backend == none:
        backend = NULL
    if accuracy == none:
        accuracy = NULL
    if _overrides:
        if backend == NULL:
            named = in_context(_backend_variable, _environment_backend)
            if named is not None and named != own:
                return -1
        if accuracy == NULL:
            wide = in_context(_accuracy_variable, _environment_accuracy) == "precise"
    if backend != NULL and not same_text(backend, own):
        return -1
    if accuracy != NULL:
        wide = same_text(accuracy, "precise")
        if not wide and not same_text(accuracy, "fast"):
            return -1
    return wide


cdef inline object empty_as(cnp.ndarray x, cnp.ndarray shape):
    """A new array of x's type and of the shape of `shape`."""
    cdef PyArray_Descr *descr = PyArray_DESCR(x)
    Py_INCREF(descr)  # new_array takes it over
    return new_array(descr, cnp.PyArray_NDIM(shape), cnp.PyArray_DIMS(shape))


cdef inline bint is_number(PyObject *value, double *number):
    """Whether `value` is a plain number, which goes to `number`."""
    if PyFloat_Check(<object>value):
        number[0] = PyFloat_AS_DOUBLE(<object>value)
        return True
    if not PyLong_CheckExact(<object>value):
        return False
    try:
        number[0] = PyLong_AsDouble(<object>value)
    except OverflowError:
        return False
    return True


cdef bint is_single(PyObject *value, cnp.ndarray x, int kind, double *number):
    """Whether `value` is an array of one element of x's type, which goes to `number`."""
    cdef cnp.ndarray a
    if not cnp.PyArray_CheckExact(<object>value):
        return False
    a = <cnp.ndarray>value
    if cnp.PyArray_SIZE(a) != 1 or kind_of(a) != kind or cnp.PyArray_NDIM(a) > cnp.PyArray_NDIM(x) or not PyArray_ISBEHAVED_RO(a):
        return False
    if kind == FLOAT64:
        number[0] = (<double *>cnp.PyArray_DATA(a))[0]
    elif kind == FLOAT32:
        number[0] = (<float *>cnp.PyArray_DATA(a))[0]
    return kind >= FLOAT32


cdef inline const void *splat_one(Splat *s, double value, bint wide) noexcept nogil:
    """`value` over a pack of the working type alone."""
    cdef int i
    cdef float single
    if wide:
        for i in range(SPLAT):
            s.wide[i] = value
        return s.wide
    single = <float>value  # it is one already
    for i in range(SPLAT):
        s.narrow[i] = single
    return s.narrow


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

    Attributes
    ----------
    limit : int
        Elements of the largest array that is served here.
    cost : int
        The cost class, by its number: it tells from which size on threads pay.
    learned : tuple of int
        The parameters, by their place among all, whose gradients are results.
    """

    cdef vectorcallfunc vectorcall
    cdef const fastact_entry *entry
    cdef object general
    cdef Splat *defaults  # of each parameter, as each of the four storage types holds it
    cdef bint fast
    cdef int required  # bit i: parameter i has no default
    cdef tuple keywords  # the parameters, then OPTIONS
    cdef public Py_ssize_t limit
    cdef public int cost
    cdef public tuple learned
    cdef list kernels  # on CUDA devices, as they are needed, of this generation
    cdef int generation

    def __cinit__(self, *args, **kwargs):
        self.vectorcall = call_entry
        fastact_set_vectorcall(type(self), Entry, <char *>&self.vectorcall - <char *><PyObject *>self)

    def __dealloc__(self):
        PyMem_Free(self.defaults)

    def __init__(self, str name, general, dict defaults):
        self.general = general
        self.keywords = (*defaults, "out", "backend", "accuracy")
        self.required = 0
        self.limit = 0
        self.learned = ()
        self.fast = name in _entries
        if self.fast:
            self.entry = entry_of(name)
            self.fast = self.entry.loop32 != NULL
        if defaults and self.defaults == NULL:
            self.defaults = <Splat *>PyMem_Malloc(4 * len(defaults) * sizeof(Splat))
            if self.defaults == NULL:
                raise MemoryError()
        for i, value in enumerate(defaults.values()):
            if value is None:
                self.required |= 1 << i
            for kind in range(4):
                splat(&self.defaults[4 * i + kind], 0.0 if value is None else fastact_rounded(value, kind))

    def __call__(self, *args, **kwargs):
        return PyVectorcall_Call(self, <PyObject *>args, <PyObject *>kwargs)

    cdef int bind(self, Arguments args, Py_ssize_t given, PyObject *names, PyObject **value) except -1:
        """Put what was given by name to its place in `value`. False for all that the general path has to look at."""
        cdef tuple keywords = self.keywords
        cdef Py_ssize_t i, k, first = self.entry.arrays, count = PyTuple_GET_SIZE(<PyObject *>keywords)
        cdef PyObject *name
        for i in range(PyTuple_GET_SIZE(names)):
            name = PyTuple_GET_ITEM(names, i)
            for k in range(count):  # the same object, as a rule
                if PyTuple_GET_ITEM(<PyObject *>keywords, k) == name:
                    break
            else:
                for k in range(count):
                    if <str>name == <str>PyTuple_GET_ITEM(<PyObject *>keywords, k):
                        break
                else:
                    return False
            if value[first + k] != NULL:
                return False
            value[first + k] = args[given + i]
        return True

    cdef object serve(self, Arguments args, Py_ssize_t given, PyObject *names):
        """The result, or None where the fast path does not apply."""
        cdef const fastact_entry *entry = self.entry
        cdef int arrays = entry.arrays, count = entry.inputs, kind, k, wide = 0
        cdef PyObject *value[MAX_INPUTS + 3]  # arrays, parameters, and OPTIONS
        cdef PyObject *out
        cdef const void *inputs[MAX_INPUTS]
        cdef Py_ssize_t step[MAX_INPUTS]
        cdef void *outputs[1]
        cdef Splat numbers[MAX_INPUTS]
        cdef double number
        cdef Py_ssize_t n
        cdef bint flat
        cdef cnp.ndarray x, y
        if given < arrays or given > count:
            return None
        for k in range(count + 3):
            value[k] = args[k] if k < given else NULL
        if names != NULL:
            if not self.bind(args, given, names, value):
                return None
        if not cnp.PyArray_CheckExact(<object>value[arrays - 1]):
            return None if _prepare is None else self.serve_cuda(value)
        if _overrides or value[count + 1] != NULL or value[count + 2] != NULL:
            wide = asked(value[count + 1], value[count + 2], "cython")
            if wide < 0:
                return None
        x = <cnp.ndarray>value[arrays - 1]
        kind = kind_of(x)
        n = cnp.PyArray_SIZE(x)
        if kind < 0 or n > self.limit or cnp.PyArray_NDIM(x) == 0:
            return None
        if entry.outputs > entry.stored and n > SUMMED_HERE:
            return None
        if n >= _elsewhere[self.cost][kind] and value[count + 1] == NULL:
            return None
        out = value[count]
        if out == <PyObject *>None:
            out = NULL
        flat = PyArray_ISCARRAY_RO(x)
        if arrays == 2:
            if not like(value[0], x):
                return None
            flat &= PyArray_ISCARRAY_RO(<cnp.ndarray>value[0])
            inputs[0], step[0] = cnp.PyArray_DATA(<cnp.ndarray>value[0]), 1
        inputs[arrays - 1], step[arrays - 1] = cnp.PyArray_DATA(x), 1
        if kind == FLOAT64:
            wide = True
        for k in range(arrays, count):
            step[k] = 0
            if value[k] == NULL:
                if self.required & (1 << (k - arrays)):
                    return None
                inputs[k] = splatted(&self.defaults[4 * (k - arrays) + kind], wide)
            else:
                if not is_number(value[k], &number) and not is_single(value[k], x, kind, &number):
                    return None
                inputs[k] = splat_one(&numbers[k], fastact_rounded(number, kind), wide)
        if not flat or (out != NULL and entry.outputs == 1 and not is_flat(out)):
            return self.strided(x, value, kind, wide, inputs, n)
        if entry.outputs == 1:
            y = empty_as(x, x) if out == NULL else taken(out, x, inputs, arrays)
            if y is None:
                return None
            outputs[0] = cnp.PyArray_DATA(y)
            self.run(kind, wide, inputs, step, outputs, n)
            return y
        return self.several(x, value, out, kind, wide, inputs, step, n)

    cdef object serve_cuda(self, PyObject **value):
        """The result for arrays on a CUDA device that lie in order, parameters being numbers; None as in `serve`."""
        cdef const fastact_entry *entry = self.entry
        cdef int arrays = entry.arrays, count = entry.inputs, results = entry.outputs, k, i, wide = 0
        cdef int64_t pointer[MAX_INPUTS]
        cdef int64_t target[2]
        cdef double number[MAX_INPUTS]
        cdef OnDevice at, other
        cdef CUcontext context = NULL
        cdef CudaKernel kernel
        cdef Py_ssize_t size
        x = <object>value[arrays - 1]
        family = type(x)
        cdef bint torch = family is _torch_type
        if not (torch or family is _cupy_type) or results != entry.stored or results > 2 or self.limit < 0:
            return None
        if _overrides or value[count + 1] != NULL or value[count + 2] != NULL:
            wide = asked(value[count + 1], value[count + 2], "cupy")
            if wide < 0:
                return None
        shape = see(x, torch, &at)
        if shape is None or not 0 <= at.device < DEVICES:
            return None
        pointer[arrays - 1] = at.pointer
        if arrays == 2:
            if type(<object>value[0]) is not family or see(<object>value[0], torch, &other) != shape:
                return None
            if other.kind != at.kind or other.device != at.device:
                return None
            pointer[0] = other.pointer
        wide |= at.kind == FLOAT64
        for k in range(arrays, count):
            pointer[k] = 0
            if value[k] == NULL:
                if self.required & (1 << (k - arrays)):
                    return None
                number[k] = self.defaults[4 * (k - arrays) + at.kind].wide[0]
            elif is_number(value[k], &number[k]):
                number[k] = fastact_rounded(number[k], at.kind)
            else:
                return None
        kernel = self.prepared(at.kind, wide, at.device)
        if kernel is None:
            return None
        if not torch:  # allocates on the device that is current, and has a stream for it
            if _cuda.cuCtxGetCurrent(&context) or context != kernel.context:
                return None
        out = None if value[count] == NULL else <object>value[count]
        if out is None or results == 1:
            out = (out,) * results
        elif type(out) is not tuple or len(out) != results:
            return None
        size = at.n * ITEMSIZE[at.kind]
        found = []
        for i in range(results):
            y = out[i]
            if y is None:
                y = _torch_empty_like(x) if torch else _cupy_type(shape, x.dtype)
                target[i] = y.data_ptr() if torch else y.data.ptr
            else:
                if type(y) is not family or see(y, torch, &other) != shape or other.kind != at.kind or other.device != at.device:
                    return None
                target[i] = other.pointer
                for k in range(arrays):
                    if across(pointer[k], target[i], size):
                        return None
                if torch:
                    _torch_written(y)
            found.append(y)
        if at.n:
            if results == 2 and (target[0] == target[1] or across(target[0], target[1], size)):
                return None
            stream = _torch_stream(at.device) if torch else _cupy_stream().ptr
            kernel.elementwise(at.kind, wide, count, pointer, number, results, target, at.n, <CUstream><size_t>stream)
        global _served_cuda
        _served_cuda += 1
        return found[0] if results == 1 else tuple(found)

    def attempt(self, tuple args, dict kwargs):
        """The result of a call if the fast path applies, else None."""
        cdef tuple names = tuple(kwargs)
        cdef tuple values = (*args, *kwargs.values())
        if not self.fast:
            return None
        return self.serve(PySequence_Fast_ITEMS(values), len(args), <PyObject *>names if names else NULL)

    cdef CudaKernel prepared(self, int kind, bint wide, int device):
        """The kernel for elements stored as `kind`, or None where the general path is to say why there is none."""
        cdef int place = 8 * device + 2 * kind + wide
        if self.generation != _cuda_generation or self.kernels is None:
            self.kernels, self.generation = [None] * (8 * DEVICES), _cuda_generation
        kernel = self.kernels[place]
        if kernel is None:
            kernel = _prepare(self, KIND_NAMES[kind], wide and kind != FLOAT64, device)
            self.kernels[place] = kernel
        return kernel

    cdef object several(
        self, cnp.ndarray x, PyObject **value, PyObject *out, int kind, bint wide, const void **inputs, const Py_ssize_t *step, Py_ssize_t n
    ):
        """The results of an entry that has several; None as in `serve`."""
        cdef int i, stored = self.entry.stored, count = self.entry.outputs
        cdef void *outputs[MAX_OUTPUTS]
        cdef PyObject *parameter
        cdef double total
        cdef char *terms = NULL  # of the parameters' gradients, in the working type
        cdef cnp.ndarray y, before = None
        cdef tuple results
        if out != NULL and (not PyTuple_CheckExact(out) or PyTuple_GET_SIZE(out) != count):
            return None
        if count - stored != PyTuple_GET_SIZE(<PyObject *>self.learned):
            return None
        results = PyTuple_New(count)
        for i in range(count):
            if out != NULL and PyTuple_GET_ITEM(out, i) != <PyObject *>None:
                y = taken(PyTuple_GET_ITEM(out, i), x, inputs, self.entry.arrays) if i < stored else None
                if y is None or (before is not None and touch(y, before)):
                    return None
                before = y
            elif i < stored:
                y = empty_as(x, x)
            else:
                continue
            give(results, i, y)
            outputs[i] = cnp.PyArray_DATA(y)
        if count > stored:
            terms = <char *>PyMem_Malloc((count - stored) * n * sizeof(double))
            if terms == NULL:
                raise MemoryError()
        for i in range(stored, count):
            outputs[i] = terms + (i - stored) * n * <Py_ssize_t>sizeof(double)
        try:
            self.run(kind, wide, inputs, step, outputs, n)
            for i in range(stored, count):
                total = fastact_sum_of(outputs[i], wide, n)
                parameter = value[self.entry.arrays + <int>self.learned[i - stored]]
                if parameter != NULL and cnp.PyArray_CheckExact(<object>parameter) and cnp.PyArray_NDIM(<cnp.ndarray>parameter):
                    # As `is_single` has it: one element of float32 or float64.
                    y = empty_as(x, <cnp.ndarray>parameter)
                    if kind == FLOAT64:
                        (<double *>cnp.PyArray_DATA(y))[0] = total
                    else:
                        (<float *>cnp.PyArray_DATA(y))[0] = fastact_single(total)
                    give(results, i, y)
                else:
                    give(results, i, scalar(total, kind, x))
        finally:
            PyMem_Free(terms)
        return results

    cdef object strided(self, cnp.ndarray x, PyObject **value, int kind, bint wide, const void **numbers, Py_ssize_t n):
        """The result for arrays that do not all lie in one piece and order; None as in `serve`."""
        cdef fastact_strided s
        cdef const fastact_entry *entry = self.entry
        cdef int k, threads, nd = cnp.PyArray_NDIM(x)
        cdef PyObject *out = value[entry.inputs]
        cdef cnp.ndarray y
        if entry.outputs != 1 or n == 0 or nd > STRIDED_DIMENSIONS:
            return None
        fastact_strided_begin(&s, isa, entry, kind, wide)
        for k in range(entry.inputs):
            if k < entry.arrays:
                if not PyArray_ISBEHAVED_RO(<cnp.ndarray>value[k]):
                    return None
                fastact_strided_operand_at(
                    &s, k, cnp.PyArray_DATA(<cnp.ndarray>value[k]), cnp.PyArray_STRIDES(<cnp.ndarray>value[k]), nd, NULL
                )
            else:
                fastact_strided_operand_at(&s, k, NULL, NULL, 0, numbers[k])
        if out == NULL or out == <PyObject *>None:
            y = new_like(x, NULL)
        else:
            if not like(out, x) or not PyArray_ISBEHAVED(<cnp.ndarray>out):
                return None
            y = <cnp.ndarray>out
            for k in range(entry.arrays):
                if not beside(<cnp.ndarray>value[k], y):
                    return None
        fastact_strided_operand_at(&s, entry.inputs, cnp.PyArray_DATA(y), cnp.PyArray_STRIDES(y), nd, NULL)
        if not fastact_strided_plan(&s, nd, cnp.PyArray_DIMS(x)):
            return None
        global _served
        _served += 1
        if n > WITHOUT_GIL:
            threads = threads_for(self.cost, kind, n)
            with nogil:
                fastact_run_threads(&s.job, threads)
        else:
            fastact_run_bands(&s.job)
        return y

    cdef inline int run(self, int kind, bint wide, const void **inputs, const Py_ssize_t *step, void **outputs, Py_ssize_t n) except -1:
        global _served
        _served += 1
        if n > WITHOUT_GIL:
            run_threaded(self.entry, self.cost, kind, wide, inputs, step, outputs, n)
        else:
            fastact_run(isa, self.entry, kind, wide, inputs, step, outputs, n)
        return 0


cdef object call_entry(object callable, Arguments args, size_t given, PyObject *names):
    cdef Entry self = <Entry>callable
    if self.fast:
        result = self.serve(args, PyVectorcall_NARGS(given), names)
        if result is not None:
            return result
    return PyObject_Vectorcall(self.general, args, given, names)


Entry.__new__(Entry)  # before there are subclasses


cdef inline bint like(PyObject *a, cnp.ndarray x):
    """Whether `a` is a plain array of x's type and shape."""
    return (
        cnp.PyArray_CheckExact(<object>a)
        and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.PyArray_TYPE(x)
        and same_shape(<cnp.ndarray>a, x)
    )


cdef inline bint is_flat(PyObject *out):
    return cnp.PyArray_CheckExact(<object>out) and PyArray_ISCARRAY(<cnp.ndarray>out)


cdef bint beside(cnp.ndarray a, cnp.ndarray out):
    """Whether arrays of one shape are the same one, or lie where the other surely is not."""
    cdef int d
    cdef bint same = cnp.PyArray_DATA(a) == cnp.PyArray_DATA(out)
    cdef char *begin[2]
    cdef char *end[2]
    for d in range(cnp.PyArray_NDIM(a)):
        same &= cnp.PyArray_STRIDES(a)[d] == cnp.PyArray_STRIDES(out)[d]
    if same:
        return True
    reach(a, &begin[0], &end[0])
    reach(out, &begin[1], &end[1])
    return end[0] <= begin[1] or end[1] <= begin[0]


cdef int reach(cnp.ndarray a, char **begin, char **end) noexcept:
    """The first byte of an array that is not empty, and the one after the last."""
    cdef int d
    cdef Py_ssize_t along
    begin[0] = <char *>cnp.PyArray_DATA(a)
    end[0] = begin[0] + cnp.PyArray_ITEMSIZE(a)
    for d in range(cnp.PyArray_NDIM(a)):
        along = (cnp.PyArray_DIMS(a)[d] - 1) * cnp.PyArray_STRIDES(a)[d]
        if along < 0:
            begin[0] += along
        else:
            end[0] += along
    return 0


cdef cnp.ndarray taken(PyObject *out, cnp.ndarray x, const void **inputs, int arrays):
    """`out` as a result, or None where it is not what the loops can write to, or overlaps an input without being it."""
    cdef int k
    cdef char *begin
    cdef char *target
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(x)
    if not like(out, x) or not PyArray_ISCARRAY(<cnp.ndarray>out):
        return None
    target = <char *>cnp.PyArray_DATA(<cnp.ndarray>out)
    for k in range(arrays):
        begin = <char *>inputs[k]
        if begin != target and begin < target + size and target < begin + size:
            return None
    return <cnp.ndarray>out


cdef inline bint touch(cnp.ndarray a, cnp.ndarray b):
    """Whether two arrays of one size overlap."""
    cdef char *first = <char *>cnp.PyArray_DATA(a)
    cdef char *second = <char *>cnp.PyArray_DATA(b)
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(a)
    return first < second + size and second < first + size


cdef inline int give(tuple results, int i, object value) except -1:
    Py_INCREF(<PyObject *>value)  # SET_ITEM takes it over
    PyTuple_SET_ITEM(results, i, value)
    return 0


cdef object scalar(double value, int kind, cnp.ndarray x):
    """A NumPy scalar of x's type."""
    cdef float single
    if kind == FLOAT64:
        return PyArray_Scalar(&value, PyArray_DESCR(x), NULL)
    if kind == FLOAT32:
        single = fastact_single(value)
        return PyArray_Scalar(&single, PyArray_DESCR(x), NULL)
    with np.errstate(all="ignore"):
        return np.float64(value).astype(x.dtype)


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b):
    cdef int i, nd = cnp.PyArray_NDIM(a)
    if nd != cnp.PyArray_NDIM(b):
        return False
    for i in range(nd):
        if cnp.PyArray_DIMS(a)[i] != cnp.PyArray_DIMS(b)[i]:
            return False
    return True
