/* client/core_endpoint.c: which nodes to dial, in search of the leader.
 *
 * Endpoints are tried in random order, the next one after DIAL_STAGGER_MS without waiting for the
 * first to fail, at once when one failed or does not lead. One that fails is left alone for a
 * random time that doubles (full jitter). What nodes say of the leader goes first. */
#include "client/core_internal.h"

static bool is_port(struct bytes text)
{
    uint32_t port = 0;

    if (text.size == 0 || text.size > 5) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static bool is_address(struct bytes text)
{
    size_t colon = text.size;

    if (text.size == 0 || text.size > CORE_ADDRESS_SIZE_MAX) {
        return false;
    }
    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2) {
        return false; /* No colon, or nothing before it. */
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return is_port(bytes_skip(text, colon));
}

/* Takes what is before the next comma off `*list`. */
static struct bytes next_address(struct bytes *list)
{
    size_t size = 0;

    while (size < list->size && list->data[size] != ',') {
        size++;
    }
    struct bytes address = bytes_of(list->data, size);
    *list = bytes_skip(*list, size_min(size + 1, list->size));
    return address;
}

enum error core_endpoints_check(struct bytes endpoints)
{
    uint32_t count = 0;

    if (endpoints.size == 0 || endpoints.data[endpoints.size - 1] == ',') {
        return ERR_INVALID;
    }
    while (endpoints.size > 0) {
        count++;
        if (!is_address(next_address(&endpoints)) || count > CORE_LISTED_COUNT_MAX) {
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

static void set_address(struct core_endpoint *endpoint, struct bytes address)
{
    ASSERT(address.size <= CORE_ADDRESS_SIZE_MAX);
    memset(endpoint, 0, sizeof *endpoint);
    memcpy(endpoint->address, address.data, address.size);
    endpoint->address_size = (uint32_t)address.size;
}

static struct bytes address_of(const struct core_endpoint *endpoint)
{
    return bytes_of(endpoint->address, endpoint->address_size);
}

int32_t endpoint_find(const struct core *core, struct bytes address)
{
    for (uint32_t i = 0; i < core->endpoint_count; i++) {
        if (bytes_equal(address_of(&core->endpoints[i]), address)) {
            return (int32_t)i;
        }
    }
    return -1;
}

void endpoints_init(struct core *core, struct bytes list)
{
    ASSERT(core->endpoint_count == 0);
    while (list.size > 0) {
        struct bytes address = next_address(&list);
        if (endpoint_find(core, address) >= 0) {
            continue;
        }
        ASSERT(core->endpoint_count < CORE_LISTED_COUNT_MAX);
        struct core_endpoint *endpoint = &core->endpoints[core->endpoint_count];
        core->endpoint_count++;
        set_address(endpoint, address);
        endpoint->listed = true;
    }
    for (uint32_t i = core->endpoint_count - 1; i > 0; i--) {
        uint32_t other = (uint32_t)core_random_between(core, 0, i);
        struct core_endpoint swapped = core->endpoints[i];
        core->endpoints[i] = core->endpoints[other];
        core->endpoints[other] = swapped;
    }
}

/* A place for an endpoint that is not listed; -1 when all are in use. */
static int32_t learned_place(struct core *core)
{
    int32_t oldest = -1;

    if (core->endpoint_count < CORE_ENDPOINT_COUNT_MAX) {
        core->endpoint_count++;
        return (int32_t)core->endpoint_count - 1;
    }
    for (int32_t i = 0; i < CORE_ENDPOINT_COUNT_MAX; i++) {
        const struct core_endpoint *endpoint = &core->endpoints[i];
        if (endpoint->listed || connection_count_of(core, i) > 0 || i == core->leader_endpoint) {
            continue;
        }
        if (oldest < 0 || endpoint->dialed < core->endpoints[oldest].dialed) {
            oldest = i;
        }
    }
    return oldest;
}

void endpoint_hint(struct core *core, struct bytes address)
{
    if (!is_address(address)) {
        return;
    }
    int32_t endpoint = endpoint_find(core, address);
    if (endpoint < 0) {
        endpoint = learned_place(core);
        if (endpoint < 0) {
            return;
        }
        set_address(&core->endpoints[endpoint], address);
    }
    ASSERT(endpoint < (int32_t)core->endpoint_count);
    core->hint_endpoint = endpoint;
    for (uint32_t i = 0; i < core->connection_count; i++) {
        struct core_connection *connection = &core->connections[i];
        uint64_t soon_ms = core->now_ms + POLL_HINT_MS;
        if (connection->endpoint == endpoint && connection->state == CORE_STANDBY &&
            connection->probe_id == 0 && connection->timer.due_ms > soon_ms) {
            timer_set(&core->timers, &connection->timer, soon_ms);
        }
    }
}

void endpoint_failed(struct core *core, int32_t endpoint)
{
    if (endpoint < 0) {
        return;
    }
    struct core_endpoint *failed = &core->endpoints[endpoint];
    uint32_t doublings = failed->failure_count < 6 ? failed->failure_count : 6;
    uint64_t limit_ms = (uint64_t)BACKOFF_MS_MIN << doublings;
    limit_ms = limit_ms > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : limit_ms;
    failed->failure_count++;
    failed->failed_ms = core->now_ms;
    failed->not_before_ms = core->now_ms + 1 + core_random_between(core, 0, limit_ms);
    core->search_ms = core->now_ms;
}

void endpoint_worked(struct core *core, int32_t endpoint, uint64_t taken_ms)
{
    ASSERT(endpoint >= 0 && endpoint < (int32_t)core->endpoint_count);
    struct core_endpoint *worked = &core->endpoints[endpoint];
    worked->greeting_ms = (3 * worked->greeting_ms + taken_ms) / 4;
    worked->failure_count = 0;
    worked->not_before_ms = 0;
    worked->refuses_us = false;
}

/* While tokens are being changed, node by node, another one may take ours. */
bool endpoint_refused(struct core *core, int32_t endpoint)
{
    ASSERT(endpoint >= 0 && endpoint < (int32_t)core->endpoint_count);
    core->endpoints[endpoint].refuses_us = true;
    for (uint32_t i = 0; i < core->endpoint_count; i++) {
        if (core->endpoints[i].failure_count == 0) {
            return false;
        }
    }
    return core->leader_count == 0;
}

/* False when all connections are in use. */
static bool dial(struct core *core, int32_t place)
{
    struct core_endpoint *endpoint = &core->endpoints[place];
    struct core_connection *connection = connection_take(core, address_of(endpoint), place);

    if (connection == NULL) {
        return false;
    }
    policy_dialed(core, connection);
    core->dial_count++;
    endpoint->dialed = core->dial_count;
    return true;
}

/* The leader that was goes last: it was left for a reason. */
static bool is_better(const struct core *core, int32_t place, int32_t other_place)
{
    const struct core_endpoint *one = &core->endpoints[place];
    const struct core_endpoint *other = &core->endpoints[other_place];

    if (place == core->leader_endpoint || other_place == core->leader_endpoint) {
        return other_place == core->leader_endpoint;
    }
    if (one->failure_count != other->failure_count) {
        return one->failure_count < other->failure_count;
    }
    if (one->greeting_ms != other->greeting_ms) {
        return one->greeting_ms < other->greeting_ms;
    }
    return one->dialed < other->dialed;
}

/* The better of two, at random, of those that may be dialed now: clients that know the same do not
 * all go to the same node. What is dialed is out of the choice, so each has its turn. -1: none. */
static int32_t next_endpoint(struct core *core)
{
    int32_t places[CORE_ENDPOINT_COUNT_MAX];
    uint32_t count = 0;

    for (int32_t i = 0; i < (int32_t)core->endpoint_count; i++) {
        if (policy_may_dial(core, &core->endpoints[i]) && connection_count_of(core, i) == 0) {
            places[count] = i;
            count++;
        }
    }
    if (count < 2) {
        return count == 0 ? -1 : places[0];
    }
    uint32_t first = (uint32_t)core_random_between(core, 0, count - 1);
    uint32_t second = (uint32_t)core_random_between(core, 0, count - 2);
    second += second >= first;
    return is_better(core, places[second], places[first]) ? places[second] : places[first];
}

/* More connections to the leader that we have. */
static void search_company(struct core *core)
{
    int32_t leader = core->leader_endpoint;
    uint32_t count = connection_count_of(core, leader);

    while (count < core->options.connections && policy_may_dial(core, &core->endpoints[leader])) {
        if (!dial(core, leader)) {
            core->endpoints[leader].not_before_ms = core->now_ms + DIAL_STAGGER_MS;
        }
        count++;
    }
}

void endpoint_search(struct core *core)
{
    if (core->closing && core_is_closed(core)) {
        return;
    }
    if (core->leader_count > 0) {
        if (core->leader_count < core->options.connections) {
            search_company(core);
        }
        if (through_dials(core)) {
            (void)dial(core, core->hint_endpoint);
        }
        return;
    }
    int32_t hint = core->hint_endpoint;
    if (hint >= 0) {
        bool is_free = connection_count_of(core, hint) == 0;
        bool may_dial = policy_may_dial(core, &core->endpoints[hint]);
        if (!is_free || may_dial) {
            core->hint_endpoint = -1;
        }
        if (is_free && may_dial) {
            (void)dial(core, hint);
        }
    }
    if (core->search_ms > core->now_ms) {
        return;
    }
    int32_t next = next_endpoint(core);
    if (next >= 0) {
        core->search_ms = core->now_ms + DIAL_STAGGER_MS;
        (void)dial(core, next);
    }
}

uint64_t endpoint_search_wake_ms(const struct core *core)
{
    uint64_t wake_ms = through_wake_ms(core);

    if (core->leader_count >= core->options.connections) {
        return wake_ms;
    }
    for (int32_t i = 0; i < (int32_t)core->endpoint_count; i++) {
        const struct core_endpoint *endpoint = &core->endpoints[i];
        bool is_company = core->leader_count > 0 && i == core->leader_endpoint &&
                          connection_count_of(core, i) < core->options.connections;
        bool is_search = core->leader_count == 0 && connection_count_of(core, i) == 0;
        if (!is_company && !is_search) {
            continue;
        }
        uint64_t from_ms = policy_dial_ms(core, endpoint);
        if (is_search && i != core->hint_endpoint && from_ms < core->search_ms) {
            from_ms = core->search_ms;
        }
        wake_ms = from_ms < wake_ms ? from_ms : wake_ms;
    }
    return wake_ms;
}
