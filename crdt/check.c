/* crdt/check.c: the invariants of docs/crdt.md, by their numbers, over both tables. */
#include "crdt/internal.h"

struct totals {
    uint64_t entry_count;
    uint64_t place_count;
    uint64_t counter_count;
    uint64_t identity_count;
};

static void check_entry(struct crdt *crdt, struct bytes key, struct bytes value)
{
    struct crdt_identity identity;
    struct crdt_counter counter;
    struct crdt_update placed;
    struct crdt_held held;
    struct crdt_carrier carrier = crdt_carrier_decode(crdt_cell_decode(key, &identity, &counter));
    uint64_t numbers[2];

    crdt_numbers_decode(value, numbers, COUNT_OF(numbers)); /* 1 */
    ASSERT(numbers[0] != 0 && numbers[1] != 0);             /* 1 */
    ASSERT_VALUES(crdt_entry_next(crdt->store, carrier, numbers[0] - 1, &placed), numbers[0],
                  0);                                                        /* 2 */
    ASSERT_VALUES(placed.version == numbers[0], placed.version, numbers[0]); /* 2 */
    crdt_held_load(crdt->store, carrier, &held);
    ASSERT_VALUES(numbers[0] <= held.version, numbers[0], held.version); /* 3 */
}

static void check_place(struct crdt *crdt, struct bytes key, struct bytes value)
{
    struct crdt_update update;

    ASSERT_VALUES(key.size == CARRIER_SIZE + 8, key.size, value.size); /* 1 */
    uint64_t version = load_u64_ordered(key.data + CARRIER_SIZE);
    /* It asserts that the entry has this version. */
    ASSERT_VALUES(crdt_entry_next(crdt->store, crdt_carrier_decode(key), version - 1, &update),
                  version, 0);                                         /* 2 */
    ASSERT_VALUES(update.version == version, update.version, version); /* 2 */
}

static void check_held(struct crdt *crdt, struct bytes key, struct bytes value)
{
    struct crdt_carrier carrier = crdt_carrier_decode(key);
    struct crdt_update update = {.version = 0};
    uint64_t numbers[2];
    uint64_t hash = 0;

    crdt_numbers_decode(value, numbers, COUNT_OF(numbers)); /* 1 */
    while (crdt_entry_next(crdt->store, carrier, update.version, &update)) {
        hash += crdt_update_hash(carrier, &update);
    }
    ASSERT_VALUES(hash == numbers[1], hash, numbers[1]); /* 3 */
}

static void check_live(struct crdt *crdt, struct bytes key, struct bytes value)
{
    uint64_t cell_count;

    (void)crdt;
    ASSERT_VALUES(key.size == IDENTITY_SIZE, key.size, IDENTITY_SIZE); /* 1 */
    crdt_numbers_decode(value, &cell_count, 1);                        /* 1 */
    ASSERT(cell_count != 0);                                           /* 4 */
}

/* The sum over the counter's cells, and over the cells of their identities, from the entries. */
static void check_count(struct crdt *crdt, struct bytes key, struct bytes value)
{
    struct crdt_key from = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);
    struct crdt_count count = {.cell_count = 0};
    struct bytes entry_key;
    struct bytes entry_value;
    uint64_t numbers[3];

    crdt_numbers_decode(value, numbers, COUNT_OF(numbers)); /* 1 */
    ASSERT(key.size >= 2);                                  /* 1 */
    while (crdt_record_seek(crdt->store, &from, 2, false, &entry_key, &entry_value)) {
        struct crdt_identity identity;
        struct crdt_counter counter;
        struct bytes rest = crdt_cell_decode(bytes_skip(entry_key, 2), &identity, &counter);

        memcpy(from.data, entry_key.data, entry_key.size);
        from.size = entry_key.size;
        memset(from.data + from.size - rest.size, 0xff, rest.size);
        if (counter.side == (enum crdt_side)key.data[0] &&
            bytes_equal(counter.name, bytes_skip(key, 1))) {
            uint64_t total = crdt_cell_total(crdt->store, &identity, counter);

            ASSERT(crdt_identity_is_live(crdt->store, &identity)); /* 4 */
            count.sum = crdt_sum_plus(count.sum, crdt_sum_of(total));
            count.cell_count++;
        }
    }
    ASSERT_VALUES(count.sum.high == numbers[0], count.sum.high, numbers[0]);     /* 4 */
    ASSERT_VALUES(count.sum.low == numbers[1], count.sum.low, numbers[1]);       /* 4 */
    ASSERT_VALUES(count.cell_count == numbers[2], count.cell_count, numbers[2]); /* 4 */
}

static void check_pending(const struct crdt *crdt)
{
    struct crdt_sum growth = {0};
    struct crdt_held held;

    crdt_held_load(crdt->store, crdt->carrier, &held);
    for (uint32_t i = 0; i < crdt->pending_count; i++) {
        uint32_t at = (crdt->pending_first + i) % crdt->options.pending_count_max;

        ASSERT_VALUES(crdt->pending[at].version == held.version + 1 + i, crdt->pending[at].version,
                      held.version); /* 5 */
        growth = crdt_sum_plus(growth, crdt_sum_of(crdt->pending[at].growth));
    }
    ASSERT_VALUES(crdt->carrier.epoch == 0 || crdt->stamped == held.version + crdt->pending_count,
                  crdt->stamped, held.version);                                      /* 5 */
    ASSERT_VALUES(growth.low == crdt->growth.low, growth.low, crdt->growth.low);     /* 5 */
    ASSERT_VALUES(growth.high == crdt->growth.high, growth.high, crdt->growth.high); /* 5 */
}

