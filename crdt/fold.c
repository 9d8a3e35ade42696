/* crdt/fold.c: the ledger's side of folding: final totals into the base, tombstones, the floor.
 *
 * A piece is checked as a whole before it changes anything, against what is sealed and confirmed
 * here; so it does not matter which leader proposed it, how often, or whether it leads still. */
#include "crdt/internal.h"

int ledger_total_order(const struct crdt_total *a, const struct crdt_total *b)
{
    struct crdt_key left = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_TOMBSTONE);
    struct crdt_key right = left;

    crdt_key_add_cell(&left, &a->identity, a->counter);
    crdt_key_add_cell(&right, &b->identity, b->counter);
    return bytes_compare(crdt_key_bytes(&left), crdt_key_bytes(&right));
}

static struct crdt_key tombstone_key(const struct crdt_identity *identity,
                                     struct crdt_counter counter)
{
    struct crdt_key key = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_TOMBSTONE);

    crdt_key_add_cell(&key, identity, counter);
    return key;
}

bool ledger_final(struct table *ledger, const struct crdt_identity *identity,
                  struct crdt_counter counter, uint64_t *total)
{
    struct crdt_key key = tombstone_key(identity, counter);

    return crdt_numbers_load(ledger, &key, total, 1);
}

bool ledger_is_folded(struct table *ledger, const struct crdt_identity *identity,
                      struct crdt_counter counter)
{
    struct ledger_view view;
    uint64_t number;
    bool is_folded;

    ledger_view(ledger, &view);
    return identity->generation < view.floor || ledger_final(ledger, identity, counter, &number) ||
           (ledger_seal_load(ledger, identity, &number, &is_folded) && is_folded);
}

static struct crdt_key base_key(struct crdt_counter counter)
{
    struct crdt_key key = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_BASE);

    crdt_key_add_counter(&key, counter);
    return key;
}

struct crdt_sum ledger_base(struct table *ledger, struct crdt_counter counter)
{
    struct crdt_key key = base_key(counter);
    uint64_t numbers[2] = {0};

    (void)!crdt_numbers_load(ledger, &key, numbers, COUNT_OF(numbers));
    return (struct crdt_sum){.high = numbers[0], .low = numbers[1]};
}

static bool identity_equal(const struct crdt_identity *a, const struct crdt_identity *b)
{
    return a->generation == b->generation && memcmp(a->random, b->random, sizeof(a->random)) == 0;
}

static bool fold_is_well_formed(const struct ledger_fold *fold)
{
    if (fold->count > CRDT_FOLD_COUNT_MAX || (fold->count == 0 && !fold->is_last)) {
        return false;
    }
    for (uint32_t i = 0; i < fold->count; i++) {
        const struct crdt_total *total = &fold->totals[i];
        bool is_inside = fold->is_generations ? total->identity.generation < fold->below
                                              : identity_equal(&total->identity, &fold->identity);

        if (!crdt_total_is_valid(total) || !is_inside ||
            (i > 0 && ledger_total_order(&fold->totals[i - 1], total) >= 0)) {
            return false;
        }
    }
    return true;
}

static bool fold_is_due(struct table *ledger, const struct ledger_fold *fold,
                        const struct ledger_view *view)
{
    uint64_t index;
    bool is_folded;

    if (fold->lost_index != view->lost_index) {
        return false;
    }
    if (fold->is_generations) {
        return fold->below == view->sealed_below && view->floor < view->sealed_below &&
               ledger_is_confirmed(ledger, view->generations_seal_index);
    }
    return fold->identity.generation >= view->floor &&
           ledger_seal_load(ledger, &fold->identity, &index, &is_folded) && !is_folded &&
           ledger_is_confirmed(ledger, index);
}

/* Whether what is folded already agrees with it. */
static enum error totals_check(struct table *ledger, const struct ledger_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        const struct crdt_total *total = &fold->totals[i];
        uint64_t present;

        if (ledger_final(ledger, &total->identity, total->counter, &present)) {
            if (present != total->total) {
                return ERR_MISMATCH;
            }
        } else if (ledger_is_folded(ledger, &total->identity, total->counter)) {
            return ERR_REFUSED;
        }
    }
    return ERR_OK;
}

