/* server/daemon.c: folder, disk, table, ports, node, loop; and what is said when one refuses. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/daemon.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/version.h"
#include "node/node.h"
#include "server/data_folder.h"
#include "server/disk_posix.h"
#include "server/folder.h"
#include "server/logger.h"
#include "server/loop.h"
#include "server/restore.h"
#include "server/table_behind.h"
#include "server/world_uv.h"

enum {
    DESCRIPTOR_COUNT_OTHER = 64, /* Files, links and libuv's own. */
    FREE_SIZE_MIN = 1 << 20,     /* A disk with less is called full. */
    FEED_BYTES_PER_CHANGE = 256, /* Of the memory for changes: so many may there be. */
    THREAD_COUNT_MAX = 12,       /* Of the disk, the table and libuv's pool. */
    THREAD_MEMORY_MAX = 8 << 20, /* The usual limit of a stack. */
    FIXED_MEMORY_MAX = 64 << 20, /* The program, its libraries and what they keep. */
};

struct daemon {
    const struct config *config;
    struct logger logger;
    struct node_options options;
    struct world_uv_options world_options;
    int lock; /* Negative: not held. */
    struct loop *loop;
    struct disk *disk;
    struct table *table;
    struct world *world;
    struct node *node;
    void *memory;
    size_t memory_size;
};

/* --- Lines ------------------------------------------------------------------------------------ */

/* The last line of a process that cannot go on. Pieces are put together; NULL ends them. */
static bool fatal(struct daemon *daemon, const char *const *pieces)
{
    char problem[LOGGER_LINE_SIZE];
    char memory[LOGGER_LINE_SIZE];
    struct text text;
    struct text line;

    text_init(&text, problem, sizeof(problem));
    for (size_t i = 0; pieces[i] != NULL; i++) {
        text_add(&text, pieces[i]);
    }
    logger_line_begin(&line, memory, "fatal");
    logger_line_add(&line, "problem", problem);
    logger_write(&daemon->logger, WORLD_ERROR, bytes_of(line.data, line.size));
    return false;
}

#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* What a failed call on the data folder means. */
static bool folder_fatal(struct daemon *daemon, const char *what, enum error error, int number)
{
    const char *path = daemon->config->data;

    if (error == ERR_NO_SPACE) {
        return fatal(daemon, PIECES("the disk of --data ", path, " is full: ", what,
                                    " failed; make room and start again"));
    }
    return fatal(daemon, PIECES(what, " failed in --data ", path, ": ",
                                number == 0 ? error_text(error) : strerror(number),
                                "; mend that and start again"));
}

static void started_log(struct daemon *daemon, bool table_was_clean)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    logger_line_begin(&line, memory, "process_start");
    logger_line_add(&line, "version", HOLDFAST_VERSION);
    logger_line_add_number(&line, "pid", (uint64_t)getpid());
    logger_line_add(&line, "data", daemon->config->data);
    logger_line_add(&line, "client", daemon->config->client);
    logger_line_add(&line, "advertised", daemon->config->advertise_client);
    logger_line_add(&line, "peer", daemon->config->peer);
    logger_line_add(&line, "table", table_was_clean ? "kept" : "rebuilt");
    logger_line_add_number(&line, "memory_bound_bytes", daemon->options.memory_bound);
    logger_write(&daemon->logger, WORLD_INFO, bytes_of(line.data, line.size));
}

/* --- Options ---------------------------------------------------------------------------------- */

