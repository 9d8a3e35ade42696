/* crdt/gossip.c: digests and deltas.
 *
 * A carrier's updates travel in the order of its versions, without those that later ones replaced.
 * So one number for each carrier says what a store holds, however many counters there are. */
#include "crdt/internal.h"

uint32_t crdt_digest(struct crdt *crdt, struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX])
{
    struct ledger_carrier carrier = {0};
    uint32_t count = 0;

    while (ledger_carrier_next(crdt->ledger, carrier.carrier, &carrier)) {
        struct crdt_held held;

        crdt_held_load(crdt->store, carrier.carrier, &held);
        if (held.version != 0 && carrier.state != LEDGER_CARRIER_LOST) {
            ASSERT_VALUES(count < CRDT_CARRIER_COUNT_MAX, count, CRDT_CARRIER_COUNT_MAX);
            marks[count++] =
                (struct crdt_mark){.carrier = carrier.carrier, .version = held.version};
        }
    }
    return count;
}

bool crdt_delta_since(struct crdt *crdt, struct crdt_carrier carrier, uint64_t after,
                      struct crdt_delta *delta)
{
    struct crdt_held held;
    uint64_t version = after;

    crdt_held_load(crdt->store, carrier, &held);
    if (held.version <= after || !crdt_carrier_is_known(crdt, carrier)) {
        return false;
    }
    delta->carrier = carrier;
    delta->after = after;
    delta->up_to = held.version;
    delta->count = 0;
    while (crdt_entry_next(crdt->store, carrier, version, &delta->updates[delta->count])) {
        version = delta->updates[delta->count].version;
        delta->count++;
        if (delta->count == CRDT_DELTA_COUNT_MAX) {
            delta->up_to = version;
            break;
        }
    }
    return table_error(crdt->store) == ERR_OK;
}

static bool delta_is_well_formed(const struct crdt_delta *delta)
{
    uint64_t version = delta->after;

    if (delta->count > CRDT_DELTA_COUNT_MAX || delta->up_to <= delta->after) {
        return false;
    }
    for (uint32_t i = 0; i < delta->count; i++) {
        const struct crdt_update *update = &delta->updates[i];

        if (update->version <= version || update->version > delta->up_to ||
            !crdt_total_is_valid(&update->total)) {
            return false;
        }
        version = update->version;
    }
    return true;
}

/* An update that is held already is here, or was replaced by a later one, or is folded. */
static bool agrees(struct crdt *crdt, struct crdt_carrier carrier, const struct crdt_update *update)
{
    const struct crdt_total *total = &update->total;
    struct crdt_update present;

    if (ledger_is_folded(crdt->ledger, &total->identity, total->counter)) {
        return true;
    }
    if (!crdt_entry_load(crdt->store, carrier, &total->identity, total->counter, &present)) {
        return false;
    }
    return present.version == update->version
               ? present.total.total == total->total
               : present.version > update->version && present.total.total >= total->total;
}

enum error crdt_delta_check(struct crdt *crdt, const struct crdt_delta *delta)
{
    struct ledger_carrier carrier;
    struct crdt_held held;

    if (!delta_is_well_formed(delta)) {
        return ERR_INVALID;
    }
    if (!ledger_carrier_get(crdt->ledger, delta->carrier, &carrier)) {
        return ERR_NOT_FOUND;
    }
    if (carrier.state == LEDGER_CARRIER_LOST) {
        return ERR_STALE;
    }
    bool is_ours = crdt_carrier_equal(delta->carrier, crdt->carrier);
    crdt_held_load(crdt->store, delta->carrier, &held);
    if (is_ours && delta->up_to > held.version) {
        crdt_disown(crdt);
        return ERR_CORRUPT;
    }
    if (delta->after > held.version) {
        return ERR_SEQUENCE_GAP;
    }
    for (uint32_t i = 0; i < delta->count; i++) {
        const struct crdt_update *update = &delta->updates[i];

        if (update->version <= held.version && !agrees(crdt, delta->carrier, update)) {
            if (is_ours) {
                crdt_disown(crdt);
            }
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

enum error crdt_delta_apply(struct crdt *crdt, const struct crdt_delta *delta)
{
    struct crdt_held held;
    enum error error = crdt_delta_check(crdt, delta);

    if (error != ERR_OK) {
        return error;
    }
    crdt_held_load(crdt->store, delta->carrier, &held);
    for (uint32_t i = 0; i < delta->count; i++) {
        if (delta->updates[i].version > held.version) {
            crdt_join(crdt, delta->carrier, &delta->updates[i]);
        }
    }
    crdt_held_load(crdt->store, delta->carrier, &held);
    if (delta->up_to > held.version) {
        held.version = delta->up_to;
        crdt_held_store(crdt->store, delta->carrier, &held);
    }
    return ERR_OK;
}

uint64_t crdt_lost_count(struct crdt *crdt, const struct crdt_mark *marks, uint32_t count)
{
    uint64_t lost_count = 0;
    struct crdt_held held;

    crdt_held_load(crdt->store, crdt->carrier, &held);
    for (uint32_t i = 0; i < count; i++) {
        if (crdt_carrier_equal(marks[i].carrier, crdt->carrier) &&
            marks[i].version > held.version) {
            lost_count = marks[i].version - held.version;
            crdt_disown(crdt);
        }
    }
    return lost_count;
}

bool crdt_covers(struct crdt *crdt, const struct crdt_mark *marks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct crdt_held held;

        crdt_held_load(crdt->store, marks[i].carrier, &held);
        if (held.version < marks[i].version) {
            return false;
        }
    }
    return true;
}

uint64_t crdt_carrier_hash(struct crdt *crdt, struct crdt_carrier carrier)
{
    struct crdt_held held;

    crdt_held_load(crdt->store, carrier, &held);
    return held.hash;
}
