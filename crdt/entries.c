/* crdt/entries.c: the store's records, which agree with each other.
 *
 * An entry lies twice: by cell, to find the maximum over the carriers, and by version, to find what
 * a peer lacks. The sums of counters, the counts and the hashes of carriers follow each change, so
 * that reading a counter or a digest walks nothing. */
#include "crdt/internal.h"

#include "base/checksum.h"

void crdt_meta_load(struct table *store, struct crdt_meta *meta)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_META);
    uint64_t numbers[5] = {0};

    (void)!crdt_numbers_load(store, &key, numbers, COUNT_OF(numbers));
    *meta =
        (struct crdt_meta){.identity_count = numbers[0],
                           .entry_count = numbers[1],
                           .counter_count = numbers[2],
                           .promise = {.confirm_index = numbers[3], .disowned_epoch = numbers[4]}};
}

void crdt_meta_store(struct table *store, const struct crdt_meta *meta)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_META);
    const uint64_t numbers[] = {meta->identity_count, meta->entry_count, meta->counter_count,
                                meta->promise.confirm_index, meta->promise.disowned_epoch};

    crdt_numbers_store(store, &key, numbers, COUNT_OF(numbers));
}

static struct crdt_key held_key(struct crdt_carrier carrier)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_HELD);

    crdt_key_add_carrier(&key, carrier);
    return key;
}

void crdt_held_load(struct table *store, struct crdt_carrier carrier, struct crdt_held *held)
{
    struct crdt_key key = held_key(carrier);
    uint64_t numbers[2] = {0};

    (void)!crdt_numbers_load(store, &key, numbers, COUNT_OF(numbers));
    *held = (struct crdt_held){.version = numbers[0], .hash = numbers[1]};
}

void crdt_held_store(struct table *store, struct crdt_carrier carrier, const struct crdt_held *held)
{
    struct crdt_key key = held_key(carrier);
    const uint64_t numbers[] = {held->version, held->hash};

    crdt_numbers_store(store, &key, numbers, COUNT_OF(numbers));
}

static struct crdt_key count_key(struct crdt_counter counter)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_COUNT);

    crdt_key_add_counter(&key, counter);
    return key;
}

void crdt_count_load(struct table *store, struct crdt_counter counter, struct crdt_count *count)
{
    struct crdt_key key = count_key(counter);
    uint64_t numbers[3] = {0};

    (void)!crdt_numbers_load(store, &key, numbers, COUNT_OF(numbers));
    *count = (struct crdt_count){.sum = {.high = numbers[0], .low = numbers[1]},
                                 .cell_count = numbers[2]};
}

/* Without cells nothing is left of it. */
static void count_store(struct table *store, struct crdt_counter counter,
                        const struct crdt_count *count)
{
    struct crdt_key key = count_key(counter);
    const uint64_t numbers[] = {count->sum.high, count->sum.low, count->cell_count};

    if (count->cell_count == 0) {
        ASSERT(count->sum.high == 0 && count->sum.low == 0);
        crdt_record_erase(store, &key);
        return;
    }
    crdt_numbers_store(store, &key, numbers, COUNT_OF(numbers));
}

static struct crdt_key live_key(const struct crdt_identity *identity)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_LIVE);

    crdt_key_add_identity(&key, identity);
    return key;
}

static uint64_t live_load(struct table *store, const struct crdt_identity *identity)
{
    struct crdt_key key = live_key(identity);
    uint64_t cell_count = 0;

    (void)!crdt_numbers_load(store, &key, &cell_count, 1);
    return cell_count;
}

static void live_store(struct table *store, const struct crdt_identity *identity,
                       uint64_t cell_count)
{
    struct crdt_key key = live_key(identity);

    if (cell_count == 0) {
        crdt_record_erase(store, &key);
        return;
    }
    crdt_numbers_store(store, &key, &cell_count, 1);
}

bool crdt_identity_is_live(struct table *store, const struct crdt_identity *identity)
{
    return live_load(store, identity) != 0;
}

