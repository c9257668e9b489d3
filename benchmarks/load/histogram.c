/* See histogram.h. */
#include "histogram.h"

#include <string.h>

void histogram_clear(struct histogram *h) { memset(h, 0, sizeof *h); }

void histogram_note(struct histogram *h, uint64_t microseconds)
{
    unsigned shift = 0;
    while (microseconds >> shift >= 2 * SUB_BUCKETS)
        shift++;
    unsigned bucket = shift * SUB_BUCKETS + (unsigned)(microseconds >> shift);
    h->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    h->count++;
    if (microseconds > h->longest)
        h->longest = microseconds;
}

double histogram_percentile(const struct histogram *h, double part)
{
    uint64_t rest = (uint64_t)((double)h->count * part);
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (h->buckets[i] > rest) {
            unsigned shift = i < 2 * SUB_BUCKETS ? 0 : i / SUB_BUCKETS - 1;
            return (double)((uint64_t)(i - shift * SUB_BUCKETS) << shift) / 1e3;
        }
        rest -= h->buckets[i];
    }
    return (double)h->longest / 1e3;
}
