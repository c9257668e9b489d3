cimport cython

from .messages cimport Messages
from .sender cimport Sender


# Integers of C, set by the import of codes.py.
cdef int CLOSED
cdef int CONNECTING
cdef int OPEN


cdef class MessageIterator:
    cdef Connection _connection


cdef class PieceIterator:
    cdef Connection _connection
    cdef object _decode
    cdef object _decoder
    cdef bint _began
    cdef bint _ended
    cdef bint _gave

    cdef _next_piece(self)
    cdef _as_asked(self, object piece)


cdef class Connection(Sender):
    cdef _wait_ready(self)
    @cython.locals(messages=Messages)
    cdef _next_message(self)
    cdef _resume_reading(self)
