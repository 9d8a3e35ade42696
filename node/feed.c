/* node/feed.c: two rings: one slot for each change, and the bytes that the slots speak of.
 *
 *   slots   [ .. | first ............... end | .. ]        masked, positions count up
 *   bytes   [ .. | start of first ... used_end | .. ]      positions count up; a change lies in one
 *                                                          piece, so some bytes before the ring's
 *                                                          edge may stay unused */
#include "node/feed.h"

#include "base/assert.h"
#include "kv/kv.h"
#include "raft/entry.h"

_Static_assert((int)FEED_SIZE_MIN >= 2 * (int)RAFT_ENTRY_SIZE_MAX, "the largest entry fits");
_Static_assert((int)FEED_COUNT_MIN >= (int)LEASE_EVENT_COUNT_MAX, "and one with all its events");
_Static_assert((int)KV_KEY_SIZE_MAX <= UINT16_MAX, "its size fits a slot");

struct slot {
    struct feed_place place;
    uint64_t session;
    uint64_t token;
    uint64_t start; /* Of its bytes: name, value, owner and metadata back to back. */
    uint32_t value_size;
    uint16_t name_size;
    uint8_t owner_size;
    uint8_t metadata_size;
    uint8_t kind;
    bool is_kept;
};

struct feed {
    struct slot *slots;
    uint8_t *bytes;
    uint32_t size_max;
    uint32_t count_max;
    uint64_t mask;
    uint64_t first;
    uint64_t end;
    uint64_t used_end;        /* Behind the bytes of the newest change. */
    struct feed_place oldest; /* Nothing behind it is missing. */
    uint64_t revision;
    uint32_t number; /* Of the last change of `revision`. */
    uint64_t epoch;
};

const char *feed_kind_name(enum feed_kind kind)
{
    switch (kind) {
    case FEED_PUT:
        return "put";
    case FEED_DELETE:
        return "delete";
    case FEED_GRANTED:
        return "granted";
    case FEED_RELEASED:
        return "released";
    case FEED_LOST:
        return "lost";
    case FEED_BROKEN:
        return "broken";
    }
    UNREACHABLE();
}

enum feed_space feed_space_of(enum feed_kind kind)
{
    return kind == FEED_PUT || kind == FEED_DELETE ? FEED_KEYS : FEED_LOCKS;
}

int feed_place_compare(struct feed_place a, struct feed_place b)
{
    if (a.revision != b.revision) {
        return a.revision < b.revision ? -1 : 1;
    }
    return a.number < b.number ? -1 : a.number > b.number ? 1 : 0;
}

static uint64_t slot_count(uint32_t count_max)
{
    uint64_t count = 1;

    while (count < count_max) {
        count *= 2;
    }
    return count;
}

size_t feed_memory_size(uint32_t size_max, uint32_t count_max)
{
    return arena_cost(1, sizeof(struct feed)) +
           arena_cost(slot_count(count_max), sizeof(struct slot)) + arena_cost(1, size_max);
}

struct feed *feed_open(struct arena *arena, uint32_t size_max, uint32_t count_max,
                       uint64_t revision)
{
    struct feed *feed = arena_take(arena, 1, sizeof(*feed));

    ASSERT_VALUES(size_max >= FEED_SIZE_MIN && count_max >= FEED_COUNT_MIN, size_max, count_max);
    memset(feed, 0, sizeof(*feed));
    feed->slots = arena_take(arena, slot_count(count_max), sizeof(struct slot));
    feed->bytes = arena_take(arena, 1, size_max);
    feed->size_max = size_max;
    feed->count_max = count_max;
    feed->mask = slot_count(count_max) - 1;
    feed_reset(feed, revision);
    return feed;
}

void feed_reset(struct feed *feed, uint64_t revision)
{
    feed->first = feed->end;
    feed->used_end = 0;
    feed->oldest = (struct feed_place){.revision = revision, .number = FEED_ALL};
    feed->revision = revision;
    feed->number = 0;
    feed->epoch++;
}

void feed_begin(struct feed *feed, uint64_t revision)
{
    ASSERT_VALUES(revision > feed->revision, revision, feed->revision);
    feed->revision = revision;
    feed->number = 0;
}

static struct slot *slot_at(const struct feed *feed, uint64_t position)
{
    return &feed->slots[position & feed->mask];
}

static void drop_first(struct feed *feed)
{
    ASSERT(feed->first < feed->end);
    feed->oldest = slot_at(feed, feed->first)->place;
    feed->first++;
}

/* Where `size` bytes in one piece begin; older changes make room. */
static uint64_t take_bytes(struct feed *feed, size_t size)
{
    uint64_t start = feed->used_end;
    uint64_t left = feed->size_max - start % feed->size_max;

    ASSERT_VALUES(size <= feed->size_max, size, feed->size_max);
    if (size > left) {
        start += left;
    }
    while (feed->first < feed->end &&
           start + size - slot_at(feed, feed->first)->start > feed->size_max) {
        drop_first(feed);
    }
    feed->used_end = start + size;
    return start;
}

static void keep(uint8_t **at, struct bytes bytes)
{
    if (bytes.size != 0) {
        memcpy(*at, bytes.data, bytes.size);
        *at += bytes.size;
    }
}

