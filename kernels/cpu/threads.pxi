# Included by compiled.pyx: threads of our own, and from which size on they pay.

cdef extern from "threads.hpp":
    ctypedef struct fastact_elementwise:
        fastact_job job
        const fastact_isa *isa
        const fastact_entry *entry
        int kind, wide
        const void **in_ "in"
        Py_ssize_t *step
        void **out
        size_t n, band
    void fastact_run_threads(const fastact_job *, int threads) noexcept nogil
    void fastact_plan(fastact_elementwise *, int threads) noexcept nogil
    int fastact_get_num_threads() noexcept nogil
    void fastact_set_num_threads(int) noexcept nogil
    void fastact_set_quota(int) noexcept nogil
    void fastact_start(int) noexcept nogil
    int fastact_started() noexcept nogil

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum: COST_CLASSES = 3
cdef enum: STORAGE_KINDS = 4
#: From how many elements on threads pay, and from how many the choice is Python's as another backend may be faster still.
cdef Py_ssize_t _pays[COST_CLASSES][STORAGE_KINDS]
cdef Py_ssize_t _elsewhere[COST_CLASSES][STORAGE_KINDS]
cdef object _settle = None
for _i in range(COST_CLASSES * STORAGE_KINDS):
    (&_pays[0][0])[_i] = (&_elsewhere[0][0])[_i] = PY_SSIZE_T_MAX


def on_first_large_call(settle):
    """Have `settle()` called once, before a call first asks how many threads it runs on."""
    global _settle
    _settle = settle


def set_crossover(int cost, str kind, Py_ssize_t pays, Py_ssize_t elsewhere):
    """Elements from which threads pay, and from which Python is asked which backend serves, for a cost class by its number."""
    if not 0 <= cost < COST_CLASSES:
        raise ValueError(f"cost must be from 0 to {COST_CLASSES - 1}, not {cost}")
    _pays[cost][KINDS[kind]], _elsewhere[cost][KINDS[kind]] = pays, elsewhere


def settled_threads():
    """How many threads a call may run on now, by what was asked for, the cores this thread may run on, and the quota."""
    global _settle
    if _settle is not None:
        settle, _settle = _settle, None
        settle()
    return fastact_get_num_threads()


def set_num_threads(int threads, int quota=-1):
    """The number that is asked for, and the quota; 0 for none, -1 to leave it as it is."""
    if threads >= 0:
        fastact_set_num_threads(threads)
    if quota >= 0:
        fastact_set_quota(quota)


def start_threads():
    """Start the threads of a call; how many there are now in this process."""
    cdef int threads = settled_threads()
    fastact_start(threads)
    return fastact_started()


def threads_started():
    """How many threads of our own this process has started."""
    return fastact_started()


cdef int threads_for(int cost, int kind, Py_ssize_t n) except -1:
    """How many threads automatic choice gives a call on `n` elements."""
    if _settle is not None:
        settled_threads()
    if n < _pays[cost][kind]:
        return 1
    return fastact_get_num_threads()


def threads_of(int cost, str kind, Py_ssize_t n):
    """How many threads automatic choice gives compiled loops over `n` elements; 0 where Python is to choose the backend."""
    cdef int k = KINDS[kind]
    if n < WITHOUT_GIL:
        return 1
    if n >= _elsewhere[cost][k]:
        return 0
    return threads_for(cost, k, n)


cdef int run_threaded(const fastact_entry *entry, int cost, int kind, int wide, const void **inputs, const Py_ssize_t *step, void **outputs,
                      Py_ssize_t n) except -1:
    """An elementwise operation over many elements, without the GIL, on as many threads as pay."""
    run_on(threads_for(cost, kind, n), entry, kind, wide, inputs, step, outputs, n)
    return 0


cdef int run_on(int threads, const fastact_entry *entry, int kind, int wide, const void **inputs, const Py_ssize_t *step, void **outputs,
                Py_ssize_t n) except -1:
    cdef fastact_elementwise work
    cdef int k
    work.isa, work.entry, work.kind, work.wide, work.n = isa, entry, kind, fastact_how(entry, kind, wide, n), n
    for k in range(entry.inputs):
        work.in_[k], work.step[k] = inputs[k], step[k]
    for k in range(entry.outputs):
        work.out[k] = outputs[k]
    with nogil:
        fastact_plan(&work, threads)
        fastact_run_threads(&work.job, threads)
    return 0
