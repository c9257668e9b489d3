cimport cython

from ._greenlets cimport getcurrent, switch_to, thread_id
from .hubs cimport HubShare
from .limits cimport Meter
from .messages cimport Messages
from .protocol._speedups cimport take_bytes
from .protocol.base cimport Protocol
from .protocol.frames cimport Frame
from .stream cimport Stream


# Integers of C, set by the import of codes.py and reader.py.
cdef int CLOSED
cdef int CLOSING
cdef int CONNECTING
cdef int OP_PING
cdef int OP_PONG
cdef int OPEN
cdef Py_ssize_t HEADROOM


cdef class Turns:
    cdef object _hub
    cdef list _links
    cdef Py_ssize_t _n_had

    cdef add(self, Link link)
    @cython.locals(link=Link)
    cdef next_receiver(self)
    @cython.locals(links=list, link=Link)
    cpdef run(self)


cdef class Link:
    cdef object _hub
    cdef HubShare _share
    cdef readonly Protocol protocol
    cdef readonly Stream stream
    cdef object _options
    cdef Messages _messages
    cdef Meter _meter
    cdef Py_ssize_t _write_high
    cdef Py_ssize_t _write_low
    cdef Py_ssize_t _flush_at
    cdef public object handshake_event
    cdef object _receiver
    cdef Turns _turns
    cdef bint _awaits_turn
    cdef bint _unsettled
    cdef bint _corked
    cdef bint _alive
    cdef Py_ssize_t _n_unacknowledged
    cdef bint _broken
    cdef bint _dropping
    cdef bint _dropped
    cdef Py_ssize_t _n_counted
    cdef bint _finished
    cdef object _closed
    cdef object _drained
    cdef Py_ssize_t _n_waiting
    cdef double _ping_due
    cdef double _pong_due
    cdef double _close_due
    cdef double _look_due
    cdef object _deadline
    cdef dict _pings
    cdef readonly double latency
    cdef public object remote_address
    cdef object _local_address
    cdef object _id
    cdef object _fragmenter
    cdef object _message_sent

    @cython.locals(protocol=Protocol, n=Py_ssize_t, buffer=bytearray)
    cdef _take_input(self)
    @cython.locals(
        protocol=Protocol,
        meter=Meter,
        now=double,
        known=Py_ssize_t,
        allowed=Py_ssize_t,
    )
    cdef _receive_counted(self, Py_ssize_t n)
    @cython.locals(events=list, allowed=Py_ssize_t)
    cdef _count_events(self, double now)
    cdef _end_for_rate(self)
    @cython.locals(protocol=Protocol, messages=Messages)
    cdef _process_events(self)
    @cython.locals(protocol=Protocol, messages=Messages)
    cdef _settle(self)
    cdef _settle_guarded(self)
    @cython.locals(protocol=Protocol, events=list)
    cdef _sort_events(self)
    cdef _take_control_frame(self, Frame frame)
    cpdef _wake_receiver(self)
    cdef _switch_to_receiver(self)
    cdef _check_thread(self)
    cdef _wait_input(self)
    cdef _cork(self)
    cpdef uncork(self)
    @cython.locals(protocol=Protocol, out=bytearray, n_before=Py_ssize_t)
    cdef _flush(self)
    cdef _conclude(self)
    cdef _begin_closing(self)
    cdef _set_close_due(self)
    cpdef _finish(self)
    cdef _schedule(self)
    cdef bint _is_silent(self) except -1
    @cython.locals(protocol=Protocol)
    cdef _look(self, double now)
    @cython.locals(meter=Meter, receiving=bint, sending=bint)
    cdef str _find_end(self, double now)
    @cython.locals(meter=Meter, receiving=bint, sending=bint)
    cdef _sample(self, double now)
    cdef _send_ping(self, bytes payload)
