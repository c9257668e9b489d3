cimport cython

from .limits cimport Meter
from .messages cimport Messages
from .protocol._speedups cimport take_bytes
from .protocol.base cimport Protocol
from .protocol.frames cimport Frame
from .stream cimport Stream
from .turns cimport Awaited


# Integers of C, set by the import of codes.py and reader.py.
cdef int CLOSED
cdef int CLOSING
cdef int CONNECTING
cdef int OP_PONG
cdef Py_ssize_t HEADROOM


cdef class Link(Awaited):
    cdef readonly Protocol protocol
    cdef readonly Stream stream
    cdef object _options
    cdef Messages _messages
    cdef Meter _meter
    cdef Py_ssize_t _write_high
    cdef Py_ssize_t _write_low
    cdef Py_ssize_t _flush_at
    cdef public object handshake_event
    cdef bint _corked
    cdef bint _alive
    cdef Py_ssize_t _n_written
    cdef bint _broken
    cdef bint _dropping
    cdef bint _dropped
    cdef Py_ssize_t _n_counted
    cdef object _drained
    cdef Py_ssize_t _n_waiting
    cdef double _close_due
    cdef public object remote_address
    cdef object _local_address
    cdef object _id
    cdef object _fragmenter
    cdef object _message_sent

    @cython.locals(
        protocol=Protocol, n=Py_ssize_t, n_known=Py_ssize_t, buffer=bytearray
    )
    cdef _take_input(self)
    @cython.locals(
        protocol=Protocol,
        meter=Meter,
        now=double,
        allowed=Py_ssize_t,
    )
    cdef _receive_counted(self, Py_ssize_t n, Py_ssize_t n_known)
    @cython.locals(events=list, allowed=Py_ssize_t)
    cdef _count_events(self, double now)
    cdef _end_for_rate(self)
    @cython.locals(protocol=Protocol, messages=Messages)
    cdef _process_events(self)
    @cython.locals(protocol=Protocol, messages=Messages)
    cdef _settle_guarded(self)
    cdef _settle(self)
    cdef _before_waiting(self)
    @cython.locals(protocol=Protocol, events=list)
    cdef _sort_events(self)
    cdef _cork(self)
    cpdef uncork(self)
    @cython.locals(protocol=Protocol, out=bytearray, n_before=Py_ssize_t)
    cdef _flush(self)
    @cython.locals(protocol=Protocol)
    cdef _end_stream(self)
    @cython.locals(messages=Messages)
    cpdef _read_rest(self)
    cdef _conclude(self)
    cdef _begin_closing(self)
    cpdef _finish(self)
    cdef _take_pong(self, bytes data)
    cdef _expect_end(self)
    cdef _expect_nothing(self)
