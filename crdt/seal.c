/* crdt/seal.c: this node's part in sealing and folding, and what becomes of lost carriers.
 *
 * A fold must have the last total of each identity. Clients stop at the seal; so what a carrier had
 * stamped when it learned of the seal is all there will be of it, and a leader that holds every
 * carrier up to there has the last totals. A lost carrier confirms nothing. Instead each other one
 * stamps anew what it holds of it, before it confirms the loss; totals are joined by maximum, so it
 * does not matter that several do. */
#include "crdt/internal.h"

enum { ADOPT_STEP_COUNT_MAX = 64 };

static bool adopt_seek(struct crdt *crdt, struct crdt_update *update)
{
    if (crdt->adopted.epoch != 0 &&
        crdt_entry_next(crdt->store, crdt->adopted, crdt->adopted_version, update)) {
        return true;
    }
    while (crdt_carrier_lost_next(crdt, crdt->adopted, &crdt->adopted)) {
        if (crdt_entry_next(crdt->store, crdt->adopted, 0, update)) {
            return true;
        }
    }
    return false;
}

static void adopt_restart(struct crdt *crdt)
{
    crdt->adopted = (struct crdt_carrier){0};
    crdt->adopted_version = 0;
    crdt->adopted_stamp = 0;
}

/* Nothing is lost when it goes: folded, or in an entry of ours. */
static bool is_adopted(struct crdt *crdt, const struct crdt_total *total)
{
    struct crdt_update ours;

    return ledger_is_folded(crdt->ledger, &total->identity, total->counter) ||
           (crdt_entry_load(crdt->store, crdt->carrier, &total->identity, total->counter, &ours) &&
            ours.total.total >= total->total);
}

static void adopted_drop(struct crdt *crdt, const struct crdt_total *total)
{
    struct crdt_key copy = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);
    struct crdt_identity identity;
    struct crdt_counter counter;

    crdt_key_add_cell(&copy, &total->identity, total->counter);
    (void)crdt_cell_decode(bytes_skip(crdt_key_bytes(&copy), 2), &identity, &counter);
    crdt_entry_drop(crdt->store, crdt->adopted, &identity, counter);
}

bool crdt_adopt_next(struct crdt *crdt, struct crdt_update *update)
{
    struct ledger_view view;
    struct crdt_held held;

    ledger_view(crdt->ledger, &view);
    crdt_held_load(crdt->store, crdt->carrier, &held);
    if (view.lost_index != crdt->adopted_index) {
        crdt->adopted_index = view.lost_index;
        adopt_restart(crdt);
    }
    if (crdt->pending_count == crdt->options.pending_count_max || !crdt_carrier_is_usable(crdt)) {
        return false;
    }
    for (uint32_t step = 0; step < ADOPT_STEP_COUNT_MAX; step++) {
        struct crdt_update found;

        if (!adopt_seek(crdt, &found)) {
            /* A second walk drops what the first has stamped, once that is in. */
            if (crdt->adopted_stamp != 0 && crdt->adopted_stamp <= held.version) {
                adopt_restart(crdt);
                continue;
            }
            return false;
        }
        crdt->adopted_version = found.version;
        if (!is_adopted(crdt, &found.total)) {
            crdt_stamp(crdt, &found.total, 0, update);
            crdt->adopted_stamp = update->version;
            return true;
        }
        adopted_drop(crdt, &found.total);
    }
    return false;
}

static bool holds_lost(struct crdt *crdt)
{
    struct crdt_carrier lost = {0};
    struct crdt_update update;

    while (crdt_carrier_lost_next(crdt, lost, &lost)) {
        if (crdt_entry_next(crdt->store, lost, 0, &update)) {
            return true;
        }
    }
    return false;
}

bool crdt_confirm_next(struct crdt *crdt, struct crdt_carrier *carrier, uint64_t *index,
                       uint64_t *version)
{
    struct ledger_carrier ours;
    struct ledger_view view;
    struct crdt_held held;

    ledger_view(crdt->ledger, &view);
    if (!crdt_carrier_is_usable(crdt) || !ledger_carrier_get(crdt->ledger, crdt->carrier, &ours)) {
        return false;
    }
    if (crdt->confirm_index <= ours.confirmed_index) {
        /* The last one is in the ledger. */
        crdt->confirm_index = 0;
    }
    if (crdt->confirm_index < view.lost_index && crdt->confirm_index != 0) {
        /* What it was to confirm is not enough any more. */
        crdt->confirm_index = 0;
    }
    if (crdt->confirm_index == 0) {
        if (view.confirm_index <= ours.confirmed_index || holds_lost(crdt)) {
            return false;
        }
        crdt->confirm_index = view.confirm_index;
        crdt->confirm_version = crdt->stamped;
    }
    crdt_held_load(crdt->store, crdt->carrier, &held);
    *carrier = crdt->carrier;
    *index = crdt->confirm_index;
    *version = crdt->confirm_version;
    if (held.version < crdt->confirm_version) {
        return false;
    }
    crdt_promise_replay(crdt, &(struct crdt_promise){.confirm_index = crdt->confirm_index});
    return true;
}

