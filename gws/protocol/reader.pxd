cimport cython
from libc.stdint cimport uint32_t

from ._speedups cimport (
    append_bytes,
    check_utf8,
    rotate_key,
    take_bytes,
    take_text,
    unmask,
)
from .frames cimport (
    Frame,
    as_frame,
    check_first,
    check_length,
    check_mask_bit,
    make_frame,
)


# Integers of C, set by the import of codes.py.
cdef int OP_BINARY
cdef int OP_CONT
cdef int OP_TEXT


cdef class Reader:
    cdef bint _masked
    # Lengths are unsigned and wide until they have been compared with a limit.
    cdef unsigned long long _max_size
    cdef unsigned long long _max_fragment
    cdef unsigned long long _max_encoded
    cdef int _max_fragments
    cdef tuple _extensions
    cdef int _marks
    cdef bint _decodes_all
    cdef int _marked
    cdef bytearray _buffer
    cdef readonly Py_ssize_t n_decoded
    cdef Py_ssize_t _position
    cdef Py_ssize_t _end
    cdef bytes _tail
    cdef int _first
    cdef bytearray _part
    cdef unsigned long long _missing
    cdef uint32_t _key
    cdef int _opcode
    cdef unsigned long long _size
    cdef int _n_fragments
    cdef bytes _pending

    @cython.locals(smaller=cython.ulonglong)
    cpdef limit(self, max_size, max_fragment, max_fragments=*)
    cpdef decode_with(self, extensions)
    @cython.locals(tail=bytes, n=Py_ssize_t)
    cpdef load(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(buffer=bytearray)
    cpdef bytes take_rest(self)
    @cython.locals(
        buffer=bytearray,
        position=Py_ssize_t,
        n_there=cython.ulonglong,
        n_header=cython.ulonglong,
        first=int,
        second=int,
        n=cython.ulonglong,
        key=uint32_t,
    )
    cdef next_event(self)
    cpdef bint inside(self)
    cdef _keep_header(self, bytearray buffer)
    @cython.locals(n=cython.ulonglong, i=Py_ssize_t)
    cdef unsigned long long _long_length(
        self, bytearray buffer, Py_ssize_t position, int form
    ) except? 0
    @cython.locals(marked=int)
    cdef _check_first(self, int first)
    cdef _count(self, unsigned long long n)
    cdef bint _is_encoded(self, int first)
    @cython.locals(frame=Frame, marked=int)
    cdef _decoded(self, int first, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _whole_decoded(self, int first, bytes data)
    cdef _end_message(self)
    cdef _begin_data(self, int first, unsigned long long n)
    @cython.locals(
        buffer=bytearray,
        part=bytearray,
        start=Py_ssize_t,
        end=Py_ssize_t,
        n_there=cython.ulonglong,
        first=int,
        encoded=bint,
    )
    cdef _continue_payload(self)
    @cython.locals(pending=bytes)
    cdef _check_text(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _whole(self, int first, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _checked(self, int first, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
