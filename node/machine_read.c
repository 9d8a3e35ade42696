/* node/machine_read.c: answers from the table at the applied index.
 *
 * A listing stops at its item limit, or when the next item would not fit, and then says `more`; the
 * client asks again behind the last item that it got. */
#include "node/machine_read.h"

#include "base/assert.h"
#include "kv/kv.h"
#include "lease/lease.h"
#include "node/machine.h"

static struct bytes mode_text(enum lease_mode mode)
{
    switch (mode) {
    case LEASE_EXCLUSIVE:
        return bytes_of_text("exclusive");
    case LEASE_SHARED:
        return bytes_of_text("shared");
    case LEASE_PERMITS:
        return bytes_of_text("permits");
    }
    UNREACHABLE();
}

/* What a listing's answer adds to its items. */
enum { LISTING_OVERHEAD = 256 };

enum { LISTING_SKIP_COUNT_MAX = 1000 }; /* Keys of dead sessions that one listing passes over. */

struct listing {
    struct buffer *items;
    size_t size_max;
    uint32_t count;
    uint32_t count_max;
    bool more;
};

static struct listing listing_begin(struct machine_reader *reader, uint32_t limit)
{
    size_t room = buffer_room(reader->out);
    uint32_t count_max =
        limit == 0 || limit > WIRE_LIST_ITEM_COUNT_MAX ? (uint32_t)WIRE_LIST_ITEM_COUNT_MAX : limit;

    reader->items.size = 0;
    return (struct listing){
        .items = &reader->items,
        .size_max = room > LISTING_OVERHEAD ? room - LISTING_OVERHEAD : 0,
        .count_max = count_max,
    };
}

/* True when there may be room for one more item; otherwise the listing ends with `more`. */
static bool listing_has_room(struct listing *listing)
{
    if (listing->count == listing->count_max) {
        listing->more = true;
        return false;
    }
    return true;
}

/* Takes back an item that made the listing too long. */
static bool listing_add(struct listing *listing, size_t size_before, bool encoded)
{
    if (!encoded || listing->items->size > listing->size_max) {
        listing->items->size = size_before;
        listing->more = true;
        return false;
    }
    listing->count++;
    return true;
}

static struct wire_items listing_items(const struct listing *listing)
{
    return (struct wire_items){.raw = buffer_bytes(listing->items), .count = listing->count};
}

/* A key is gone with its session, though its record may still be there. */
static bool is_gone(const struct machine_reader *reader, const struct kv_pair *pair)
{
    return pair->session != 0 &&
           !lease_session_is_alive(reader->table, pair->session, reader->log_ms);
}

static enum error read_get(struct machine_reader *reader, struct bytes params)
{
    struct wire_get get;
    struct kv_pair pair;
    enum error error = wire_get_decode(&params, &get);

