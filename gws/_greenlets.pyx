# cython: language_level=3
"""Greenlet's C interface: who is running, and a switch, without a method call; the thread.

Its readable twin is ``greenlets.py``. It does not stand in the protocol's kernel,
because the protocol may not import greenlet.
"""

from cpython.ref cimport Py_DECREF


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept

cdef extern from "greenlet.h":
    ctypedef struct PyGreenlet:
        pass

    PyGreenlet *PyGreenlet_GetCurrent()
    object PyGreenlet_Switch(PyGreenlet *greenlet, void *args, void *kwargs)
    void PyGreenlet_Import()


PyGreenlet_Import()


cpdef getcurrent():
    # A new reference, which the cast to object counts again.
    current = <object> PyGreenlet_GetCurrent()
    Py_DECREF(current)
    return current


cpdef int switch_to(greenlet) except -1:
    PyGreenlet_Switch(<PyGreenlet *> greenlet, NULL, NULL)
    return 0


cpdef unsigned long thread_id() noexcept:
    return PyThread_get_thread_ident()
