/* See buffer.h. */
#include "buffer.h"

#include "program.h"

#include <stdlib.h>
#include <string.h>

void buffer_reserve(struct buffer *b, size_t more)
{
    if (b->start == b->end)
        b->start = b->end = 0;
    if (b->capacity - b->end >= more)
        return;
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    /* No more at first than is asked for: an idle connection should cost nothing. */
    size_t capacity = b->capacity ? b->capacity : more;
    while (capacity - b->end < more)
        capacity *= 2;
    if (capacity != b->capacity) {
        b->data = realloc(b->data, capacity);
        if (!b->data)
            die("out of memory");
        b->capacity = capacity;
    }
}

void buffer_append(struct buffer *b, const void *bytes, size_t length)
{
    buffer_reserve(b, length);
    memcpy(b->data + b->end, bytes, length);
    b->end += length;
}
