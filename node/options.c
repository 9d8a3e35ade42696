/* node/options.c: the settings of a node, and which of them go together. */
#include "base/assert.h"
#include "node/internal.h"

#define PACE_MAX (UINT64_C(1) << 34)

void node_options_init(struct node_options *options)
{
    *options = (struct node_options){
        .election_ms_min = 250,
        .election_ms_max = 500,
        .heartbeat_ms = 50,
        .clock_rate_ppm = 10000,
        .margin_ms = 100,
        .renew_batch_ms = 20,
        .commit_interval_ms = 1000,
        .connection_count_max = 1024,
        .session_count_max = 10000,
        .request_count_max = 16384,
        .window_size = 32 << 20,
        .segment_size = LOG_SEGMENT_SIZE_DEFAULT,
        .segment_count_max = 1024,
        .state_mark_interval = 16384,
        .snapshot_log_size = 64 << 20,
        .snapshot_pace = 64 << 20,
        .shipping_pace = 64 << 20,
        .disk_low_size = 128 << 20,
        .feed_size = 16 << 20,
        .feed_count_max = 65536,
        .watch_count_max = 16384,
        .waiting_size = 8 << 20,
        .uncommitted_size = UNCOMMITTED_SIZE_DEFAULT,
        .client_burst = 1000,
    };
}

static const char *names_problem(const struct node_options *options)
{
    for (uint32_t i = 0; i < options->member_count; i++) {
        const char *name = options->members[i];
        const char *address = options->addresses[i];

        if (name == NULL || !member_name_is_valid(bytes_of_text(name))) {
            return "a member's name has 1 to 32 bytes, and no comma, equals sign or space";
        }
        if (address == NULL || address[0] == '\0' || strlen(address) > NODE_ADDRESS_SIZE_MAX) {
            return "a member's address is missing or longer than 128 bytes";
        }
        for (uint32_t j = 0; j < i; j++) {
            if (bytes_equal(bytes_of_text(name), bytes_of_text(options->members[j]))) {
                return "two members have the same name";
            }
        }
    }
    return NULL;
}

static const char *times_problem(const struct node_options *options)
{
    if (options->heartbeat_ms == 0 || options->heartbeat_ms >= options->election_ms_min / 2) {
        return "the heartbeat must be shorter than half of the least election timeout";
    }
    if (options->election_ms_max <= options->election_ms_min || options->election_ms_max > 60000) {
        return "the largest election timeout must exceed the least, and be at most a minute";
    }
    if (options->promise_ms != 0 && (options->promise_ms < 2 * options->heartbeat_ms ||
                                     options->promise_ms > options->election_ms_min)) {
        return "the lease of reads must be two heartbeats at least, and at most the least election "
               "timeout";
    }
    if (options->clock_rate_ppm > 100000) {
        return "clock rates may differ by 10 % at most";
    }
    if (options->margin_ms > 60000 || options->renew_batch_ms > options->election_ms_min ||
        options->commit_interval_ms == 0) {
        return "margin, batching of renewals or commit interval is out of range";
    }
    return NULL;
}

static const char *sizes_problem(const struct node_options *options)
{
    if (options->connection_count_max == 0 || options->connection_count_max > 1000000 ||
        options->session_count_max == 0 || options->session_count_max > 10000000 ||
        options->request_count_max == 0 || options->request_count_max > 1000000) {
        return "connections, sessions or requests are out of range";
    }
    if (options->window_size < WINDOW_SIZE_MIN || options->window_size > 1 << 30) {
        return "the window of the log has 5 MiB to 1 GiB";
    }
    if (options->segment_size % DISK_ALIGNMENT != 0 || options->segment_count_max < 2 ||
        options->segment_size < LOG_BATCH_SIZE_MAX_DEFAULT + 2 * DISK_ALIGNMENT ||
        options->segment_size > 1 << 30) {
        return "a segment of the log is a multiple of 4 KiB, more than 2 MiB and at most 1 GiB";
    }
    if (options->feed_size < FEED_SIZE_MIN || options->feed_size > 1 << 30 ||
        options->feed_count_max < FEED_COUNT_MIN || options->feed_count_max > 1 << 24 ||
        options->watch_count_max == 0 || options->watch_count_max > 1 << 20) {
        return "the feed has 2 MiB to 1 GiB and 320 to 16777216 changes, and there are 1 to "
               "1048576 "
               "watches";
    }
    if (options->snapshot_log_size == 0 || options->state_mark_interval == 0 ||
        options->snapshot_pace < SNAPSHOT_CHUNK_SIZE_MAX ||
        options->shipping_pace < SNAPSHOT_CHUNK_SIZE_MAX || options->snapshot_pace > PACE_MAX ||
        options->shipping_pace > PACE_MAX) {
        return "snapshots, their pace (64 KiB to 16 GiB a second) or the marks of the state are "
               "out of range";
    }
    return NULL;
}

static const char *turns_problem(const struct node_options *options)
{
    if (options->waiting_size < WAITING_SIZE_MIN || options->waiting_size > 1 << 30) {
        return "the memory of requests that wait has 128 KiB to 1 GiB";
    }
    if (options->uncommitted_size < 4 || options->uncommitted_size > options->window_size / 4) {
        return "what may be uncommitted is more than a quarter of the log's window";
    }
    if (options->client_rate > BUCKET_RATE_MAX || options->client_burst == 0 ||
        options->client_burst > BUCKET_BURST_MAX) {
        return "the rate of one client, or its burst, is out of range";
    }
    return NULL;
}

const char *node_options_problem(const struct node_options *options)
{
    if (options->member_count == 0 || options->member_count > NODE_MEMBER_COUNT_MAX) {
        return "a cluster has 1 to 9 members";
    }
    const char *problem = names_problem(options);

    if (problem != NULL) {
        return problem;
    }
    if (options->self >= options->member_count || options->name == NULL ||
        !bytes_equal(bytes_of_text(options->name),
                     bytes_of_text(options->members[options->self]))) {
        return "this node's name is not in the list of members";
    }
    if (options->client_address == NULL || options->client_address[0] == '\0' ||
        strlen(options->client_address) > NODE_ADDRESS_SIZE_MAX) {
        return "the address for clients is missing or longer than 128 bytes";
    }
    problem = times_problem(options);
    if (problem == NULL) {
        problem = sizes_problem(options);
    }
    return problem != NULL ? problem : turns_problem(options);
}
