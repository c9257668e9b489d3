cimport cython

from .protocol.frames cimport Frame


cdef class Bucket:
    cdef double _rate
    cdef double _burst
    cdef double _tokens
    cdef double _filled_at

    @cython.locals(filled=double, taken=Py_ssize_t)
    cpdef Py_ssize_t take(self, Py_ssize_t n, double now)


cdef class Meter:
    cdef Py_ssize_t _n_header
    cdef public long long bytes_in
    cdef public long long frames_in
    cdef public long long messages_in
    cdef public long long bytes_out
    cdef public long long frames_out
    cdef public long long messages_out
    cdef long long _control_bytes_in
    cdef Bucket _message_bucket
    cdef Bucket _byte_bucket
    cdef double _idle_timeout
    cdef double _data_at
    cdef double _ends_at
    cdef public double window_end
    cdef public bint paused
    cdef double _min_moved
    cdef bint _was_receiving
    cdef bint _was_sending
    cdef long long _progress_before
    cdef long long _messages_before
    cdef long long _taken_before

    cpdef Py_ssize_t take_bytes(self, Py_ssize_t n, double now)
    @cython.locals(n_frames=Py_ssize_t, first=int, allowed=Py_ssize_t)
    cpdef Py_ssize_t take_events(self, list events, double now)
    cpdef sent(self, bint whole, double now)
    @cython.locals(due=double, idle_at=double)
    cpdef double next_due(self)
    cpdef str overdue(self, double now, bint busy)
    cpdef begin_window(
        self,
        double now,
        double seconds,
        bint receiving,
        bint sending,
        Py_ssize_t n_unacknowledged,
    )
    @cython.locals(moved=cython.longlong, whole=cython.longlong)
    cpdef bint stalls(self, bint receiving, bint sending, Py_ssize_t n_unacknowledged)
