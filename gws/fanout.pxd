from .connection cimport Connection
from .protocol.writer cimport write_frame


# Integers of C, set by the import of codes.py.
cdef int OP_BINARY
cdef int OP_TEXT
