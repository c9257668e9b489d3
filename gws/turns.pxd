cimport cython

from ._greenlets cimport getcurrent, switch_to, thread_id
from .hubs cimport HubShare


cdef class Awaited


cdef class Turns:
    cdef object _hub
    cdef list _links
    cdef Py_ssize_t _n_had

    cdef add(self, Awaited link)
    @cython.locals(link=Awaited)
    cdef next_receiver(self)
    @cython.locals(links=list, link=Awaited)
    cpdef run(self)


cpdef Turns turns_of(hub)


cdef class Awaited:
    cdef object _hub
    cdef HubShare _share
    cdef Turns _turns
    cdef object _receiver
    cdef bint _awaits_turn
    cdef bint _unsettled
    cdef bint _finished
    cdef object _closed

    cdef _wait_input(self)
    cdef _take_turn(self)
    cpdef _wake_receiver(self)
    cdef _switch_to_receiver(self)
    cdef _check_thread(self)
    cdef _before_waiting(self)
    cdef _settle_guarded(self)
