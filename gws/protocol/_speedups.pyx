# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The one kernel in C: masking, payload to str or bytes, UTF-8, frames, recv and send.

Its readable twin is ``mask.py``: the same names, the same results, the same
tests. Compiled modules cimport these functions; nothing else does.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *buffer, size_t length, int flags)
    ssize_t send(int fd, const void *buffer, size_t length, int flags)
    enum: MSG_NOSIGNAL


# Masking (RFC 6455, section 5.3): octet i of the payload XOR octet i modulo 4
# of the key. A key is the four octets read as a little-endian integer, so that
# octet i is (key >> 8 * i) & 255 on any machine.

cdef inline uint8_t key_octet(uint32_t key, Py_ssize_t i) noexcept nogil:
    return <uint8_t> (key >> (8 * (i & 3)))


cdef void xor_into(uint8_t *target, const uint8_t *source, Py_ssize_t n, uint32_t key) noexcept nogil:
    # Eight octets at a time; memcpy is how C reads unaligned words, and the
    # compiler makes vector instructions of the loop. target may be source.
    cdef uint8_t octets[8]
    cdef uint64_t wide
    cdef uint64_t word
    cdef Py_ssize_t i = 0
    cdef int k
    for k in range(8):
        octets[k] = key_octet(key, k)
    memcpy(&wide, octets, 8)
    while i + 8 <= n:
        memcpy(&word, source + i, 8)
        word ^= wide
        memcpy(target + i, &word, 8)
        i += 8
    while i < n:
        target[i] = source[i] ^ octets[i & 7]
        i += 1


cpdef uint32_t rotate_key(uint32_t key, Py_ssize_t n) noexcept:
    cdef int shift = 8 * (n & 3)
    if shift == 0:
        return key
    return (key >> shift) | (key << (32 - shift))


cpdef int unmask(bytearray buffer, Py_ssize_t start, Py_ssize_t end, uint32_t key) except -1:
    cdef uint8_t *data = <uint8_t *> PyByteArray_AS_STRING(buffer) + start
    xor_into(data, data, end - start, key)
    return 0


# Payloads

cpdef str take_text(bytearray buffer, Py_ssize_t start, Py_ssize_t end):
    return PyUnicode_DecodeUTF8(PyByteArray_AS_STRING(buffer) + start, end - start, "strict")


cpdef bytes take_bytes(bytearray buffer, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer) + start, end - start)


cpdef int append_bytes(bytearray out, bytearray buffer, Py_ssize_t start, Py_ssize_t end) except -1:
    cdef Py_ssize_t at = PyByteArray_GET_SIZE(out)
    PyByteArray_Resize(out, at + end - start)
    memcpy(PyByteArray_AS_STRING(out) + at, PyByteArray_AS_STRING(buffer) + start, end - start)
    return 0


# UTF-8 (RFC 3629, section 4). The state is how many continuation octets are
# still to come and between which bounds the next one must lie.

cdef struct Utf8:
    int more
    uint8_t low
    uint8_t high


cdef inline int utf8_step(Utf8 *state, uint8_t octet) noexcept nogil:
    # Takes one octet; 0 when no valid text can have it here.
    if state.more:
        if octet < state.low or octet > state.high:
            return 0
        state.more -= 1
        state.low = 0x80
        state.high = 0xBF
        return 1
    state.low = 0x80
    state.high = 0xBF
    if octet < 0x80:
        return 1
    if 0xC2 <= octet <= 0xDF:
        state.more = 1
    elif 0xE0 <= octet <= 0xEF:
        state.more = 2
        if octet == 0xE0:  # overlong
            state.low = 0xA0
        elif octet == 0xED:  # surrogates
            state.high = 0x9F
    elif 0xF0 <= octet <= 0xF4:
        state.more = 3
        if octet == 0xF0:  # overlong
            state.low = 0x90
        elif octet == 0xF4:  # past U+10FFFF
            state.high = 0x8F
    else:
        return 0
    return 1


cdef Py_ssize_t utf8_run(Utf8 *state, const uint8_t *data, Py_ssize_t n) noexcept nogil:
    # Takes n octets; where the last character that is not whole begins (n when
    # all are), or -1.
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t begin = 0
    cdef uint64_t word
    while i < n:
        if state.more == 0:
            while i + 8 <= n:  # eight of ASCII at a time
                memcpy(&word, data + i, 8)
                if word & <uint64_t> 0x8080808080808080:
                    break
                i += 8
            begin = i
            if i == n:
                break
        if not utf8_step(state, data[i]):
            return -1
        i += 1
    return begin if state.more else n


