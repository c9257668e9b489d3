cpdef getcurrent()
cpdef int switch_to(greenlet) except -1
