/* crdt/ledger.c: carriers, generations and seals. */
#include "crdt/internal.h"

static struct crdt_key meta_key(void)
{
    return crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_META);
}

void ledger_view(struct table *ledger, struct ledger_view *view)
{
    struct crdt_key key = meta_key();
    uint64_t numbers[NUMBER_COUNT_MAX] = {1, 1, 0, 1};

    (void)!crdt_numbers_load(ledger, &key, numbers, COUNT_OF(numbers));
    *view = (struct ledger_view){
        .generation = numbers[0],
        .sealed_below = numbers[1],
        .generations_seal_index = numbers[2],
        .floor = numbers[3],
        .lost_index = numbers[4],
        .confirm_index = numbers[5],
        .sealed_count = (uint32_t)numbers[6],
        .carrier_count = (uint32_t)numbers[7],
        .base_count = numbers[8],
    };
}

void ledger_meta_store(struct table *ledger, const struct ledger_view *view)
{
    struct crdt_key key = meta_key();
    const uint64_t numbers[NUMBER_COUNT_MAX] = {
        view->generation,   view->sealed_below,  view->generations_seal_index,
        view->floor,        view->lost_index,    view->confirm_index,
        view->sealed_count, view->carrier_count, view->base_count,
    };

    crdt_numbers_store(ledger, &key, numbers, COUNT_OF(numbers));
}

/* --- Carriers --------------------------------------------------------------------------------- */

struct crdt_key ledger_carrier_key(struct crdt_carrier carrier)
{
    struct crdt_key key = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_CARRIER);

    crdt_key_add_carrier(&key, carrier);
    return key;
}

static void carrier_store(struct table *ledger, const struct ledger_carrier *carrier)
{
    struct crdt_key key = ledger_carrier_key(carrier->carrier);
    const uint64_t numbers[] = {(uint64_t)carrier->state, carrier->confirmed_index,
                                carrier->confirmed_version, carrier->ended_generation};

    crdt_numbers_store(ledger, &key, numbers, COUNT_OF(numbers));
}

static enum ledger_carrier_state state_of(uint64_t number)
{
    ASSERT_VALUES(number <= LEDGER_CARRIER_LOST, number, LEDGER_CARRIER_LOST);
    return (enum ledger_carrier_state)number;
}

void ledger_carrier_decode(struct bytes key, struct bytes value, struct ledger_carrier *carrier)
{
    uint64_t numbers[4];

    ASSERT_VALUES(key.size == 2 + CARRIER_SIZE, key.size, value.size);
    crdt_numbers_decode(value, numbers, COUNT_OF(numbers));
    *carrier = (struct ledger_carrier){
        .carrier = crdt_carrier_decode(bytes_skip(key, 2)),
        .state = state_of(numbers[0]),
        .confirmed_index = numbers[1],
        .confirmed_version = numbers[2],
        .ended_generation = numbers[3],
    };
}

bool ledger_carrier_get(struct table *ledger, struct crdt_carrier carrier,
                        struct ledger_carrier *found)
{
    struct crdt_key key = ledger_carrier_key(carrier);
    struct bytes value;

    if (!table_get(ledger, crdt_key_bytes(&key), &value)) {
        return false;
    }
    ledger_carrier_decode(crdt_key_bytes(&key), value, found);
    return true;
}

bool ledger_carrier_next(struct table *ledger, struct crdt_carrier after,
                         struct ledger_carrier *found)
{
    struct crdt_key from = ledger_carrier_key(after);
    struct bytes key;
    struct bytes value;

    if (!crdt_record_seek(ledger, &from, 2, false, &key, &value)) {
        return false;
    }
    ledger_carrier_decode(key, value, found);
    return true;
}

/* The live one, or why there is none. */
static enum error live_get(struct table *ledger, struct crdt_carrier carrier,
                           struct ledger_carrier *found)
{
    if (!ledger_carrier_get(ledger, carrier, found)) {
        return ERR_NOT_FOUND;
    }
    return found->state == LEDGER_CARRIER_LIVE ? ERR_OK : ERR_STALE;
}

