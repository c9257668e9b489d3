/* Members of rooms on one WebSocket server, and those who publish there: one thread,
 * one epoll.
 *
 * In: options (see usage), then commands, a line each, on stdin. Out: a line of JSON on
 * stdout for each command, or a message on stderr and exit status 1 when the server
 * breaks the protocol, or stops answering.
 *
 * Connection i is in room i % rooms; the first one of each room publishes there. Each
 * message tells its room, its number in the room, and when it was due by the clock of
 * this machine: so what is lost, comes twice, or to the wrong room is found out, and how
 * long it was under way is known where it arrives. */
#define _GNU_SOURCE
#include "../load/connection.h"
#include "../load/histogram.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    HEAD = 32, /* "ROOM- NUMBER-- TIME------------ " at the front of each message */
    MAX_MESSAGE = 1 << 16,
    MAX_PATH = 64,
    MAX_IN_FLIGHT = 1024,
    MAX_PROCESSES = 64,
    OPENING_AT_ONCE = 64 /* below any server's listen backlog */
};
static const double STALL_SECONDS = 20, DRAIN_SECONDS = 5, IDLE_SECONDS = 0.1;

struct room {
    uint32_t members, published;
    uint32_t missing[MAX_IN_FLIGHT]; /* receivers that still miss number % in_flight */
};

static struct {
    unsigned connections, rooms, sources;
    size_t size;
    uint16_t port;
    bool socketio;
    pid_t processes[MAX_PROCESSES]; /* whose processor time is told */
    unsigned n_processes;
} options = {100, 1, 1, 64, 0, false, {0}, 0};

static struct target target = {-1, 0, "/", 1, NULL, NULL};
static struct connection *connections;
static struct room *rooms;
static unsigned started, joined;
static bool stdin_is_ready;
static char message[MAX_MESSAGE];

/* What is measured */

static unsigned in_flight;           /* of each room; 0: at a fixed rate */
static uint64_t published, received; /* of all the time */
static uint64_t expected;            /* deliveries, of all that was published */
static uint64_t lost, disordered;
static uint64_t due_from, due_to; /* of what is due in between the time is taken */
static struct histogram times;

/* Messages. Of Socket.IO a text frame begins with the type of its packet: 0 open,
 * 2 ping, 3 pong, 40 connect, 42 event, of Engine.IO v4 and Socket.IO v5. */

static const char EVENT[] = "42[\"m\",\"", PUBLISH[] = "42[\"p\",\"", END[] = "\"]";

static void send_text(struct connection *c, const char *text)
{
    connection_queue(c, TEXT, text, strlen(text));
}

static void publish(unsigned number_of_room, uint64_t due)
{
    struct room *room = &rooms[number_of_room];
    struct connection *c = &connections[number_of_room];
    size_t before = options.socketio ? sizeof PUBLISH - 1 : 0;
    char head[HEAD + 1];
    snprintf(head, sizeof head, "%05u %08" PRIu32 " %016" PRIx64 " ", number_of_room,
             room->published, due);
    memcpy(message + before, head, HEAD);
    if (in_flight)
        room->missing[room->published % in_flight] = room->members;
    room->published++;
    published++;
    expected += room->members;
    size_t length = before + options.size + (options.socketio ? sizeof END - 1 : 0);
    connection_queue(c, TEXT, message, length);
    connection_flush(c, &target);
}

static void arrived(struct connection *c, const char *text, size_t length)
{
    unsigned number_of_room = c->id % options.rooms;
    struct room *room = &rooms[number_of_room];
    char head[HEAD + 1] = {0}, *next;
    if (length != options.size)
        die("connection %u got a message of %zu bytes", c->id, length);
    memcpy(head, text, HEAD);
    if (strtoul(head, &next, 10) != number_of_room)
        die("connection %u got a message of another room", c->id);
    uint32_t number = (uint32_t)strtoul(next, &next, 10);
    uint64_t due = strtoull(next, NULL, 16);
    if (number >= room->published)
        die("connection %u got a message that nobody sent", c->id);
    if (memcmp(text + HEAD, message + (options.socketio ? sizeof PUBLISH - 1 : 0) + HEAD,
               length - HEAD) != 0)
        die("connection %u got a message with other bytes than were sent", c->id);
    received++;
    if (number == c->received) {
        c->received++;
    } else if (number > c->received) {
        lost += number - c->received;
        c->received = number + 1;
    } else {
        disordered++;
        lost--;
    }
    if (due >= due_from && due < due_to)
        histogram_note(&times, (now_ns() - due) / 1000);
    if (in_flight && --room->missing[number % in_flight] == 0 && now_ns() < due_to)
        publish(number_of_room, now_ns());
}