static void options_fill(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    struct node_options *options = &daemon->options;
    struct world_uv_options *world = &daemon->world_options;

    node_options_init(options);
    options->name = config->name;
    options->member_count = config->cluster.count;
    options->self = config_member_find(&config->cluster, config->name);
    options->client_address = config->advertise_client;
    options->election_ms_min = (uint32_t)config->election_min_ms;
    options->election_ms_max = (uint32_t)config->election_max_ms;
    options->heartbeat_ms = (uint32_t)config->heartbeat_ms;
    options->clock_rate_ppm = (uint32_t)config->clock_rate_ppm;
    options->promise_ms = (uint32_t)config->read_lease_ms;
    options->margin_ms = (uint32_t)config->margin_ms;
    options->session_count_max = (uint32_t)config->max_sessions;
    options->segment_count_max = (uint32_t)config->max_segments;
    options->disk_low_size = config->disk_low;
    options->watch_count_max = (uint32_t)config->max_watches;
    options->feed_size = (uint32_t)config->watch_memory;
    options->feed_count_max = (uint32_t)(config->watch_memory / FEED_BYTES_PER_CHANGE);
    options->snapshot_log_size = config->snapshot_log;
    options->credentials = config->credentials;
    options->client_rate = (uint32_t)config->client_rate;
    options->client_burst = (uint32_t)config->client_burst;
    world->client_count_max = (uint32_t)config->max_connections;
    world->unread_ms_max = WORLD_UNREAD_MS;
    world->partial_ms_max = WORLD_PARTIAL_MS;
    /* All of these were parsed before: config_check() has seen them. */
    ASSERT(address_parse(bytes_of_text(config->client), &world->client));
    ASSERT(address_parse(bytes_of_text(config->peer), &world->peer));
    for (uint32_t i = 0; i < options->member_count; i++) {
        options->members[i] = config->cluster.items[i].name;
        options->addresses[i] = config->cluster.items[i].address;
    }
    for (uint32_t i = 0; i < config->dial.count; i++) {
        struct world_uv_dial *dial = &world->dials[world->dial_count++];

        dial->name = config->dial.items[i].name;
        ASSERT(address_parse(bytes_of_text(config->dial.items[i].address), &dial->address));
    }
    options->connection_count_max = world_uv_connection_count_max(world);
}

/* Every connection needs a descriptor. */
static bool descriptors_raise(struct daemon *daemon)
{
    rlim_t needed = daemon->options.connection_count_max + DESCRIPTOR_COUNT_OTHER;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return fatal(daemon, PIECES("the limit of open files cannot be read: ", strerror(errno)));
    }
    if (limit.rlim_cur >= needed) {
        return true;
    }
    limit.rlim_cur = needed < limit.rlim_max ? needed : limit.rlim_max;
    if (limit.rlim_cur < needed || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return fatal(daemon, PIECES("the limit of open files is too low for --max-connections; "
                                    "raise it (LimitNOFILE, ulimit -n) or lower that"));
    }
    return true;
}

/* --- Opening, in order ------------------------------------------------------------------------ */

static bool folder_open(struct daemon *daemon)
{
    const char *path = daemon->config->data;
    enum error error = data_folder_open(path, &daemon->lock);
    int number = errno;

    if (error == ERR_OK) {
        return true;
    }
    daemon->lock = -1;
    if (error == ERR_IN_USE) {
        return fatal(daemon, PIECES("another holdfastd uses --data ", path,
                                    "; stop it, or give each node a folder of its own"));
    }
    if (error == ERR_VERSION) {
        return fatal(daemon, PIECES("--data ", path,
                                    " was written by another version or program: "
                                    "use that version, or an empty folder"));
    }
    return folder_fatal(daemon, "opening the folder", error, number);
}

static bool backup_take(struct daemon *daemon)
{
    char memory[LOGGER_LINE_SIZE];
    struct text problem;

    if (daemon->config->restore[0] == '\0') {
        return true;
    }
    text_init(&problem, memory, sizeof(memory));
    return restore_prepare(daemon->config->data, daemon->config->restore, &problem) ||
           fatal(daemon, PIECES(memory));
}

