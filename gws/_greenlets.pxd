cpdef getcurrent()
cpdef int switch_to(greenlet) except -1
cpdef unsigned long thread_id() noexcept