static struct crdt_key cell_key(const struct crdt_identity *identity, struct crdt_counter counter)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_ENTRY);

    crdt_key_add_cell(&key, identity, counter);
    return key;
}

static struct crdt_key place_key(struct crdt_carrier carrier, uint64_t version)
{
    struct crdt_key key = crdt_key_of(CRDT_KEY_PREFIX, CRDT_KIND_PLACE);

    crdt_key_add_carrier(&key, carrier);
    crdt_key_add_number(&key, version);
    return key;
}

uint64_t crdt_update_hash(struct crdt_carrier carrier, const struct crdt_update *update)
{
    struct crdt_key key = cell_key(&update->total.identity, update->total.counter);
    uint8_t numbers[16];

    crdt_key_add_carrier(&key, carrier);
    store_u64(numbers, update->version);
    store_u64(numbers + 8, update->total.total);
    return checksum_pair(crdt_key_bytes(&key), bytes_of(numbers, sizeof(numbers)), 0);
}

uint64_t crdt_cell_total(struct table *store, const struct crdt_identity *identity,
                         struct crdt_counter counter)
{
    struct crdt_key from = cell_key(identity, counter);
    size_t size = from.size;
    struct bytes key;
    struct bytes value;
    uint64_t total = 0;

    while (crdt_record_seek(store, &from, size, false, &key, &value)) {
        uint64_t numbers[2];

        crdt_numbers_decode(value, numbers, COUNT_OF(numbers));
        total = numbers[1] > total ? numbers[1] : total;
        from.size = size;
        crdt_key_add_carrier(&from, crdt_carrier_decode(bytes_skip(key, size)));
    }
    return total;
}

bool crdt_entry_load(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_identity *identity, struct crdt_counter counter,
                     struct crdt_update *entry)
{
    struct crdt_key key = cell_key(identity, counter);
    uint64_t numbers[2];

    crdt_key_add_carrier(&key, carrier);
    if (!crdt_numbers_load(store, &key, numbers, COUNT_OF(numbers))) {
        return false;
    }
    *entry = (struct crdt_update){
        .version = numbers[0],
        .total = {.identity = *identity, .counter = counter, .total = numbers[1]},
    };
    return true;
}

bool crdt_entry_next(struct table *store, struct crdt_carrier carrier, uint64_t after,
                     struct crdt_update *update)
{
    struct crdt_key from = place_key(carrier, after);
    struct crdt_identity identity;
    struct crdt_counter counter;
    struct bytes key;
    struct bytes value;

    if (!crdt_record_seek(store, &from, 2 + CARRIER_SIZE, false, &key, &value)) {
        return false;
    }
    uint64_t version = load_u64_ordered(key.data + 2 + CARRIER_SIZE);
    ASSERT(value.size >= 1 && value.data[0] == RECORD_VERSION);
    struct bytes rest = crdt_cell_decode(bytes_skip(value, 1), &identity, &counter);
    ASSERT_VALUES(rest.size == 0, rest.size, version);
    if (!crdt_entry_load(store, carrier, &identity, counter, update)) {
        ASSERT(table_error(store) != ERR_OK);
        return false;
    }
    ASSERT_VALUES(update->version == version, update->version, version);
    return true;
}

static void place_store(struct table *store, struct crdt_carrier carrier,
                        const struct crdt_update *update)
{
    struct crdt_key key = place_key(carrier, update->version);
    struct crdt_key cell = cell_key(&update->total.identity, update->total.counter);

    /* The cell's key without its prefix, behind a version byte. */
    cell.data[1] = RECORD_VERSION;
    table_put(store, crdt_key_bytes(&key), bytes_of(cell.data + 1, cell.size - 1));
}

