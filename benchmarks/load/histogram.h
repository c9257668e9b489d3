/* Many times in, percentiles out, in a fixed amount of memory.
 *
 * A bucket counts microseconds: exact below 128, from there on 64 buckets to each power
 * of two, so that the error is below 2 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { SUB_BUCKETS = 64, BUCKETS = SUB_BUCKETS * 32 };

struct histogram {
    uint64_t buckets[BUCKETS];
    uint64_t count, longest;
};

void histogram_clear(struct histogram *);
void histogram_note(struct histogram *, uint64_t microseconds);
/* The time in milliseconds below which a part (0 to 1) of all were. */
double histogram_percentile(const struct histogram *, double part);

#endif
