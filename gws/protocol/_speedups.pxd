# The C face of the kernel: what the compiled modules call without Python between.
# (cpdef, so that the tests of the twin reach the same functions.)

from libc.stdint cimport uint32_t

cpdef uint32_t rotate_key(uint32_t key, Py_ssize_t n) noexcept
cpdef int unmask(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t key) except -1
cpdef str take_text(bytearray buffer, Py_ssize_t start, Py_ssize_t end)
cpdef bytes take_bytes(bytearray buffer, Py_ssize_t start, Py_ssize_t end)
cpdef int append_bytes(bytearray out, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except -1
cpdef bytes check_utf8(bytes pending, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
cpdef int append_frame(bytearray out, int first, object payload, bint masked, uint32_t key) except -1
cpdef Py_ssize_t recv_fd(int fd, bytearray buffer, Py_ssize_t start) except -2
cpdef Py_ssize_t send_fd(int fd, bytearray buffer) except -2