static void check_record(struct crdt *crdt, struct bytes key, struct bytes value,
                         struct totals *totals)
{
    struct bytes rest = bytes_skip(key, 2);

    switch (key.data[1]) {
    case CRDT_KIND_HELD:
        check_held(crdt, rest, value);
        break;
    case CRDT_KIND_ENTRY:
        totals->entry_count++;
        check_entry(crdt, rest, value);
        break;
    case CRDT_KIND_LIVE:
        totals->identity_count++;
        check_live(crdt, rest, value);
        break;
    case CRDT_KIND_META:
        ASSERT(rest.size == 0); /* 1 */
        break;
    case CRDT_KIND_COUNT:
        totals->counter_count++;
        check_count(crdt, rest, value);
        break;
    case CRDT_KIND_PLACE:
        totals->place_count++;
        check_place(crdt, rest, value);
        break;
    default:
        ASSERT_VALUES(false, key.data[1], key.size); /* 1 */
    }
}

void crdt_check(struct crdt *crdt)
{
    struct crdt_key from = {.size = 1, .data = {CRDT_KEY_PREFIX}};
    struct table *store = crdt->store;
    struct totals totals = {0};
    struct crdt_meta meta;
    struct bytes key;
    struct bytes value;

    if (table_error(store) != ERR_OK || table_error(crdt->ledger) != ERR_OK) {
        return;
    }
    crdt_meta_load(store, &meta);
    while (crdt_record_seek(store, &from, 1, false, &key, &value)) {
        ASSERT_VALUES(key.size >= 2 && key.size <= sizeof(from.data), key.size, 0); /* 1 */
        memcpy(from.data, key.data, key.size);
        from.size = key.size;
        check_record(crdt, crdt_key_bytes(&from), value, &totals);
    }
    ASSERT_VALUES(totals.entry_count == meta.entry_count, totals.entry_count,
                  meta.entry_count); /* 2 */
    ASSERT_VALUES(totals.place_count == meta.entry_count, totals.place_count,
                  meta.entry_count); /* 2 */
    ASSERT_VALUES(totals.counter_count == meta.counter_count, totals.counter_count,
                  meta.counter_count); /* 4 */
    ASSERT_VALUES(totals.identity_count == meta.identity_count, totals.identity_count,
                  meta.identity_count); /* 4 */
    check_pending(crdt);
    ledger_check(crdt->ledger);
}

/* --- The ledger ------------------------------------------------------------------------------- */

static void check_carriers(struct table *ledger, const struct ledger_view *view)
{
    struct ledger_carrier carrier = {0};
    uint64_t live_node = 0;
    uint32_t count = 0;

    while (ledger_carrier_next(ledger, carrier.carrier, &carrier)) {
        count++;
        ASSERT_VALUES(carrier.confirmed_index <= view->confirm_index, carrier.confirmed_index,
                      view->confirm_index); /* 7 */
        if (carrier.state == LEDGER_CARRIER_LIVE) {
            ASSERT_VALUES(carrier.carrier.node != live_node || count == 1, live_node,
                          count); /* 7 */
            live_node = carrier.carrier.node;
        } else {
            ASSERT_VALUES(carrier.ended_generation >= view->floor, carrier.ended_generation,
                          view->floor); /* 7 */
        }
    }
    ASSERT_VALUES(count == view->carrier_count, count, view->carrier_count); /* 7 */
}

static void check_seals(struct table *ledger, const struct ledger_view *view)
{
    struct crdt_key from = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_SEAL);
    struct bytes key;
    struct bytes value;
    uint32_t count = 0;

    while (crdt_record_seek(ledger, &from, 2, false, &key, &value)) {
        struct crdt_identity identity = crdt_identity_decode(bytes_skip(key, 2));
        struct bytes nothing;
        uint64_t numbers[2];

        crdt_numbers_decode(value, numbers, COUNT_OF(numbers));
        struct crdt_key queue = ledger_queue_key(numbers[0], &identity);
        bool is_queued = table_get(ledger, crdt_key_bytes(&queue), &nothing);
        ASSERT_VALUES(is_queued == (numbers[1] == 0), numbers[0], numbers[1]); /* 8 */
        from.size = 2;
        crdt_key_add_identity(&from, &identity);
        count++;
    }
    ASSERT_VALUES(count == view->sealed_count, count, view->sealed_count); /* 8 */
}

void ledger_check(struct table *ledger)
{
    struct ledger_view view;

    if (table_error(ledger) != ERR_OK) {
        return;
    }
    ledger_view(ledger, &view);
    ASSERT_VALUES(view.floor <= view.sealed_below, view.floor, view.sealed_below);           /* 6 */
    ASSERT_VALUES(view.sealed_below <= view.generation, view.sealed_below, view.generation); /* 6 */
    ASSERT_VALUES(view.lost_index <= view.confirm_index, view.lost_index,
                  view.confirm_index); /* 6 */
    check_carriers(ledger, &view);
    check_seals(ledger, &view);
}