static void start_next(void)
{
    static char path[MAX_PATH];
    struct connection *c = &connections[started];
    c->id = started++;
    snprintf(path, sizeof path,
             options.socketio ? "/socket.io/?EIO=4&transport=websocket&room=%u" : "/%u",
             c->id % options.rooms);
    target.path = path;
    connection_start(c, &target);
}

static void joined_one(void)
{
    joined++;
    if (started < options.connections)
        start_next();
}

static bool begins(const char *text, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static void socketio_packet(struct connection *c, const char *text, size_t length)
{
    size_t around = sizeof EVENT - 1 + sizeof END - 1;
    if (begins(text, length, EVENT) && length > around)
        arrived(c, text + sizeof EVENT - 1, length - around);
    else if (begins(text, length, "40"))
        joined_one();
    else if (begins(text, length, "0"))
        send_text(c, "40");
    else if (begins(text, length, "2"))
        send_text(c, "3");
    else
        die("connection %u got the packet %.*s", c->id, (int)length, text);
}

static void on_message(struct connection *c, enum opcode opcode, const char *payload,
                       size_t length)
{
    if (opcode != TEXT)
        die("connection %u got opcode %d", c->id, opcode);
    if (options.socketio)
        socketio_packet(c, payload, length);
    else if (begins(payload, length, "joined"))
        joined_one();
    else
        arrived(c, payload, length);
}

/* The loop */

static const struct handler handler = {.on_message = on_message};

static void step(double seconds)
{
    if (connections_step(&target, &handler, seconds > 0 ? seconds : 0))
        stdin_is_ready = true;
}

static void open_all(void)
{
    double begun = now_seconds(), progress_at = begun;
    unsigned progress = 0;
    while (started < options.connections && started < OPENING_AT_ONCE)
        start_next();
    while (joined < options.connections) {
        step(IDLE_SECONDS);
        if (progress != joined) {
            progress = joined;
            progress_at = now_seconds();
        } else if (now_seconds() - progress_at > STALL_SECONDS) {
            die("only %u of %u connections could join", joined, options.connections);
        }
    }
    printf("{\"opened\": %u, \"seconds\": %.3f}\n", joined, now_seconds() - begun);
}

/* Go on until a time, and publish what is due, `rate` a second, a room after the other.
 * Whoever is late with that is late for all: what counts is when it was due. */
static void go_on(uint64_t until, double rate)
{
    static unsigned turn;
    uint64_t begun = now_ns(), n = 0, progress_at = begun, progress = received;
    for (uint64_t now = begun; now < until; now = now_ns()) {
        uint64_t next = until;
        if (rate > 0) {
            while ((next = begun + (uint64_t)((double)n * 1e9 / rate)) <= now) {
                publish(turn++ % options.rooms, next);
                n++;
            }
        }
        step((double)((next < until ? next : until) - now) / 1e9);
        if (progress != received) {
            progress = received;
            progress_at = now;
        } else if (received < expected && now - progress_at > ns(STALL_SECONDS)) {
            die("the server stopped delivering (%" PRIu64 " of %" PRIu64 ")", received,
                expected);
        }
    }
}

/* Wait for what is still under way, for as long as some of it comes. */
static void drain(void)
{
    double progress_at = now_seconds();
    uint64_t progress = received;
    while (received < expected && now_seconds() - progress_at < DRAIN_SECONDS) {
        step(IDLE_SECONDS);
        if (progress != received) {
            progress = received;
            progress_at = now_seconds();
        }
    }
}

static void snapshot(double *used)
{
    for (unsigned i = 0; i < options.n_processes; i++)
        used[i] = cpu_seconds(options.processes[i]);
    used[options.n_processes] = cpu_seconds(0);
}

static void measure(double rate, unsigned outstanding, double seconds, double warmup)
{
    double before[MAX_PROCESSES + 1], after[MAX_PROCESSES + 1];
    uint64_t published_before = published, expected_before = expected;
    uint64_t received_before = received, lost_before = lost;
    histogram_clear(&times);
    disordered = 0;
    in_flight = outstanding;
    due_from = now_ns() + ns(warmup);
    due_to = due_from + ns(seconds);
    for (unsigned k = 0; k < outstanding; k++)
        for (unsigned r = 0; r < options.rooms; r++)
            publish(r, now_ns());
    go_on(due_from, rate);
    snapshot(before);
    uint64_t start = now_ns(), count = received, sent = published;
    go_on(due_to, rate);
    snapshot(after);
    double window = (double)(now_ns() - start) / 1e9;
    count = received - count;
    sent = published - sent;
    drain();
    printf("{\"seconds\": %.4f, \"published\": %" PRIu64 ", \"delivered\": %" PRIu64
           ", \"all_published\": %" PRIu64 ", \"all_expected\": %" PRIu64
           ", \"all_delivered\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"disordered\": %" PRIu64
           ", \"p50\": %.3f, \"p99\": %.3f, \"longest\": %.3f, \"cpu\": [",
           window, sent, count, published - published_before, expected - expected_before,
           received - received_before, lost - lost_before, disordered,
           histogram_percentile(&times, 0.5), histogram_percentile(&times, 0.99),
           (double)times.longest / 1e3);
    for (unsigned i = 0; i < options.n_processes; i++)
        printf("%s%.4f", i ? ", " : "", after[i] - before[i]);
    printf("], \"load_cpu\": %.4f}\n",
           after[options.n_processes] - before[options.n_processes]);
    /* What is missing now will not be waited for again. */
    expected = received;
    in_flight = 0;
}

/* Commands */

static void obey(const char *line)
{
    double seconds, warmup, rate;
    unsigned outstanding;
    if (strcmp(line, "open\n") == 0)
        open_all();
    else if (sscanf(line, "rate %lf %lf %lf", &rate, &seconds, &warmup) == 3)
        measure(rate, 0, seconds, warmup);
    else if (sscanf(line, "flood %u %lf %lf", &outstanding, &seconds, &warmup) == 3 &&
             outstanding > 0 && outstanding <= MAX_IN_FLIGHT)
        measure(0, outstanding, seconds, warmup);
    else
        die("cannot understand %s", line);
    fflush(stdout);
}

static void usage(void)
{
    fputs("usage: load --port PORT [--connections N] [--rooms N] [--size BYTES]\n"
          "            [--socketio] [--sources N] [--cpu PID,PID...]\n"
          "--socketio speaks Socket.IO v5 over Engine.IO v4, else text as it is\n"
          "--sources N connects from N addresses, 127.0.0.2 and up\n"
          "--cpu tells whose processor time to report\n"
          "commands, on stdin:\n"
          "open                              have all connections join their rooms\n"
          "rate PER_SECOND SECONDS WARMUP    publish so often in all rooms together\n"
          "flood N SECONDS WARMUP            keep N messages under way in each room\n",
          stderr);
    exit(2);
}

static void set_processes(char *list)
{
    for (char *pid = strtok(list, ","); pid; pid = strtok(NULL, ",")) {
        if (options.n_processes == MAX_PROCESSES)
            die("too many processes");
        options.processes[options.n_processes++] = (pid_t)number(pid, 1, 1 << 30);
    }
}

static void set_option(int option, char *value)
{
    switch (option) {
    case 'p': options.port = (uint16_t)number(value, 1, 65535); break;
    case 'c': options.connections = (unsigned)number(value, 1, 1 << 20); break;
    case 'r': options.rooms = (unsigned)number(value, 1, 99999); break;
    case 'n': options.size = (size_t)number(value, HEAD, MAX_MESSAGE / 2); break;
    case 'i': options.socketio = true; break;
    case 'o': options.sources = (unsigned)number(value, 1, 200); break;
    case 'P': set_processes(value); break;
    default: usage();
    }
}

static void prepare(void)
{
    if (options.rooms > options.connections)
        die("there must be a connection for each room");
    connections = calloc(options.connections, sizeof *connections);
    rooms = calloc(options.rooms, sizeof *rooms);
    target.epoll = epoll_create1(EPOLL_CLOEXEC);
    target.port = options.port;
    target.sources = options.sources;
    if (!connections || !rooms || target.epoll < 0)
        die("cannot start: %s", strerror(errno));
    for (unsigned i = 0; i < options.connections; i++)
        rooms[i % options.rooms].members++;
    size_t before = options.socketio ? sizeof PUBLISH - 1 : 0;
    memcpy(message, PUBLISH, before);
    for (size_t i = 0; i < options.size; i++)
        message[before + i] = (char)('a' + i % 26);
    memcpy(message + before + options.size, END, sizeof END);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(target.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        die("stdin must be a pipe or a terminal");
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},     {"connections", 1, 0, 'c'}, {"rooms", 1, 0, 'r'},
        {"size", 1, 0, 'n'},     {"socketio", 0, 0, 'i'},    {"sources", 1, 0, 'o'},
        {"cpu", 1, 0, 'P'},      {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(option, optarg);
    if (optind != argc || options.port == 0)
        usage();
    prepare();
    char line[128];
    for (;;) {
        /* Meanwhile the pings of the server are answered. */
        stdin_is_ready = false;
        while (!stdin_is_ready)
            step(IDLE_SECONDS);
        if (!fgets(line, sizeof line, stdin))
            return 0;
        obey(line);
    }
}
