cimport cython

from ._speedups cimport append_frame


@cython.freelist(64)
cdef class Frame:
    cdef readonly int first
    cdef readonly object payload


@cython.locals(frame=Frame)
cpdef Frame make_frame(int first, object payload)
cpdef Frame as_frame(event)
cpdef check_first(int first)
cpdef check_mask_bit(int second, bint mask)
cpdef check_length(int form, unsigned long long n)
