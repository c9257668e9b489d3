/* The messages of the load generator: made, and checked when they come back.
 *
 * A tag of connection (15 bits) and sequence number (25 bits), five bits a character so
 * that it is text, then a pattern. A message that went to the wrong connection, came
 * twice, or overtook another has the wrong tag. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PAYLOAD = 1 << 16 };

static char *pattern;     /* what all messages share, after the tag */
static char *first_reply; /* with options.payload: what all replies must be alike */
static size_t first_length;
static bool first_compressed;

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        die("out of memory");
    return memory;
}

static void read_payload(void)
{
    FILE *file = fopen(options.payload, "rb");
    if (!file)
        die("%s: %s", options.payload, strerror(errno));
    pattern = allocate(MAX_PAYLOAD);
    options.size = fread(pattern, 1, MAX_PAYLOAD, file);
    if (options.size == 0 || options.size == MAX_PAYLOAD)
        die("%s cannot be read, or is too long", options.payload);
    fclose(file);
}

void prepare_messages(void)
{
    if (options.payload) {
        read_payload();
        return;
    }
    pattern = allocate(options.size);
    for (size_t i = 0; i < options.size; i++)
        pattern[i] = (char)('a' + i % 26);
}

static void make_tag(char *tag, unsigned id, uint64_t sequence)
{
    uint64_t bits = (uint64_t)id << 25 | (sequence & 0x1ffffff);
    for (int i = 0; i < TAG; i++)
        tag[i] = (char)('@' + (bits >> (5 * i) & 31));
}

void queue_message(struct connection *c)
{
    if (options.payload) {
        c->sent++;
        connection_queue(c, options.opcode | RSV1, pattern, options.size);
        return;
    }
    make_tag(pattern, c->id, c->sent++);
    connection_queue(c, options.opcode, pattern, options.size);
}

/* A server compresses the same message alike each time, when it keeps nothing of those
 * before. Whether the first reply is right is for the caller to say: it is printed. */
static void check_reply(const struct connection *c, const char *payload, size_t length)
{
    if (!first_reply) {
        first_reply = allocate(length);
        memcpy(first_reply, payload, length);
        first_length = length;
        first_compressed = c->compressed;
    }
    if (c->compressed != first_compressed || length != first_length ||
        memcmp(payload, first_reply, length) != 0)
        die("connection %u got a message unlike the first", c->id);
}

void check_message(struct connection *c, unsigned sender, enum opcode opcode,
                   const char *payload, size_t length)
{
    if (options.payload) {
        c->received++;
        check_reply(c, payload, length);
        return;
    }
    char tag[TAG];
    make_tag(tag, sender, c->received++);
    if (opcode != options.opcode || length != options.size)
        die("connection %u got opcode %d with %zu bytes", c->id, opcode, length);
    if (memcmp(payload, tag, TAG) != 0)
        die("connection %u got a message that is not its next one", c->id);
    if (memcmp(payload + TAG, pattern + TAG, length - TAG) != 0)
        die("connection %u got a message with other bytes than were sent", c->id);
}

void print_reply(void)
{
    if (!first_reply)
        return;
    printf(", \"compressed\": %d, \"reply\": \"", first_compressed);
    for (size_t i = 0; i < first_length; i++)
        printf("%02x", (unsigned char)first_reply[i]);
    printf("\"");
}