/* One cell more, or one less, of its identity and its counter. */
static void cells_change(struct table *store, struct crdt_meta *meta,
                         const struct crdt_total *total, struct crdt_count *count, bool is_more)
{
    uint64_t live_count = live_load(store, &total->identity);

    if (is_more) {
        meta->identity_count += live_count == 0 ? 1 : 0;
        meta->counter_count += count->cell_count == 0 ? 1 : 0;
        count->cell_count++;
        live_store(store, &total->identity, live_count + 1);
        return;
    }
    if (live_count == 0 || count->cell_count == 0) {
        ASSERT(table_error(store) != ERR_OK);
        return;
    }
    count->cell_count--;
    meta->identity_count -= live_count == 1 ? 1 : 0;
    meta->counter_count -= count->cell_count == 0 ? 1 : 0;
    live_store(store, &total->identity, live_count - 1);
}

/* The cell went from `before` to `after`, 0 being absent. */
static void cell_move(struct table *store, struct crdt_meta *meta, const struct crdt_total *total,
                      uint64_t before, uint64_t after)
{
    struct crdt_count count;

    crdt_count_load(store, total->counter, &count);
    if (before == after || table_error(store) != ERR_OK) {
        return;
    }
    if (before == 0 || after == 0) {
        cells_change(store, meta, total, &count, before == 0);
    }
    count.sum = crdt_sum_plus(count.sum, crdt_sum_of(after));
    count.sum = crdt_sum_minus(count.sum, crdt_sum_of(before));
    count_store(store, total->counter, &count);
}

void crdt_entry_join(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_update *update)
{
    const struct crdt_total *total = &update->total;
    struct crdt_key key = cell_key(&total->identity, total->counter);
    uint64_t before = crdt_cell_total(store, &total->identity, total->counter);
    struct crdt_update joined = *update;
    struct crdt_update present;
    struct crdt_meta meta;
    struct crdt_held held;

    crdt_meta_load(store, &meta);
    crdt_held_load(store, carrier, &held);
    if (crdt_entry_load(store, carrier, &total->identity, total->counter, &present)) {
        struct crdt_key place = place_key(carrier, present.version);

        ASSERT_VALUES(present.version < update->version, present.version, update->version);
        held.hash -= crdt_update_hash(carrier, &present);
        crdt_record_erase(store, &place);
        if (present.total.total > joined.total.total) {
            joined.total.total = present.total.total;
        }
    } else {
        meta.entry_count++;
    }
    crdt_key_add_carrier(&key, carrier);
    crdt_numbers_store(store, &key, (const uint64_t[]){joined.version, joined.total.total}, 2);
    place_store(store, carrier, &joined);
    held.hash += crdt_update_hash(carrier, &joined);
    crdt_held_store(store, carrier, &held);
    cell_move(store, &meta, total, before,
              before > joined.total.total ? before : joined.total.total);
    crdt_meta_store(store, &meta);
}

void crdt_entry_drop(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_identity *identity, struct crdt_counter counter)
{
    struct crdt_key key = cell_key(identity, counter);
    uint64_t before = crdt_cell_total(store, identity, counter);
    struct crdt_update present;
    struct crdt_meta meta;
    struct crdt_held held;

    if (!crdt_entry_load(store, carrier, identity, counter, &present)) {
        return;
    }
    struct crdt_key place = place_key(carrier, present.version);
    crdt_meta_load(store, &meta);
    crdt_held_load(store, carrier, &held);
    held.hash -= crdt_update_hash(carrier, &present);
    crdt_held_store(store, carrier, &held);
    crdt_key_add_carrier(&key, carrier);
    crdt_record_erase(store, &place);
    crdt_record_erase(store, &key);
    meta.entry_count--;
    cell_move(store, &meta, &present.total, before, crdt_cell_total(store, identity, counter));
    crdt_meta_store(store, &meta);
}

uint32_t crdt_cell_drop(struct table *store, const struct crdt_identity *identity,
                        struct crdt_counter counter)
{
    struct crdt_key from = cell_key(identity, counter);
    struct bytes key;
    struct bytes value;
    uint32_t count = 0;

    while (crdt_record_seek(store, &from, from.size, false, &key, &value)) {
        crdt_entry_drop(store, crdt_carrier_decode(bytes_skip(key, from.size)), identity, counter);
        count++;
    }
    return count;
}
