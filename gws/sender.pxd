cimport cython

from ._greenlets cimport getcurrent
from .prepared cimport PreparedMessage, contiguous
from .protocol.base cimport Protocol
from .pulse cimport Pulse


# Integers of C, set by the import of codes.py.
cdef int CONNECTING
cdef int OP_BINARY
cdef int OP_CONT
cdef int OP_PONG
cdef int OP_TEXT
cdef int OPEN


cdef class Sender(Pulse):
    cdef _wrote(self)
    cdef _wait_until_buffered(self, Py_ssize_t limit)
    cdef _raise_closed(self)
    cdef _check_sendable(self)
    @cython.locals(protocol=Protocol)
    cpdef bint send_now(self, PreparedMessage prepared) except -1


@cython.locals(connection=Sender, refused=list)
cpdef list send_each(connections, PreparedMessage prepared, Sender exclude=*)
