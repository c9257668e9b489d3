cimport cython

from ._greenlets cimport getcurrent
from .link cimport Link
from .messages cimport Messages
from .protocol._speedups cimport append_bytes
from .protocol.base cimport Protocol
from .protocol.writer cimport write_frame


# Integers of C, set by the import of codes.py.
cdef int CLOSED
cdef int CONNECTING
cdef int OP_BINARY
cdef int OP_CONT
cdef int OP_PONG
cdef int OP_TEXT
cdef int OPEN


cdef class MessageIterator:
    cdef Connection _connection


cdef class Connection(Link):
    @cython.locals(messages=Messages)
    cdef _next_message(self)
    cdef _wrote(self)
    cdef _wait_until_buffered(self, Py_ssize_t limit)
    cdef _raise_closed(self)
    cdef _check_sendable(self)
    @cython.locals(protocol=Protocol)
    cpdef bint offer(self, bytearray frame, int opcode, object message) except -1


cpdef contiguous(data)
