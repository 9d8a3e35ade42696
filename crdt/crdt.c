/* crdt/crdt.c: opening, our own carrier, counting and reading. */
#include "crdt/internal.h"

size_t crdt_memory_size(const struct crdt_options *options)
{
    return arena_cost(1, sizeof(struct crdt)) +
           arena_cost(options->pending_count_max, sizeof(struct crdt_pending));
}

/* What was folded while this node, or the commit of its store, was behind. */
static void drop_folded(struct crdt *crdt)
{
    struct crdt_key from = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);
    struct crdt_identity identity;
    struct crdt_counter counter;
    struct bytes key;
    struct bytes value;

    while (crdt_record_seek(crdt->store, &from, 2, false, &key, &value)) {
        ASSERT(key.size <= sizeof(from.data));
        memcpy(from.data, key.data, key.size);
        from.size = key.size;
        (void)crdt_cell_decode(bytes_skip(crdt_key_bytes(&from), 2), &identity, &counter);
        if (ledger_is_folded(crdt->ledger, &identity, counter)) {
            (void)crdt_cell_drop(crdt->store, &identity, counter);
        }
    }
}

struct crdt *crdt_open(struct arena *arena, const struct crdt_options *options, struct table *store,
                       struct table *ledger)
{
    struct crdt *crdt = arena_take(arena, 1, sizeof(*crdt));

    ASSERT(options->pending_count_max >= 1);
    ASSERT(store != ledger);
    *crdt = (struct crdt){.options = *options, .store = store, .ledger = ledger};
    crdt->pending = arena_take(arena, options->pending_count_max, sizeof(*crdt->pending));
    drop_folded(crdt);
    return crdt;
}

void crdt_join(struct crdt *crdt, struct crdt_carrier carrier, const struct crdt_update *update)
{
    const struct crdt_total *total = &update->total;
    struct crdt_held held;

    crdt_held_load(crdt->store, carrier, &held);
    ASSERT_VALUES(update->version > held.version, update->version, held.version);
    if (!ledger_is_folded(crdt->ledger, &total->identity, total->counter)) {
        crdt_entry_join(crdt->store, carrier, update);
        crdt_held_load(crdt->store, carrier, &held);
    }
    held.version = update->version;
    crdt_held_store(crdt->store, carrier, &held);
}

void crdt_replay(struct crdt *crdt, struct crdt_carrier carrier, const struct crdt_update *update)
{
    struct crdt_held held;

    ASSERT(crdt->carrier.epoch == 0);
    ASSERT(crdt_total_is_valid(&update->total));
    crdt_held_load(crdt->store, carrier, &held);
    if (update->version > held.version) {
        crdt_join(crdt, carrier, update);
    }
}

/* --- Our carrier ------------------------------------------------------------------------------ */

bool crdt_carrier_is_known(struct crdt *crdt, struct crdt_carrier carrier)
{
    struct ledger_carrier found;

    return ledger_carrier_get(crdt->ledger, carrier, &found) && found.state != LEDGER_CARRIER_LOST;
}

bool crdt_carrier_lost_next(struct crdt *crdt, struct crdt_carrier after, struct crdt_carrier *lost)
{
    struct ledger_carrier found = {.carrier = after};

    while (ledger_carrier_next(crdt->ledger, found.carrier, &found)) {
        if (found.state == LEDGER_CARRIER_LOST) {
            *lost = found.carrier;
            return true;
        }
    }
    return false;
}

bool crdt_carrier_is_usable(struct crdt *crdt)
{
    struct ledger_carrier found;
    struct crdt_meta meta;

    crdt_meta_load(crdt->store, &meta);
    return crdt->carrier.epoch > meta.promise.disowned_epoch &&
           ledger_carrier_get(crdt->ledger, crdt->carrier, &found) &&
           found.state == LEDGER_CARRIER_LIVE;
}

struct crdt_promise crdt_promise(struct crdt *crdt)
{
    struct crdt_meta meta;

    crdt_meta_load(crdt->store, &meta);
    return meta.promise;
}