    if (error != ERR_OK) {
        return error;
    }
    if (!kv_get(reader->table, get.key, &pair) || is_gone(reader, &pair)) {
        return ERR_NOT_FOUND;
    }
    struct wire_get_result result = {
        .value = pair.value, .revision = pair.revision, .session = pair.session};
    return wire_get_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error read_list(struct machine_reader *reader, struct bytes params)
{
    struct wire_list list;
    struct kv_pair pair;
    enum error error = wire_list_decode(&params, &list);

    if (error != ERR_OK) {
        return error;
    }
    struct listing listing = listing_begin(reader, list.limit);
    listing.size_max -= size_min(listing.size_max, KV_KEY_SIZE_MAX); /* Of `after` in the answer. */
    struct bytes after = list.after;
    uint32_t skip_count = 0;
    while (kv_next(reader->table, list.prefix, after, &pair) && listing_has_room(&listing)) {
        struct wire_pair item = {.key = pair.key,
                                 .value = pair.value,
                                 .revision = pair.revision,
                                 .session = pair.session};
        size_t before = listing.items->size;

        if (is_gone(reader, &pair)) {
            listing.more = ++skip_count == LISTING_SKIP_COUNT_MAX;
        } else if (!listing_add(&listing, before, wire_pair_encode(&item, listing.items))) {
            break;
        }
        after = pair.key;
        if (listing.more) {
            break;
        }
    }
    struct wire_list_result result = {
        .items = listing_items(&listing), .more = listing.more, .revision = reader->revision};
    if (skip_count == LISTING_SKIP_COUNT_MAX) {
        result.after = after;
    }
    return wire_list_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static uint64_t left_until(uint64_t deadline_ms, uint64_t now_ms)
{
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

static enum error read_session_list(struct machine_reader *reader, struct bytes params)
{
    struct wire_session_list list;
    struct lease_session_view view;
    enum error error = wire_session_list_decode(&params, &list);

    if (error != ERR_OK) {
        return error;
    }
    struct listing listing = listing_begin(reader, list.limit);
    uint64_t after = list.after;
    while (lease_session_next(reader->table, after, reader->log_ms, &view) &&
           listing_has_room(&listing)) {
        struct wire_session_item item = {
            .session = view.id,
            .owner = view.owner,
            .ttl_ms = view.ttl_ms,
            .age_ms = left_until(reader->now_ms, view.opened_ms),
            .left_ms = left_until(view.deadline_ms, reader->now_ms),
        };
        size_t before = listing.items->size;

        if (!listing_add(&listing, before, wire_session_item_encode(&item, listing.items))) {
            break;
        }
        after = view.id;
    }
    struct wire_session_list_result result = {.items = listing_items(&listing),
                                              .more = listing.more};
    return wire_session_list_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error read_lock_list(struct machine_reader *reader, struct bytes params)
{
    struct wire_lock_list list;
    struct lease_lock_view view;
    enum error error = wire_lock_list_decode(&params, &list);

    if (error != ERR_OK) {
        return error;
    }
    struct listing listing = listing_begin(reader, list.limit);
    struct bytes after = list.after;
    while (lease_lock_next(reader->table, list.prefix, after, &view) &&
           listing_has_room(&listing)) {
        struct wire_lock_item item = {
            .name = view.name,
            .session = view.holder,
            .owner = view.owner,
            .token = view.token,
            .age_ms = left_until(reader->now_ms, view.granted_ms),
            .left_ms = left_until(view.deadline_ms, reader->now_ms),
            .waiters = view.waiter_count,
            .mode = mode_text(view.mode),
            .holders = view.hold_count,
            .permits = view.limit,
            .used = view.used,
        };
        size_t before = listing.items->size;

        if (!listing_add(&listing, before, wire_lock_item_encode(&item, listing.items))) {
            break;
        }
        after = view.name;
    }
    struct wire_lock_list_result result = {
        .items = listing_items(&listing), .more = listing.more, .revision = reader->revision};
    return wire_lock_list_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static void list_waiters(struct machine_reader *reader, struct bytes name, struct listing *listing)
{
    struct lease_waiter_view waiter;
    uint64_t after = 0;

    while (lease_waiter_next(reader->table, name, after, &waiter) && listing_has_room(listing)) {
        struct wire_waiter item = {
            .session = waiter.session,
            .owner = waiter.owner,
            .position = listing->count + 1U,
            .mode = mode_text(waiter.mode),
            .units = waiter.units,
            .metadata = waiter.metadata,
        };
        size_t before = listing->items->size;

        if (!listing_add(listing, before, wire_waiter_encode(&item, listing->items))) {
            break;
        }
        after = waiter.ticket;
    }
}

static void list_holders(struct machine_reader *reader, struct bytes name, struct listing *listing)
{
    struct lease_hold_view hold;
    lease_token after = 0;

    while (lease_hold_next(reader->table, name, after, &hold) && listing_has_room(listing)) {
        struct wire_holder item = {
            .session = hold.session,
            .owner = hold.owner,
            .token = hold.token,
            .age_ms = left_until(reader->now_ms, hold.granted_ms),
            .left_ms = left_until(hold.deadline_ms, reader->now_ms),
            .units = hold.units,
            .lost = hold.is_lost,
            .metadata = hold.metadata,
        };
        size_t before = listing->items->size;

        if (!listing_add(listing, before, wire_holder_encode(&item, listing->items))) {
            break;
        }
        after = hold.token;
    }
}

static enum error read_lock_show(struct machine_reader *reader, struct bytes params)
{
    struct wire_lock_show show;
    struct lease_lock_view view;
    enum error error = wire_lock_show_decode(&params, &show);

    if (error != ERR_OK) {
        return error;
    }
    if (!lease_lock_get(reader->table, show.name, &view)) {
        return ERR_NOT_FOUND;
    }
    /* The queue takes what the holders leave, and they at most half. */
    struct listing holders = listing_begin(reader, 0);
    size_t size_max = holders.size_max;

    holders.size_max = size_max / 2;
    list_holders(reader, show.name, &holders);
    size_t holders_size = holders.items->size;
    struct buffer rest =
        buffer_of(reader->items.data + holders_size, reader->items.capacity - holders_size);
    struct listing queue = {
        .items = &rest,
        .size_max = size_max - holders_size,
        .count_max = WIRE_LIST_ITEM_COUNT_MAX,
    };
    list_waiters(reader, show.name, &queue);
    struct wire_lock_show_result result = {
        .mode = mode_text(view.mode),
        .holders = listing_items(&holders),
        .queue = listing_items(&queue),
        .more = holders.more || queue.more,
        .permits = view.limit,
        .used = view.used,
        .waiters = view.waiter_count,
    };
    return wire_lock_show_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error read_audit_list(struct machine_reader *reader, struct bytes params)
{
    struct wire_audit_list list;
    struct lease_audit_view view;
    enum error error = wire_audit_list_decode(&params, &list);

    if (error != ERR_OK) {
        return error;
    }
    struct listing listing = listing_begin(reader, list.limit);
    uint64_t after = list.after;
    while (lease_audit_next(reader->table, after, &view) && listing_has_room(&listing)) {
        struct wire_audit_item item = {
            .number = view.number,
            .age_ms = left_until(reader->now_ms, view.log_ms),
            .wall_ms = view.wall_ms,
            .name = view.name,
            .token = view.token,
            .session = view.session,
            .owner = view.owner,
            .by = view.by,
            .reason = view.reason,
        };
        size_t before = listing.items->size;

        if (!listing_add(&listing, before, wire_audit_item_encode(&item, listing.items))) {
            break;
        }
        after = view.number;
    }
    struct wire_audit_list_result result = {.items = listing_items(&listing), .more = listing.more};
    return wire_audit_list_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error read_election_show(struct machine_reader *reader, struct bytes params)
{
    struct wire_election_show show;
    enum error error = wire_election_show_decode(&params, &show);

    if (error != ERR_OK) {
        return error;
    }
    struct machine_leader leader;
    machine_reader_leader(reader->table, show.name, &leader);
    struct wire_election_show_result result = {
        .token = leader.hold.token,
        .session = leader.hold.session,
        .owner = leader.hold.owner,
        .value = leader.hold.metadata,
        .age_ms = left_until(reader->now_ms, leader.hold.granted_ms),
        .left_ms = left_until(leader.hold.deadline_ms, reader->now_ms),
        .waiters = leader.waiter_count,
    };
    if (leader.hold.token == 0) {
        result.age_ms = 0;
    }
    return wire_election_show_result_encode(&result, reader->out) ? ERR_OK : ERR_TOO_LARGE;
}

void machine_reader_leader(struct table *table, struct bytes name, struct machine_leader *leader)
{
    struct lease_lock_view lock;

    *leader = (struct machine_leader){.waiter_count = 0};
    if (!lease_lock_get(table, name, &lock)) {
        return;
    }
    leader->waiter_count = lock.waiter_count;
    if (!lease_hold_next(table, name, 0, &leader->hold) || leader->hold.is_lost) {
        leader->hold = (struct lease_hold_view){.token = 0}; /* Nobody until its delay is over. */
    }
}

bool machine_is_read(enum wire_method method)
{
    return method == WIRE_METHOD_get || method == WIRE_METHOD_list ||
           method == WIRE_METHOD_session_list || method == WIRE_METHOD_lock_list ||
           method == WIRE_METHOD_lock_show || method == WIRE_METHOD_audit_list ||
           method == WIRE_METHOD_election_show;
}

enum error machine_reader_read(struct machine_reader *reader, enum wire_method method,
                               struct bytes params)
{
    ASSERT_VALUES(machine_is_read(method), method, 0);
    if (method == WIRE_METHOD_get) {
        return read_get(reader, params);
    }
    if (method == WIRE_METHOD_list) {
        return read_list(reader, params);
    }
    if (method == WIRE_METHOD_session_list) {
        return read_session_list(reader, params);
    }
    if (method == WIRE_METHOD_lock_list) {
        return read_lock_list(reader, params);
    }
    if (method == WIRE_METHOD_audit_list) {
        return read_audit_list(reader, params);
    }
    if (method == WIRE_METHOD_election_show) {
        return read_election_show(reader, params);
    }
    return read_lock_show(reader, params);
}