cpdef bytes check_utf8(bytes pending, bytearray buffer, Py_ssize_t start, Py_ssize_t end):
    cdef Utf8 state
    cdef uint8_t *data = <uint8_t *> PyByteArray_AS_STRING(buffer) + start
    cdef Py_ssize_t n = end - start
    cdef Py_ssize_t whole
    cdef Py_ssize_t i = 0
    state.more = 0
    state.low = state.high = 0
    utf8_run(&state, <const uint8_t *> PyBytes_AS_STRING(pending), PyBytes_GET_SIZE(pending))
    while state.more and i < n:  # the character that the last call left
        if not utf8_step(&state, data[i]):
            return None
        i += 1
    if state.more:
        return pending + PyBytes_FromStringAndSize(<char *> data, n)
    whole = utf8_run(&state, data + i, n - i)
    if whole < 0:
        return None
    return PyBytes_FromStringAndSize(<char *> data + i + whole, n - i - whole)


# Frames

cdef int append(bytearray out, int first, const uint8_t *data, Py_ssize_t n, bint masked, uint32_t key) except -1:
    cdef Py_ssize_t at = PyByteArray_GET_SIZE(out)
    cdef Py_ssize_t head = 2 if n < 126 else 4 if n < 65536 else 10
    cdef uint8_t mask_bit = 0x80 if masked else 0
    cdef uint8_t *to
    cdef int i
    PyByteArray_Resize(out, at + head + (4 if masked else 0) + n)
    to = <uint8_t *> PyByteArray_AS_STRING(out) + at
    to[0] = <uint8_t> first
    if head == 2:
        to[1] = mask_bit | <uint8_t> n
    elif head == 4:
        to[1] = mask_bit | 126
        to[2] = <uint8_t> (n >> 8)
        to[3] = <uint8_t> (n & 0xFF)
    else:
        to[1] = mask_bit | 127
        for i in range(8):
            to[2 + i] = <uint8_t> ((<uint64_t> n >> (56 - 8 * i)) & 0xFF)
    to += head
    if masked:
        for i in range(4):
            to[i] = key_octet(key, i)
        xor_into(to + 4, data, n, key)
    else:
        memcpy(to, data, n)
    return 0


cpdef int append_frame(bytearray out, int first, object payload, bint masked, uint32_t key) except -1:
    cdef Py_ssize_t n = 0
    cdef const char *text
    cdef Py_buffer view
    if PyUnicode_CheckExact(payload):
        text = PyUnicode_AsUTF8AndSize(payload, &n)
        return append(out, first, <const uint8_t *> text, n, masked, key)
    if PyBytes_CheckExact(payload):
        return append(
            out, first, <const uint8_t *> PyBytes_AS_STRING(payload),
            PyBytes_GET_SIZE(payload), masked, key,
        )
    if isinstance(payload, str):
        text = PyUnicode_AsUTF8AndSize(payload, &n)
        return append(out, first, <const uint8_t *> text, n, masked, key)
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        append(out, first, <const uint8_t *> view.buf, view.len, masked, key)
    finally:
        PyBuffer_Release(&view)
    return 0


# Sockets: recv(2) and send(2) on a non-blocking descriptor (EWOULDBLOCK is EAGAIN
# on Linux and macOS). The GIL is kept:
# the calls do not block, and giving it away costs more than they take.

cpdef Py_ssize_t recv_fd(int fd, bytearray buffer, Py_ssize_t start) except -2:
    cdef ssize_t n
    cdef Py_ssize_t room = PyByteArray_GET_SIZE(buffer) - start
    while True:
        n = recv(fd, PyByteArray_AS_STRING(buffer) + start, room, 0)
        if n >= 0:
            return n
        if errno == EAGAIN:
            return -1
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


cpdef Py_ssize_t send_fd(int fd, bytearray buffer) except -2:
    cdef ssize_t n
    while True:
        n = send(fd, PyByteArray_AS_STRING(buffer), PyByteArray_GET_SIZE(buffer), MSG_NOSIGNAL)
        if n >= 0:
            return n
        if errno == EAGAIN:
            return -1
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()