static void add(struct feed *feed, const struct feed_change *change)
{
    size_t size =
        change->name.size + change->value.size + change->owner.size + change->metadata.size;

    ASSERT_VALUES(change->name.size >= 1 && change->name.size <= UINT16_MAX, change->name.size, 0);
    ASSERT(feed->revision != 0 && feed->number < FEED_ALL - 1);
    if (feed->end - feed->first == feed->count_max) {
        drop_first(feed);
    }
    uint64_t start = take_bytes(feed, size);
    uint8_t *at = feed->bytes + start % feed->size_max;

    keep(&at, change->name);
    keep(&at, change->value);
    keep(&at, change->owner);
    keep(&at, change->metadata);
    feed->number++;
    *slot_at(feed, feed->end) = (struct slot){
        .place = {.revision = feed->revision, .number = feed->number},
        .session = change->session,
        .token = change->token,
        .start = start,
        .value_size = (uint32_t)change->value.size,
        .name_size = (uint16_t)change->name.size,
        .owner_size = (uint8_t)change->owner.size,
        .metadata_size = (uint8_t)change->metadata.size,
        .kind = (uint8_t)change->kind,
        .is_kept = change->is_kept,
    };
    feed->end++;
}

void feed_put(struct feed *feed, struct bytes key, struct bytes value)
{
    const struct feed_change change = {.kind = FEED_PUT, .name = key, .value = value};

    add(feed, &change);
}

void feed_delete(struct feed *feed, struct bytes key)
{
    const struct feed_change change = {.kind = FEED_DELETE, .name = key};

    add(feed, &change);
}

static enum feed_kind kind_of(enum lease_event_kind kind)
{
    switch (kind) {
    case LEASE_GRANTED:
        return FEED_GRANTED;
    case LEASE_RELEASED:
        return FEED_RELEASED;
    case LEASE_LOST:
        return FEED_LOST;
    case LEASE_BROKEN:
        return FEED_BROKEN;
    }
    UNREACHABLE();
}

void feed_locks(struct feed *feed, const struct lease_events *events)
{
    ASSERT(events->count <= LEASE_EVENT_COUNT_MAX);
    for (uint32_t i = 0; i < events->count; i++) {
        const struct lease_event *event = &events->items[i];
        const uint8_t *owner = event->text + event->name_size;
        const struct feed_change change = {
            .kind = kind_of(event->kind),
            .is_kept = event->is_kept,
            .session = event->session,
            .token = event->token,
            .name = bytes_of(event->text, event->name_size),
            .owner = bytes_of(owner, event->owner_size),
            .metadata = bytes_of(owner + event->owner_size, event->metadata_size),
        };

        add(feed, &change);
    }
}

/* --- Reading ---------------------------------------------------------------------------------- */

uint64_t feed_first(const struct feed *feed)
{
    return feed->first;
}

uint64_t feed_end(const struct feed *feed)
{
    return feed->end;
}

uint64_t feed_revision(const struct feed *feed)
{
    return feed->revision;
}

uint64_t feed_epoch(const struct feed *feed)
{
    return feed->epoch;
}

uint64_t feed_oldest(const struct feed *feed)
{
    /* A whole revision, so one that has lost a part of its changes is given up. */
    return feed->oldest.revision;
}

struct feed_change feed_at(const struct feed *feed, uint64_t position)
{
    ASSERT_VALUES(position >= feed->first && position < feed->end, position, feed->end);
    const struct slot *slot = slot_at(feed, position);
    const uint8_t *name = feed->bytes + slot->start % feed->size_max;
    const uint8_t *value = name + slot->name_size;
    const uint8_t *owner = value + slot->value_size;

    return (struct feed_change){
        .place = slot->place,
        .kind = (enum feed_kind)slot->kind,
        .is_kept = slot->is_kept,
        .session = slot->session,
        .token = slot->token,
        .name = bytes_of(name, slot->name_size),
        .value = bytes_of(value, slot->value_size),
        .owner = bytes_of(owner, slot->owner_size),
        .metadata = bytes_of(owner + slot->owner_size, slot->metadata_size),
    };
}

bool feed_find(const struct feed *feed, struct feed_place place, uint64_t *position)
{
    uint64_t low = feed->first;
    uint64_t high = feed->end;

    if (feed_place_compare(place, feed->oldest) < 0) {
        return false;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (feed_place_compare(slot_at(feed, middle)->place, place) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *position = low;
    return true;
}

void feed_check(const struct feed *feed)
{
    struct feed_place before = feed->oldest;
    uint64_t used = feed->first < feed->end ? slot_at(feed, feed->first)->start : feed->used_end;

    ASSERT_VALUES(feed->end - feed->first <= feed->count_max, feed->first, feed->end);
    ASSERT_VALUES(feed->used_end - used <= feed->size_max, used, feed->used_end);
    for (uint64_t i = feed->first; i < feed->end; i++) {
        struct feed_change change = feed_at(feed, i);
        uint64_t start = slot_at(feed, i)->start;
        uint64_t end =
            start + change.name.size + change.value.size + change.owner.size + change.metadata.size;

        ASSERT(feed_place_compare(before, change.place) < 0);
        ASSERT_VALUES(start >= used && end <= feed->used_end, start, end);
        ASSERT_VALUES(start % feed->size_max + (end - start) <= feed->size_max, start, end);
        before = change.place;
        used = end;
    }
    ASSERT_VALUES(before.number == FEED_ALL || before.revision <= feed->revision, before.revision,
                  feed->revision);
}
