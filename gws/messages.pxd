cimport cython

from .protocol.frames cimport Frame


# Integers of C, set by the import of codes.py.
cdef int OP_TEXT


cdef class Messages:
    cdef Py_ssize_t _high
    cdef Py_ssize_t _low
    cdef Py_ssize_t _max_size
    cdef list _queue
    cdef Py_ssize_t _head
    cdef Py_ssize_t _size
    cdef bytearray _part
    cdef bint _part_is_text
    cdef readonly bint streaming
    cdef bytearray _stream
    cdef readonly bint stream_is_text
    cdef bint _stream_ended
    cdef object _drawn

    @cython.locals(empty=list)
    cpdef list take(self, list messages)
    @cython.locals(part=bytearray)
    cpdef put(self, Frame frame)
    @cython.locals(queue=list)
    cpdef get(self)
    cpdef bint ready(self)
    cpdef stream(self)
    @cython.locals(stream=bytearray, piece=bytes, ended=bint)
    cpdef tuple get_piece(self)
    cpdef end_stream(self)
    @cython.locals(n=Py_ssize_t)
    cpdef bint full(self)
    @cython.locals(excess=Py_ssize_t)
    cpdef bint draw(self, budget)
    @cython.locals(n=Py_ssize_t)
    cpdef bint has_room(self)
    cdef bint _is_ahead(self)
    @cython.locals(n=Py_ssize_t)
    cdef Py_ssize_t _excess(self)
    @cython.locals(excess=Py_ssize_t)
    cdef _give_back(self)
