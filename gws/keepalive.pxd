cimport cython


cdef class Deadlines:
    cdef object _hub
    cdef object _loop
    cdef object _clock
    cdef object _timer
    cdef double _timer_when
    cdef double _fired_at
    cdef bint _firing
    cdef list _entries
    cdef Py_ssize_t _n_cancelled
    cdef object _numbers

    cpdef double now(self) except? -1
    @cython.locals(entry=list)
    cpdef list set(self, object connection, double when)
    cpdef cancel(self, list entry)
    cpdef fire(self)
    @cython.locals(now=double, entry=list)
    cdef _fire(self)
    @cython.locals(when=double)
    cpdef _arm(self)
    cdef _disarm(self)
    cdef _clear(self)


cdef class PingWaiter:
    cdef double _sent_at
    cdef object _latency
    cdef object _exc
    cdef object _done

    cpdef double answer(self, double now)
    cdef _finish(self)
