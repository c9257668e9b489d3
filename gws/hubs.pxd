from ._greenlets cimport thread_id
from .keepalive cimport Deadlines


cdef class HubShare:
    cdef readonly object hub
    cdef readonly unsigned long thread
    cdef readonly bytearray buffer
    cdef readonly Deadlines deadlines
    cdef readonly object budget
    cdef list _corked

    cpdef flush_later(self, object connection)