static void total_fold(struct table *ledger, const struct crdt_total *total,
                       struct ledger_view *view)
{
    struct crdt_key key = tombstone_key(&total->identity, total->counter);
    struct crdt_key base = base_key(total->counter);
    uint64_t present;

    if (crdt_numbers_load(ledger, &key, &present, 1)) {
        return;
    }
    struct crdt_sum sum = ledger_base(ledger, total->counter);
    view->base_count += sum.high == 0 && sum.low == 0 ? 1 : 0;
    sum = crdt_sum_plus(sum, crdt_sum_of(total->total));
    crdt_numbers_store(ledger, &key, &total->total, 1);
    crdt_numbers_store(ledger, &base, (const uint64_t[]){sum.high, sum.low}, 2);
}

/* All that ended carriers had counted is below the floor now: they are forgotten. */
static void floor_raise(struct table *ledger, struct ledger_view *view)
{
    struct ledger_carrier carrier = {0};

    view->floor = view->sealed_below;
    while (ledger_carrier_next(ledger, carrier.carrier, &carrier)) {
        if (carrier.state != LEDGER_CARRIER_LIVE && carrier.ended_generation < view->floor) {
            struct crdt_key key = ledger_carrier_key(carrier.carrier);

            crdt_record_erase(ledger, &key);
            view->carrier_count--;
        }
    }
}

enum error ledger_fold(struct table *ledger, const struct ledger_fold *fold)
{
    struct ledger_view view;

    ledger_view(ledger, &view);
    if (!fold_is_well_formed(fold)) {
        return ERR_INVALID;
    }
    if (!fold_is_due(ledger, fold, &view)) {
        return ERR_REFUSED;
    }
    enum error error = totals_check(ledger, fold);
    if (error != ERR_OK) {
        return error;
    }
    for (uint32_t i = 0; i < fold->count; i++) {
        total_fold(ledger, &fold->totals[i], &view);
    }
    if (fold->is_last && fold->is_generations) {
        floor_raise(ledger, &view);
    } else if (fold->is_last) {
        uint64_t index = 0;
        bool is_folded;

        if (ledger_seal_load(ledger, &fold->identity, &index, &is_folded)) {
            struct crdt_key queue = ledger_queue_key(index, &fold->identity);

            crdt_record_erase(ledger, &queue);
            ledger_seal_store(ledger, &fold->identity, index, true);
        }
    }
    ledger_meta_store(ledger, &view);
    return ERR_OK;
}

/* One record below the floor; false when there is none of the kind. */
static bool sweep_one(struct table *ledger, uint8_t kind, struct ledger_view *view)
{
    struct crdt_key from = crdt_key_of(LEDGER_KEY_PREFIX, kind);
    struct bytes key;
    struct bytes value;

    if (!crdt_record_seek(ledger, &from, 2, false, &key, &value)) {
        return false;
    }
    struct crdt_identity identity = crdt_identity_decode(bytes_skip(key, 2));
    if (identity.generation >= view->floor) {
        return false;
    }
    ASSERT(key.size <= sizeof(from.data));
    memcpy(from.data, key.data, key.size);
    from.size = key.size;
    if (kind == LEDGER_KIND_SEAL) {
        uint64_t numbers[2];

        crdt_numbers_decode(value, numbers, COUNT_OF(numbers));
        struct crdt_key queue = ledger_queue_key(numbers[0], &identity);
        if (numbers[1] == 0) {
            crdt_record_erase(ledger, &queue);
        }
        view->sealed_count--;
    }
    crdt_record_erase(ledger, &from);
    return true;
}

bool ledger_sweep(struct table *ledger)
{
    struct ledger_view view;
    uint32_t count = 0;

    ledger_view(ledger, &view);
    while (count < LEDGER_SWEEP_COUNT_MAX && (sweep_one(ledger, LEDGER_KIND_TOMBSTONE, &view) ||
                                              sweep_one(ledger, LEDGER_KIND_SEAL, &view))) {
        count++;
    }
    if (count > 0) {
        ledger_meta_store(ledger, &view);
    }
    return count == LEDGER_SWEEP_COUNT_MAX;
}