void crdt_promise_replay(struct crdt *crdt, const struct crdt_promise *promise)
{
    struct crdt_meta meta;
    bool is_changed = false;

    crdt_meta_load(crdt->store, &meta);
    if (promise->confirm_index > meta.promise.confirm_index) {
        meta.promise.confirm_index = promise->confirm_index;
        is_changed = true;
    }
    if (promise->disowned_epoch > meta.promise.disowned_epoch) {
        meta.promise.disowned_epoch = promise->disowned_epoch;
        is_changed = true;
    }
    if (is_changed) {
        crdt_meta_store(crdt->store, &meta);
    }
}

static void disown(struct crdt *crdt, uint64_t epoch)
{
    crdt_promise_replay(crdt, &(struct crdt_promise){.disowned_epoch = epoch});
}

void crdt_disown(struct crdt *crdt)
{
    disown(crdt, crdt->carrier.epoch);
}

enum error crdt_carrier_begin(struct crdt *crdt, struct crdt_carrier carrier)
{
    struct ledger_carrier found;
    struct ledger_view view;
    struct crdt_meta meta;
    struct crdt_held held;

    if (carrier.node != crdt->options.node) {
        return ERR_WRONG_NODE;
    }
    if (crdt->pending_count > 0) {
        return ERR_OVERLOADED;
    }
    if (!ledger_carrier_get(crdt->ledger, carrier, &found) || found.state != LEDGER_CARRIER_LIVE) {
        return ERR_NOT_FOUND;
    }
    crdt_meta_load(crdt->store, &meta);
    ledger_view(crdt->ledger, &view);
    if (view.confirm_index < meta.promise.confirm_index) {
        return ERR_STALE;
    }
    crdt_held_load(crdt->store, carrier, &held);
    if (carrier.epoch <= meta.promise.disowned_epoch || held.version < found.confirmed_version) {
        disown(crdt, carrier.epoch);
        return ERR_CORRUPT;
    }
    disown(crdt, carrier.epoch - 1);
    crdt->carrier = carrier;
    crdt->is_closed = false;
    crdt->stamped = held.version;
    crdt->adopted = (struct crdt_carrier){0};
    crdt->adopted_version = 0;
    crdt->adopted_stamp = 0;
    crdt->confirm_index = 0;
    return ERR_OK;
}

enum error crdt_carrier_close(struct crdt *crdt, uint64_t *version)
{
    if (!crdt_carrier_is_usable(crdt)) {
        return ERR_NOT_FORMED;
    }
    crdt->is_closed = true;
    if (crdt->pending_count > 0) {
        return ERR_OVERLOADED;
    }
    *version = crdt->stamped;
    crdt_disown(crdt);
    return ERR_OK;
}

/* --- Counting --------------------------------------------------------------------------------- */

void crdt_stamp(struct crdt *crdt, const struct crdt_total *total, uint64_t growth,
                struct crdt_update *update)
{
    uint32_t capacity = crdt->options.pending_count_max;
    uint32_t last = (crdt->pending_first + crdt->pending_count) % capacity;

    ASSERT_VALUES(crdt->pending_count < capacity, crdt->pending_count, capacity);
    crdt->stamped++;
    crdt->pending[last] = (struct crdt_pending){.version = crdt->stamped, .growth = growth};
    crdt->pending_count++;
    crdt->growth = crdt_sum_plus(crdt->growth, crdt_sum_of(growth));
    *update = (struct crdt_update){.version = crdt->stamped, .total = *total};
}

/* What is pending may all be new: limits hold whatever comes of it. */
static enum error limits_check(struct crdt *crdt, const struct crdt_total *total)
{
    const struct crdt_options *options = &crdt->options;
    struct ledger_view view;
    struct crdt_count count;
    struct crdt_meta meta;

