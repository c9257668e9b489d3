/* Bytes that come at one end and go at the other. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stddef.h>

struct buffer {
    char *data;
    size_t start, end, capacity; /* bytes [start, end) are in use */
};

/* Make room for so many bytes after `end`; what is in use may move. */
void buffer_reserve(struct buffer *, size_t more);
void buffer_append(struct buffer *, const void *bytes, size_t length);

#endif
