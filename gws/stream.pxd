cimport cython

from .protocol._speedups cimport recv_fd, send_fd


cdef class Stream:
    cdef public object sock
    cdef int _fd
    cdef object _loop
    cdef bytearray _buffer
    cdef readonly bytearray out
    cdef bint _tls
    cdef bint _direct
    cdef object _on_readable
    cdef object _read_watcher
    cdef bytes _unread
    cdef bint _more
    cdef bint _reads_later
    cdef object _write_watcher
    cdef readonly bint awaits_room
    cdef readonly bint paused
    cdef bint _shut

    cpdef pause(self)
    cpdef resume(self)
    cpdef unread(self, bytes data)
    cdef _read_later(self)
    cpdef Py_ssize_t read(self) except -2
    @cython.locals(data=bytes, n=Py_ssize_t)
    cdef Py_ssize_t _read_again(self) except -2
    @cython.locals(n=Py_ssize_t)
    cdef Py_ssize_t _read_by_method(self) except -2
    @cython.locals(out=bytearray, n=Py_ssize_t)
    cpdef flush(self)
    @cython.locals(n=Py_ssize_t)
    cdef Py_ssize_t _write_by_method(self) except -2
