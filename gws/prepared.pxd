cimport cython

from .protocol._speedups cimport append_bytes
from .protocol.base cimport Protocol
from .protocol.frames cimport Frame
from .protocol.writer cimport write_frame


# Integers of C, set by the import of codes.py.
cdef int OP_BINARY
cdef int OP_TEXT


cdef class PreparedMessage:
    cdef int _first
    cdef object _payload
    cdef readonly Py_ssize_t size
    cdef bytearray _plain
    cdef dict _encoded

    @cython.locals(plain=bytearray)
    cpdef write(self, Protocol protocol)
    @cython.locals(known=tuple, frame=Frame, octets=bytearray)
    cdef _write_encoded(self, Protocol protocol)


cpdef contiguous(data)