/* True when this node holds all that the carriers confirmed. */
static bool covers_confirmed(struct crdt *crdt)
{
    struct ledger_carrier carrier = {0};

    while (ledger_carrier_next(crdt->ledger, carrier.carrier, &carrier)) {
        struct crdt_held held;

        crdt_held_load(crdt->store, carrier.carrier, &held);
        if (carrier.state != LEDGER_CARRIER_LOST && held.version < carrier.confirmed_version) {
            return false;
        }
    }
    return true;
}

/* Adds the live cells behind `from` whose keys begin with its first `size` bytes. */
static void fold_collect(struct crdt *crdt, struct crdt_key *from, size_t size,
                         struct ledger_fold *fold)
{
    struct bytes key;
    struct bytes value;

    fold->is_last = true;
    while (crdt_record_seek(crdt->store, from, size, false, &key, &value)) {
        struct crdt_total total;

        struct bytes rest = crdt_cell_decode(bytes_skip(key, 2), &total.identity, &total.counter);
        if (fold->is_generations && total.identity.generation >= fold->below) {
            return;
        }
        /* Behind the entries of this cell. */
        memcpy(from->data, key.data, key.size);
        memset(from->data + key.size - rest.size, 0xff, rest.size);
        from->size = key.size;
        if (ledger_is_folded(crdt->ledger, &total.identity, total.counter)) {
            continue;
        }
        if (fold->count == CRDT_FOLD_COUNT_MAX) {
            fold->is_last = false;
            return;
        }
        total.total = crdt_cell_total(crdt->store, &total.identity, total.counter);
        fold->totals[fold->count++] = total;
    }
}

bool crdt_fold_next(struct crdt *crdt, struct ledger_fold *fold)
{
    struct crdt_key from = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);
    struct ledger_view view;
    uint64_t index = 0;

    ledger_view(crdt->ledger, &view);
    *fold = (struct ledger_fold){.lost_index = view.lost_index, .below = view.sealed_below};
    if (!covers_confirmed(crdt)) {
        return false;
    }
    if (view.floor < view.sealed_below &&
        ledger_is_confirmed(crdt->ledger, view.generations_seal_index)) {
        fold->is_generations = true;
    } else if (ledger_sealed_next(crdt->ledger, &index, &fold->identity) &&
               ledger_is_confirmed(crdt->ledger, index)) {
        crdt_key_add_identity(&from, &fold->identity);
    } else {
        return false;
    }
    fold_collect(crdt, &from, from.size, fold);
    return table_error(crdt->store) == ERR_OK;
}

/* Drops the live cells whose keys begin with `from`, and that `below` is above when it is not 0. */
static uint64_t cells_drop(struct crdt *crdt, const struct crdt_key *from, uint64_t below)
{
    struct bytes key;
    struct bytes value;
    uint64_t count = 0;

    while (crdt_record_seek(crdt->store, from, from->size, false, &key, &value)) {
        struct crdt_identity identity;
        struct crdt_counter counter;
        struct crdt_key copy;

        ASSERT(key.size <= sizeof(copy.data));
        memcpy(copy.data, key.data, key.size);
        copy.size = key.size;
        (void)crdt_cell_decode(bytes_skip(crdt_key_bytes(&copy), 2), &identity, &counter);
        if (below != 0 && identity.generation >= below) {
            break;
        }
        count += crdt_cell_drop(crdt->store, &identity, counter);
    }
    return count;
}

/* Carriers that the ledger has forgotten: known to it before the seal, and no longer. */
static void held_forget(struct crdt *crdt, const struct ledger_view *view)
{
    struct crdt_key from = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_HELD);
    struct ledger_carrier known;
    struct bytes key;
    struct bytes value;

    while (crdt_record_seek(crdt->store, &from, 2, false, &key, &value)) {
        struct crdt_carrier carrier = crdt_carrier_decode(bytes_skip(key, 2));

        from.size = 2;
        crdt_key_add_carrier(&from, carrier);
        if (carrier.epoch < view->generations_seal_index &&
            !ledger_carrier_get(crdt->ledger, carrier, &known)) {
            struct crdt_update update;

            ASSERT(!crdt_entry_next(crdt->store, carrier, 0, &update));
            crdt_record_erase(crdt->store, &from);
        }
    }
}

uint64_t crdt_fold_applied(struct crdt *crdt, const struct ledger_fold *fold)
{
    struct crdt_key from = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);
    struct ledger_view view;
    uint64_t late_count = 0;

    for (uint32_t i = 0; i < fold->count; i++) {
        const struct crdt_total *total = &fold->totals[i];

        late_count +=
            crdt_cell_total(crdt->store, &total->identity, total->counter) > total->total ? 1 : 0;
        (void)crdt_cell_drop(crdt->store, &total->identity, total->counter);
    }
    if (!fold->is_last) {
        return late_count;
    }
    ledger_view(crdt->ledger, &view);
    if (!fold->is_generations) {
        crdt_key_add_identity(&from, &fold->identity);
        return late_count + cells_drop(crdt, &from, 0);
    }
    late_count += cells_drop(crdt, &from, fold->below);
    held_forget(crdt, &view);
    return late_count;
}
