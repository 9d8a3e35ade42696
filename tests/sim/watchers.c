/* tests/sim/watchers.c: what clients that watch are told must be what happened.
 *
 * Every node's feed is read after each of its turns. All feeds must tell the same, and together
 * they are the record of what happened. Each watcher must be told all of the record that it
 * watches, behind where it began, once and in order, whichever nodes it hears it from; and in the
 * end it has all of it. Only COMPACTED lets it go on from somewhere else. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "node/internal.h"
#include "tests/sim/sim.h"

enum { WATCH_TIMEOUT_MS = 20000, WATCH_START_MS_MAX = 3000 };

/* --- The record ---------------------------------------------------------------------------------
 */

static uint64_t hash_of(const char *kind, const struct wire_changed *changed)
{
    uint64_t hash = checksum(bytes_of_text(kind), changed->token);

    hash = checksum_pair(changed->value, changed->owner, hash ^ changed->session);
    return checksum(changed->metadata, hash ^ changed->kept);
}

static struct sim_change change_of(const struct feed_change *change)
{
    const struct wire_changed changed = {.value = change->value,
                                         .session = change->session,
                                         .token = change->token,
                                         .owner = change->owner,
                                         .metadata = change->metadata,
                                         .kept = change->is_kept};
    struct sim_change noted = {.revision = change->place.revision,
                               .number = change->place.number,
                               .is_lock = feed_space_of(change->kind) == FEED_LOCKS,
                               .name_size = change->name.size,
                               .hash = hash_of(feed_kind_name(change->kind), &changed)};

    ASSERT(noted.name_size <= sizeof(noted.name));
    memcpy(noted.name, change->name.data, noted.name_size);
    return noted;
}

/* -1, 0 or 1, by place. */
static int compare(const struct sim_change *change, uint64_t revision, uint32_t number)
{
    if (change->revision != revision) {
        return change->revision < revision ? -1 : 1;
    }
    return change->number < number ? -1 : change->number > number;
}

