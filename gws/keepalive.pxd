cimport cython


cdef class Deadlines:
    cdef object _hub
    cdef object _loop
    cdef object _clock
    cdef object _timer
    cdef double _timer_when
    cdef double _fired_at
    cdef bint _firing
    cdef dict _buckets
    cdef list _ticks
    cdef Py_ssize_t _n_entries
    cdef Py_ssize_t _n_cancelled

    cpdef double now(self) except? -1
    @cython.locals(entry=list)
    cpdef list set(self, object connection, double when)
    cpdef cancel(self, list entry)
    cpdef fire(self)
    @cython.locals(when=double, bucket=list)
    cdef _put(self, list entry)
    @cython.locals(now=double, last=longlong, taken=list, bucket=list, entry=list)
    cdef _fire(self)
    cdef _call(self, list entry, double now)
    @cython.locals(when=double)
    cpdef _arm(self, double due)
    cdef _disarm(self)
    @cython.locals(kept=list, entry=list)
    cdef _sweep(self)
    cdef _clear(self)


cdef class PingWaiter:
    cdef double _sent_at
    cdef object _latency
    cdef object _exc
    cdef object _done

    cpdef double answer(self, double now)
    cdef _finish(self)