static bool disk_open(struct daemon *daemon)
{
    daemon->loop = loop_open(&daemon->logger);
    if (daemon->loop == NULL) {
        return fatal(daemon, PIECES("the event loop cannot be made: ", strerror(errno),
                                    "; mend that and start again"));
    }
    enum error error =
        disk_posix_open(&daemon->disk, daemon->config->data, loop_wake(daemon->loop));
    if (error != ERR_OK) {
        daemon->disk = NULL;
        return folder_fatal(daemon, "opening the log's files", error, errno);
    }
    return true;
}

static bool table_open(struct daemon *daemon, bool *was_clean)
{
    enum error error =
        table_behind_open(&daemon->table, daemon->config->data, daemon->config->map_size,
                          TABLE_BEHIND_MEMTABLE_SIZE, was_clean);

    if (error != ERR_OK) {
        daemon->table = NULL;
        return folder_fatal(daemon, "opening the table", error, errno);
    }
    return true;
}

static bool port_fatal(struct daemon *daemon, const char *flag, const char *address, int code)
{
    const char *advice = code == UV_EADDRINUSE
                             ? "; another process listens there: stop it, or give another address"
                             : "; give an address of this machine";

    return fatal(daemon,
                 PIECES("cannot listen on ", flag, " ", address, ": ", uv_strerror(code), advice));
}

static bool world_open(struct daemon *daemon)
{
    int code = 0;

    switch (world_uv_open(&daemon->world, loop_uv(daemon->loop), &daemon->logger,
                          &daemon->world_options, &code)) {
    case WORLD_UV_OK:
        return true;
    case WORLD_UV_MEMORY:
        return fatal(daemon, PIECES("there is no memory for the connections; lower "
                                    "--max-connections"));
    case WORLD_UV_CLIENT_PORT:
        return port_fatal(daemon, "--client", daemon->config->client, code);
    case WORLD_UV_PEER_PORT:
        return port_fatal(daemon, "--peer", daemon->config->peer, code);
    }
    UNREACHABLE();
}