/* The first of the record behind that place; `number` 0: behind all of the revision. */
static uint32_t record_behind(const struct sim_record *record, uint64_t revision, uint32_t number)
{
    uint32_t low = 0;
    uint32_t high = record->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare(&record->all[middle], revision, number == 0 ? UINT32_MAX : number) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void append(struct sim_record *record, const struct sim_change *change)
{
    if (record->count == record->capacity) {
        record->capacity = 2 * record->capacity + 1024;
        record->all = realloc(record->all, record->capacity * sizeof(record->all[0]));
        ASSERT(record->all != NULL);
    }
    record->all[record->count++] = *change;
}

static void note(struct sim *sim, uint32_t place, const struct sim_change *change)
{
    struct sim_record *record = &sim->record;
    const struct sim_change *last = record->count == 0 ? NULL : &record->all[record->count - 1];

    if (last == NULL || compare(last, change->revision, change->number) < 0) {
        append(record, change);
        return;
    }
    uint32_t at = record_behind(record, change->revision, change->number);
    const struct sim_change *known = at == 0 ? NULL : &record->all[at - 1];

    if (record->is_partial && (known == NULL || known->revision != change->revision)) {
        return;
    }
    SIM_CHECK(sim, feeds_agree,
              known != NULL && compare(known, change->revision, change->number) == 0 &&
                  known->hash == change->hash && known->is_lock == change->is_lock &&
                  bytes_equal(bytes_of(known->name, known->name_size),
                              bytes_of(change->name, change->name_size)),
              place, change->revision);
}

void sim_record_started(struct sim *sim, uint32_t place)
{
    sim->record.epochs[place] = 0;
}

void sim_record_turn(struct sim *sim, uint32_t place)
{
    struct sim_record *record = &sim->record;
    const struct feed *feed = sim->cluster->worlds[place].node->feed;
    uint64_t *position = &record->positions[place];

    if (record->epochs[place] != feed_epoch(feed)) {
        record->epochs[place] = feed_epoch(feed);
        *position = feed_first(feed);
    } else if (*position < feed_first(feed)) {
        /* More in one turn than a feed holds. If others have not told it, nobody will. */
        struct feed_change oldest = feed_at(feed, feed_first(feed));

        record->is_partial = record->is_partial || record->count == 0 ||
                             compare(&record->all[record->count - 1], oldest.place.revision,
                                     oldest.place.number) < 0;
        *position = feed_first(feed);
    }
    for (; *position < feed_end(feed); (*position)++) {
        struct feed_change change = feed_at(feed, *position);
        struct sim_change noted = change_of(&change);

        note(sim, place, &noted);
    }
}

void sim_record_close(struct sim *sim)
{
    free(sim->record.all);
}

/* --- Watchers -----------------------------------------------------------------------------------
 */

static bool is_watched(const struct sim_watch *watch, const struct sim_change *change)
{
    struct bytes name = bytes_of(change->name, change->name_size);

    return change->is_lock == watch->core.locks &&
           (watch->core.exact ? bytes_equal(name, watch->core.prefix)
                              : bytes_has_prefix(name, watch->core.prefix));
}

/* The next of the record that it is to be told; NULL: it has all. */
static const struct sim_change *next_of(const struct sim *sim, struct sim_watch *watch)
{
    for (; watch->at < sim->record.count; watch->at++) {
        if (is_watched(watch, &sim->record.all[watch->at])) {
            return &sim->record.all[watch->at];
        }
    }
    return NULL;
}

/* Where it begins is only known from what it is told first. */
static void settle(const struct sim *sim, struct sim_watch *watch,
                   const struct wire_changed *change)
{
    if (!watch->is_settled) {
        watch->is_settled = true;
        watch->at = record_behind(&sim->record, change->revision, change->number);
        watch->at -= change->number != 0 && watch->at > 0 ? 1 : 0;
    }
}

static void take(struct sim *sim, struct sim_client *client, const struct wire_changed *change)
{
    struct sim_watch *watch = &client->watch;

    settle(sim, watch, change);
    const struct sim_change *next = next_of(sim, watch);

    if (sim->record.is_partial) {
        return;
    }
    if (change->number == 0) {
        SIM_CHECK(sim, progress_skips_nothing, next == NULL || next->revision > change->revision,
                  client->number, change->revision);
        SOMETIMES(sim, watch_progress);
        return;
    }
    char kind[17] = "";

    memcpy(kind, change->kind.data, change->kind.size);
    SIM_CHECK(sim, watchers_are_told_all_once_in_order,
              next != NULL && compare(next, change->revision, change->number) == 0 &&
                  bytes_equal(bytes_of(next->name, next->name_size), change->name) &&
                  next->hash == hash_of(kind, change),
              client->number, change->revision);
    watch->at++;
    sim_trace(sim, change->revision << 8 ^ change->number);
    SOMETIMES(sim, watch_told);
}

static void ended(struct sim *sim, struct sim_client *client)
{
    struct sim_watch *watch = &client->watch;
    const struct core_watch *core = &watch->core;

    sim_print(sim, "client %u: watch ended: %s", client->number, error_name(core->status));
    watch->is_used = false;
    if (core->status == ERR_COMPACTED) {
        SIM_CHECK(sim, compacted_is_older,
                  core->oldest_revision > core->revision ||
                      (core->oldest_revision == core->revision && core->change_number != 0),
                  core->revision, core->oldest_revision);
        SOMETIMES(sim, watch_compacted);
        watch->goes_on = false;
        return;
    }
    SIM_CHECK(sim, watches_end_for_a_reason, core->status == ERR_NO_QUORUM, client->number,
              core->status);
    watch->goes_on = core->revision != 0;
}

void sim_watch_tell(struct sim *sim, struct sim_client *client)
{
    const struct core_event *event;
    const struct core_watch *core;

    while ((event = core_next_event(&client->core)) != NULL) {
        ASSERT(event->watch == &client->watch.core);
        take(sim, client, &event->change);
    }
    core = client->watch.core.connection == NULL ? NULL : &client->watch.core;
    if (core != NULL && core->state == CORE_WATCH_LIVE) {
        uint32_t place = client->links[core->connection->index].place;
        const struct node *node = sim->cluster->worlds[place].node;

        if (client->watch.number != core->number) {
            client->watch.number = core->number;
            if (client->watch.was_live) {
                SOMETIMES(sim, watch_went_on);
            }
            if (node != NULL && !node_leads(node)) {
                SOMETIMES(sim, watch_at_follower);
            }
            client->watch.was_live = true;
        }
    }
    while (core_next_watch_ended(&client->core) != NULL) {
        ended(sim, client);
    }
}

static void choose(const struct sim *sim, struct sim_client *client)
{
    static const char *const prefixes[] = {"", "k", "k1", "l", "l0"};
    struct sim_watch *watch = &client->watch;
    struct core_watch *core = &watch->core;
    const struct sim_record *record = &sim->record;
    const char *prefix = prefixes[prng_below(&watch->prng, COUNT_OF(prefixes))];

    memset(core, 0, sizeof(*core));
    core->prefix = bytes_of_text(prefix);
    core->locks = prefix[0] == 'l' || (prefix[0] == '\0' && prng_below(&watch->prng, 2) == 0);
    core->exact = prefix[0] != '\0' && prng_below(&watch->prng, 4) == 0;
    watch->is_settled = false;
    if (record->count > 0 && prng_below(&watch->prng, 4) != 0) {
        /* What a list would say, or long ago. */
        uint32_t back = prng_below(&watch->prng, 2) == 0
                            ? 0
                            : (uint32_t)prng_below(&watch->prng, record->count);
        const struct sim_change *from = &record->all[record->count - 1 - back];

        core->revision = from->revision;
        core->change_number = prng_below(&watch->prng, 2) == 0 ? from->number : 0;
        watch->is_settled = true;
        watch->at = record_behind(record, core->revision, core->change_number);
    }
}

void sim_watch_act(struct sim *sim, struct sim_client *client)
{
    struct sim_watch *watch = &client->watch;

    if (!sim->plan->knobs.has_watches || watch->is_used || sim->cluster->now_ms < watch->start_ms) {
        return;
    }
    watch->start_ms = sim->cluster->now_ms + prng_below(&watch->prng, WATCH_START_MS_MAX);
    if (!watch->goes_on) {
        choose(sim, client);
        watch->was_live = false;
    }
    watch->core.slot = 0;
    watch->core.timeout_ms = WATCH_TIMEOUT_MS;
    watch->is_used = true;
    core_watch_start(&client->core, &watch->core);
}

bool sim_watches_have_all(struct sim *sim)
{
    if (sim->record.is_partial || !sim->plan->knobs.has_watches) {
        return true;
    }
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        struct sim_watch *watch = &sim->clients[i].watch;

        if (watch->is_used && watch->is_settled && next_of(sim, watch) != NULL) {
            return false;
        }
    }
    return true;
}
