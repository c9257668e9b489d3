cimport cython
from libc.stdint cimport uint32_t

from ._speedups cimport append_frame


cdef class MaskingKeys:
    cdef bytes _pool
    cdef Py_ssize_t _position

    @cython.locals(pool=bytes, key=uint32_t)
    cpdef uint32_t next(self) except? 0


cdef MaskingKeys masking_keys

cpdef write_frame(bytearray out, int first, object payload, bint masked)
