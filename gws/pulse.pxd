cimport cython

from .keepalive cimport Deadlines, PingWaiter
from .limits cimport Meter
from .link cimport Link
from .protocol.base cimport Protocol


# Integers of C, set by the import of codes.py.
cdef int OP_PING
cdef int OP_PONG
cdef int OPEN


cdef class Pulse(Link):
    cdef double _ping_due
    cdef double _pong_due
    cdef double _look_due
    cdef list _deadline
    cdef Py_ssize_t _n_unacknowledged
    cdef dict _pings
    cdef readonly double latency

    cpdef on_deadline(self, double now)
    @cython.locals(due=double, when=double, entry=list)
    cdef _schedule(self)
    cdef _expect_end(self)
    cdef _expect_nothing(self)
    @cython.locals(quiet=bint, protocol=Protocol)
    cdef _keep_alive(self, double now)
    @cython.locals(n=Py_ssize_t, n_before=Py_ssize_t)
    cdef bint _is_silent(self) except -1
    cdef PingWaiter _send_ping(self, bytes payload)
    @cython.locals(now=double, waiter=PingWaiter)
    cdef _take_pong(self, bytes data)
    @cython.locals(meter=Meter, due=double)
    cdef _set_look_due(self, double now)
    @cython.locals(protocol=Protocol)
    cdef _look(self, double now)
    @cython.locals(meter=Meter, receiving=bint, sending=bint)
    cdef str _find_end(self, double now)
    @cython.locals(meter=Meter, receiving=bint, sending=bint)
    cdef _sample(self, double now)