/* Pages that are never touched cost nothing. */
static bool memory_open(struct daemon *daemon)
{
    const char *problem = node_options_problem(&daemon->options);

    if (problem != NULL) {
        return fatal(daemon, PIECES("the configuration does not fit together: ", problem));
    }
    daemon->memory_size = node_memory_size(&daemon->options);
    daemon->options.memory_bound =
        daemon->memory_size + world_uv_memory_max(&daemon->world_options) +
        table_behind_memory_max(TABLE_BEHIND_MEMTABLE_SIZE) +
        (uint64_t)THREAD_COUNT_MAX * THREAD_MEMORY_MAX + FIXED_MEMORY_MAX;
    daemon->memory = mmap(NULL, daemon->memory_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (daemon->memory == MAP_FAILED) {
        daemon->memory = NULL;
        return fatal(daemon, PIECES("there is no memory for the node: ", strerror(errno),
                                    "; lower --max-sessions or --max-connections"));
    }
    return true;
}

static bool node_start(struct daemon *daemon)
{
    struct arena arena;
    const char *problem = NULL;

    arena_init(&arena, daemon->memory, daemon->memory_size);
    enum error error =
        node_open(&daemon->node, &arena, &daemon->options, daemon->world, daemon->disk,
                  daemon->table, clock_now_ms(loop_clock(daemon->loop)), &problem);
    if (error == ERR_OK) {
        return true;
    }
    daemon->node = NULL;
    struct disk_failure failure = disk_posix_failure(daemon->disk);
    if (error == ERR_NO_SPACE || problem == NULL) {
        return folder_fatal(daemon, "opening the node", error, failure.number);
    }
    if (failure.number != 0) {
        return fatal(daemon, PIECES(problem, " (", failure.operation, " ", failure.name.text, ": ",
                                    strerror(failure.number), ")"));
    }
    return fatal(daemon, PIECES(problem));
}

static bool open_all(struct daemon *daemon)
{
    bool table_was_clean = false;

    if (!memory_open(daemon) || !descriptors_raise(daemon) || !folder_open(daemon) ||
        !backup_take(daemon) || !disk_open(daemon) || !world_open(daemon) ||
        !table_open(daemon, &table_was_clean)) {
        return false;
    }
    loop_watch_space(daemon->loop, daemon->config->data);
    started_log(daemon, table_was_clean);
    return node_start(daemon);
}

/* --- Running and closing ---------------------------------------------------------------------- */

/* LMDB calls a short write on a full disk an input/output error. */
static const char *full_disk_advice(const struct daemon *daemon)
{
    struct statvfs status;

    if (statvfs(daemon->config->data, &status) == 0 &&
        (uint64_t)status.f_bavail * status.f_frsize < FREE_SIZE_MIN) {
        return "; the disk of --data is full: make room and start again";
    }
    return "";
}

static int run(struct daemon *daemon)
{
    switch (loop_run(daemon->loop, daemon->node, daemon->world, daemon->disk)) {
    case LOOP_STOPPED:
        return DAEMON_EXIT_STOPPED;
    case LOOP_LATE:
        /* The log is durable; only the table is built anew at the next start. */
        table_behind_close(daemon->table);
        daemon->table = NULL;
        return DAEMON_EXIT_STOPPED;
    case LOOP_FAILED:
        break;
    }
    struct disk_failure failure = disk_posix_failure(daemon->disk);
    if (failure.number != 0) {
        (void)fatal(daemon, PIECES(node_problem(daemon->node), " (", failure.operation, " ",
                                   failure.name.text, ": ", strerror(failure.number), ")",
                                   full_disk_advice(daemon)));
    } else {
        (void)fatal(daemon, PIECES(node_problem(daemon->node), full_disk_advice(daemon)));
    }
    return node_is_removed(daemon->node) ? DAEMON_EXIT_REMOVED : DAEMON_EXIT_FATAL;
}

/* Leaves the table behind for the next start, unless the node was not done with it. */
static void table_close(struct daemon *daemon)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;
    bool is_kept = daemon->table != NULL && table_behind_close_clean(daemon->table) == ERR_OK;

    daemon->table = NULL;
    logger_line_begin(&line, memory, "process_end");
    logger_line_add(&line, "table", is_kept ? "kept" : "dropped");
    logger_write(&daemon->logger, WORLD_INFO, bytes_of(line.data, line.size));
}

static void close_all(struct daemon *daemon)
{
    disk_posix_close(daemon->disk);
    table_behind_close(daemon->table);
    if (daemon->world != NULL) {
        world_uv_close(daemon->world);
    }
    if (daemon->loop != NULL) {
        loop_close(daemon->loop);
    }
    if (daemon->world != NULL) {
        world_uv_free(daemon->world);
    }
    if (daemon->memory != NULL) {
        (void)munmap(daemon->memory, daemon->memory_size);
    }
    if (daemon->lock >= 0) {
        data_folder_close(daemon->lock);
    }
}

/* A thread of this process that wakes does not push a running one off its core: what arrives
 * meanwhile joins the same turn and the same write. Measured in docs/performance.md. Where it is
 * refused all works as before. */
static void scheduling_prefer_batches(void)
{
    const struct sched_param plain = {0};

    (void)sched_setscheduler(0, SCHED_BATCH, &plain);
}

int daemon_run(const struct config *config)
{
    struct daemon daemon = {.config = config, .lock = -1};
    int status = DAEMON_EXIT_FATAL;

    logger_init(&daemon.logger, STDERR_FILENO, config->name);
    /* A write to a connection that the other side closed is an error code, not a death. */
    (void)signal(SIGPIPE, SIG_IGN);
    scheduling_prefer_batches();
    options_fill(&daemon);
    if (open_all(&daemon)) {
        status = run(&daemon);
    }
    /* The last line of a process that could not go on is the one that says why. */
    if (status == DAEMON_EXIT_STOPPED) {
        table_close(&daemon);
    }
    close_all(&daemon);
    return status;
}