    crdt_meta_load(crdt->store, &meta);
    if (crdt->pending_count >= options->pending_count_max ||
        meta.entry_count + crdt->pending_count >= options->entry_count_max) {
        return ERR_OVERLOADED;
    }
    if (meta.identity_count + crdt->pending_count >= options->identity_count_max &&
        !crdt_identity_is_live(crdt->store, &total->identity)) {
        return ERR_OVERLOADED;
    }
    crdt_count_load(crdt->store, total->counter, &count);
    struct crdt_sum base = ledger_base(crdt->ledger, total->counter);
    ledger_view(crdt->ledger, &view);
    if (count.cell_count == 0 && base.high == 0 && base.low == 0 &&
        meta.counter_count + view.base_count + crdt->pending_count >= options->counter_count_max) {
        return ERR_FULL;
    }
    return ERR_OK;
}

static enum error overflow_check(struct crdt *crdt, struct crdt_counter counter, uint64_t growth)
{
    struct crdt_sum sum = crdt_sum_plus(crdt_count(crdt, counter), crdt_sum_of(growth));

    if (sum.high != 0) {
        return ERR_TOO_LARGE;
    }
    return crdt_sum_plus(sum, crdt->growth).high != 0 ? ERR_OVERLOADED : ERR_OK;
}

enum error crdt_add(struct crdt *crdt, const struct crdt_total *total, struct crdt_update *update)
{
    uint64_t folded;

    *update = (struct crdt_update){.version = 0};
    if (!crdt_total_is_valid(total)) {
        return ERR_INVALID;
    }
    enum error error = ledger_identity_may_count(crdt->ledger, &total->identity);
    if (error == ERR_STALE || error == ERR_NOT_FOUND) {
        return error;
    }
    uint64_t counted = crdt_cell_total(crdt->store, &total->identity, total->counter);
    if (ledger_final(crdt->ledger, &total->identity, total->counter, &folded)) {
        counted = folded;
    }
    if (total->total <= counted) {
        return ERR_OK;
    }
    if (error != ERR_OK) {
        return error;
    }
    if (crdt->is_closed) {
        return ERR_STOPPING;
    }
    if (!crdt_carrier_is_usable(crdt)) {
        return ERR_NOT_FORMED;
    }
    error = overflow_check(crdt, total->counter, total->total - counted);
    if (error != ERR_OK) {
        return error;
    }
    error = limits_check(crdt, total);
    if (error == ERR_OK) {
        crdt_stamp(crdt, total, total->total - counted, update);
    }
    return error;
}

void crdt_commit(struct crdt *crdt, const struct crdt_update *update)
{
    ASSERT(crdt->pending_count > 0);
    const struct crdt_pending *first = &crdt->pending[crdt->pending_first];

    ASSERT_VALUES(first->version == update->version, first->version, update->version);
    crdt->growth = crdt_sum_minus(crdt->growth, crdt_sum_of(first->growth));
    crdt->pending_first = (crdt->pending_first + 1) % crdt->options.pending_count_max;
    crdt->pending_count--;
    crdt_join(crdt, crdt->carrier, update);
}

/* --- Reading ---------------------------------------------------------------------------------- */

struct crdt_sum crdt_count(struct crdt *crdt, struct crdt_counter counter)
{
    struct crdt_count count;

    crdt_count_load(crdt->store, counter, &count);
    return crdt_sum_plus(ledger_base(crdt->ledger, counter), count.sum);
}

enum error crdt_value(struct crdt *crdt, struct bytes name, struct crdt_value *value)
{
    if (!crdt_name_is_valid(name)) {
        return ERR_INVALID;
    }
    struct crdt_sum plus = crdt_count(crdt, (struct crdt_counter){.side = CRDT_PLUS, .name = name});
    struct crdt_sum minus =
        crdt_count(crdt, (struct crdt_counter){.side = CRDT_MINUS, .name = name});
    bool is_negative = crdt_sum_is_less(plus, minus);
    struct crdt_sum size = is_negative ? crdt_sum_minus(minus, plus) : crdt_sum_minus(plus, minus);

    if (size.high != 0) {
        return ERR_TOO_LARGE;
    }
    *value = (struct crdt_value){.is_negative = is_negative, .magnitude = size.low};
    return ERR_OK;
}