static void carrier_end(struct table *ledger, struct ledger_carrier *carrier,
                        enum ledger_carrier_state state, const struct ledger_view *view)
{
    ASSERT_VALUES(carrier->state == LEDGER_CARRIER_LIVE, carrier->state, state);
    carrier->state = state;
    carrier->ended_generation = view->generation;
    carrier_store(ledger, carrier);
}

static void carrier_set_lost(struct table *ledger, struct ledger_carrier *carrier, uint64_t index,
                             struct ledger_view *view)
{
    ASSERT_VALUES(index >= view->confirm_index, index, view->confirm_index);
    carrier_end(ledger, carrier, LEDGER_CARRIER_LOST, view);
    view->lost_index = index;
    view->confirm_index = index;
}

enum error ledger_carrier_register(struct table *ledger, uint64_t node, uint64_t index)
{
    struct ledger_carrier carrier = {.carrier = {.node = node}};
    struct ledger_view view;

    ASSERT(index != 0);
    ledger_view(ledger, &view);
    if (view.carrier_count >= CRDT_CARRIER_COUNT_MAX) {
        return ERR_FULL;
    }
    while (ledger_carrier_next(ledger, carrier.carrier, &carrier) && carrier.carrier.node == node) {
        ASSERT_VALUES(carrier.carrier.epoch < index, carrier.carrier.epoch, index);
        if (carrier.state == LEDGER_CARRIER_LIVE) {
            carrier_set_lost(ledger, &carrier, index, &view);
        }
    }
    carrier = (struct ledger_carrier){.carrier = {.node = node, .epoch = index}};
    carrier_store(ledger, &carrier);
    view.carrier_count++;
    ledger_meta_store(ledger, &view);
    return ERR_OK;
}

enum error ledger_carrier_retire(struct table *ledger, struct crdt_carrier carrier,
                                 uint64_t version)
{
    struct ledger_carrier found;
    struct ledger_view view;
    enum error error = live_get(ledger, carrier, &found);

    if (error != ERR_OK) {
        return error;
    }
    if (version < found.confirmed_version) {
        return ERR_STALE;
    }
    ledger_view(ledger, &view);
    found.confirmed_version = version;
    carrier_end(ledger, &found, LEDGER_CARRIER_RETIRED, &view);
    return ERR_OK;
}

enum error ledger_carrier_lose(struct table *ledger, struct crdt_carrier carrier, uint64_t index)
{
    struct ledger_carrier found;
    struct ledger_view view;
    enum error error = live_get(ledger, carrier, &found);

    if (error != ERR_OK) {
        return error;
    }
    ledger_view(ledger, &view);
    carrier_set_lost(ledger, &found, index, &view);
    ledger_meta_store(ledger, &view);
    return ERR_OK;
}

enum error ledger_carrier_confirm(struct table *ledger, struct crdt_carrier carrier, uint64_t index,
                                  uint64_t version)
{
    struct ledger_carrier found;
    struct ledger_view view;
    enum error error = live_get(ledger, carrier, &found);

    if (error != ERR_OK) {
        return error;
    }
    ledger_view(ledger, &view);
    if (index > view.confirm_index || index < found.confirmed_index ||
        version < found.confirmed_version) {
        return ERR_INVALID;
    }
    found.confirmed_index = index;
    found.confirmed_version = version;
    carrier_store(ledger, &found);
    return ERR_OK;
}

bool ledger_is_confirmed(struct table *ledger, uint64_t index)
{
    struct ledger_carrier carrier = {0};
    struct ledger_view view;

    ledger_view(ledger, &view);
    /* A carrier that was registered behind the seal never took what was sealed from a client, but
     * may have made its own what a lost carrier had. */
    index = view.lost_index > index ? view.lost_index : index;
    while (ledger_carrier_next(ledger, carrier.carrier, &carrier)) {
        if (carrier.state == LEDGER_CARRIER_LIVE && carrier.carrier.epoch <= index &&
            carrier.confirmed_index < index) {
            return false;
        }
    }
    return table_error(ledger) == ERR_OK;
}

/* --- Generations and seals -------------------------------------------------------------------- */

void ledger_generation_advance(struct table *ledger)
{
    struct ledger_view view;

    ledger_view(ledger, &view);
    view.generation++;
    ledger_meta_store(ledger, &view);
}

enum error ledger_generations_seal(struct table *ledger, uint64_t below, uint64_t index)
{
    struct ledger_view view;

