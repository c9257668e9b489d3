cimport cython

from .frames cimport Frame, make_frame
from .reader cimport Reader
from .writer cimport write_frame


# Integers of C, set by the import of codes.py.
cdef int CLOSED
cdef int CLOSING
cdef int CONNECTING
cdef int OP_BINARY
cdef int OP_CLOSE
cdef int OP_CONT
cdef int OP_PING
cdef int OP_PONG
cdef int OP_TEXT
cdef int OPEN


# The hot methods are cdef: of a cpdef method, Cython looks up at each call
# whether a subclass in Python overrides it.

cdef class Protocol:
    cdef readonly object side
    cdef readonly bint masked
    cdef readonly int state_number
    cdef Reader _reader
    cdef readonly tuple extensions
    cdef readonly object shared_encoding
    cdef readonly bytearray out
    cdef public list events
    cdef public bytes rest
    cdef public bint mixed
    cdef readonly object ending
    cdef readonly bint deaf
    cdef readonly bint sending
    cdef readonly bytes ping_unanswered
    cdef public bint eof_to_send
    cdef bint _eof_told
    cdef readonly object close_rcvd
    cdef readonly object close_sent
    cdef readonly object close_rcvd_then_sent

    @cython.locals(reader=Reader, frame=Frame)
    cdef _receive(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cpdef limit(self, max_size, max_fragment, max_fragments=*)
    cpdef conclude(self)
    cpdef answer_ping(self)
    @cython.locals(opcode=int)
    cdef _receive_frame(self, Frame frame)
    cpdef send_data(self, int opcode, object data, bint fin, object compress=*)
    @cython.locals(frame=Frame)
    cdef write(self, int first, object payload, object compress=*)
    @cython.locals(frame=Frame)
    cdef Frame encoded(self, int first, object payload, object compress)
