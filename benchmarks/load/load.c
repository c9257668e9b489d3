/* Load generator for WebSocket servers on this machine: one thread, one epoll.
 *
 * In: a mode and options (see usage). Out: one line of JSON on stdout, or a
 * message on stderr and exit status 1 when the server breaks the protocol,
 * returns other bytes than it was sent, or stops answering. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct options options = {50, 1, 64, TEXT, 2, 0.5, 20000, 0, NULL};
struct target target = {-1, 0, "/", 1, NULL, NULL};
struct connection *connections;

static void usage(void)
{
    fputs("usage: load echo|fanout|connect|idle|latency --port PORT [--path PATH]\n"
          "            [--connections N] [--in-flight N] [--size BYTES] [--binary]\n"
          "            [--seconds S] [--warmup S] [--sources N] [--server-pid PID]\n"
          "            [--rate N] [--offer EXTENSION] [--payload FILE] [--tls FILE]\n"
          "echo     N connections, each with so many messages outstanding\n"
          "fanout   connection 0 publishes, all get each message; counts deliveries\n"
          "connect  N at a time: open, upgrade, close; counts whole cycles\n"
          "idle     opens N and holds them until stdin ends or has something to read\n"
          "latency  an echo each 1 / --rate seconds, on N connections in turn; tells\n"
          "         milliseconds from when each was due\n"
          "--offer EXTENSION asks for permessage-deflate; the server must take it\n"
          "--payload FILE has the message, compressed, instead of --size\n"
          "--tls FILE connects by TLS and trusts this certificate\n"
          "--sources N connects from N addresses, 127.0.0.2 and up\n"
          "--server-pid tells whose processor time to report as server_cpu\n",
          stderr);
    exit(2);
}

static void set_option(int option, const char *value)
{
    switch (option) {
    case 'p': target.port = (uint16_t)number(value, 1, 65535); break;
    case 'a': target.path = value; break;
    case 'e': target.offer = value; break;
    case 't': target.tls = tls_context(value); break;
    case 'f': options.payload = value; break;
    case 'o': target.sources = (unsigned)number(value, 1, 200); break;
    case 'c': options.connections = (unsigned)number(value, 1, MAX_CONNECTIONS); break;
    case 'k': options.in_flight = (unsigned)number(value, 1, 4096); break;
    case 'n': options.size = (size_t)number(value, TAG, 1 << 24); break;
    case 'b': options.opcode = BINARY; break;
    case 'r': options.rate = number(value, 1, 1e7); break;
    case 's': options.seconds = number(value, 0.01, 600); break;
    case 'P': options.server = (pid_t)number(value, 1, 1 << 30); break;
    case 'w': options.warmup = number(value, 0, 60); break;
    default: usage();
    }
}

static void prepare(void)
{
    connections = calloc(options.connections, sizeof *connections);
    target.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || target.epoll < 0)
        die("cannot start: %s", strerror(errno));
    prepare_messages();
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'a'},       {"connections", 1, 0, 'c'},
        {"seconds", 1, 0, 's'}, {"in-flight", 1, 0, 'k'},  {"size", 1, 0, 'n'},
        {"binary", 0, 0, 'b'},  {"warmup", 1, 0, 'w'},     {"sources", 1, 0, 'o'},
        {"rate", 1, 0, 'r'},    {"server-pid", 1, 0, 'P'}, {"offer", 1, 0, 'e'},
        {"tls", 1, 0, 't'},     {"payload", 1, 0, 'f'},    {0, 0, 0, 0}};
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"echo", echo},
                 {"fanout", fanout},
                 {"connect", connect_and_close},
                 {"idle", idle},
                 {"latency", latency}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(option, optarg);
    if (optind != argc - 1 || target.port == 0)
        usage();
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[optind], modes[i].name) == 0) {
            prepare();
            modes[i].run();
            return 0;
        }
    }
    usage();
}