    ledger_view(ledger, &view);
    if (view.floor != view.sealed_below || below <= view.sealed_below || below > view.generation) {
        return ERR_REFUSED;
    }
    ASSERT_VALUES(index >= view.confirm_index, index, view.confirm_index);
    view.sealed_below = below;
    view.generations_seal_index = index;
    view.confirm_index = index;
    ledger_meta_store(ledger, &view);
    return ERR_OK;
}

static struct crdt_key seal_key(const struct crdt_identity *identity)
{
    struct crdt_key key = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_SEAL);

    crdt_key_add_identity(&key, identity);
    return key;
}

struct crdt_key ledger_queue_key(uint64_t index, const struct crdt_identity *identity)
{
    struct crdt_key key = crdt_key_of(LEDGER_KEY_PREFIX, LEDGER_KIND_QUEUE);

    crdt_key_add_number(&key, index);
    crdt_key_add_identity(&key, identity);
    return key;
}

bool ledger_seal_load(struct table *ledger, const struct crdt_identity *identity, uint64_t *index,
                      bool *is_folded)
{
    struct crdt_key key = seal_key(identity);
    uint64_t numbers[2];

    if (!crdt_numbers_load(ledger, &key, numbers, COUNT_OF(numbers))) {
        return false;
    }
    *index = numbers[0];
    *is_folded = numbers[1] != 0;
    return true;
}

void ledger_seal_store(struct table *ledger, const struct crdt_identity *identity, uint64_t index,
                       bool is_folded)
{
    struct crdt_key key = seal_key(identity);
    const uint64_t numbers[] = {index, is_folded ? 1 : 0};

    crdt_numbers_store(ledger, &key, numbers, COUNT_OF(numbers));
}

enum error ledger_identity_seal(struct table *ledger, const struct crdt_identity *identity,
                                uint64_t index)
{
    struct crdt_key queue = ledger_queue_key(index, identity);
    struct ledger_view view;
    uint64_t sealed_index;
    bool is_folded;

    ledger_view(ledger, &view);
    if (identity->generation == 0 || identity->generation > view.generation) {
        return ERR_INVALID;
    }
    if (identity->generation < view.floor) {
        return ERR_STALE;
    }
    if (ledger_seal_load(ledger, identity, &sealed_index, &is_folded)) {
        return ERR_OK;
    }
    if (view.sealed_count >= LEDGER_SEALED_COUNT_MAX) {
        return ERR_OVERLOADED;
    }
    ASSERT_VALUES(index >= view.confirm_index, index, view.confirm_index);
    ledger_seal_store(ledger, identity, index, false);
    crdt_numbers_store(ledger, &queue, NULL, 0);
    view.sealed_count++;
    view.confirm_index = index;
    ledger_meta_store(ledger, &view);
    return ERR_OK;
}

enum error ledger_identity_may_count(struct table *ledger, const struct crdt_identity *identity)
{
    struct ledger_view view;
    uint64_t index;
    bool is_folded;

    ledger_view(ledger, &view);
    if (identity->generation < view.floor) {
        return ERR_STALE;
    }
    if (identity->generation > view.generation) {
        return ERR_NOT_FOUND;
    }
    if (identity->generation < view.sealed_below ||
        ledger_seal_load(ledger, identity, &index, &is_folded)) {
        return ERR_FENCED;
    }
    return ERR_OK;
}

bool ledger_sealed_next(struct table *ledger, uint64_t *index, struct crdt_identity *identity)
{
    struct crdt_identity none = {0};
    struct crdt_key from = ledger_queue_key(*index, *index == 0 ? &none : identity);
    struct ledger_view view;
    struct bytes key;
    struct bytes value;

    ledger_view(ledger, &view);
    while (crdt_record_seek(ledger, &from, 2, false, &key, &value)) {
        ASSERT_VALUES(key.size == 2 + 8 + IDENTITY_SIZE, key.size, value.size);
        *index = load_u64_ordered(key.data + 2);
        *identity = crdt_identity_decode(bytes_skip(key, 2 + 8));
        if (identity->generation >= view.floor) {
            return true;
        }
        /* Below the floor it only waits to be swept. */
        from = ledger_queue_key(*index, identity);
    }
    return false;
}
