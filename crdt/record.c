/* crdt/record.c: keys, and values that are a few numbers. */
#include "crdt/internal.h"

#include <string.h>

static uint8_t *key_extend(struct crdt_key *key, size_t size)
{
    ASSERT_VALUES(key->size + size <= sizeof(key->data), key->size, size);
    uint8_t *at = key->data + key->size;
    key->size += size;
    return at;
}

struct crdt_key crdt_key_of(uint8_t prefix, uint8_t kind)
{
    struct crdt_key key = {.size = 2, .data = {prefix, kind}};

    return key;
}

void crdt_key_add_number(struct crdt_key *key, uint64_t number)
{
    store_u64_ordered(key_extend(key, 8), number);
}

void crdt_key_add_identity(struct crdt_key *key, const struct crdt_identity *identity)
{
    crdt_key_add_number(key, identity->generation);
    memcpy(key_extend(key, sizeof(identity->random)), identity->random, sizeof(identity->random));
}

void crdt_key_add_carrier(struct crdt_key *key, struct crdt_carrier carrier)
{
    crdt_key_add_number(key, carrier.node);
    crdt_key_add_number(key, carrier.epoch);
}

void crdt_key_add_cell(struct crdt_key *key, const struct crdt_identity *identity,
                       struct crdt_counter counter)
{
    ASSERT(crdt_name_is_valid(counter.name));
    crdt_key_add_identity(key, identity);
    *key_extend(key, 1) = (uint8_t)counter.side;
    *key_extend(key, 1) = (uint8_t)counter.name.size;
    memcpy(key_extend(key, counter.name.size), counter.name.data, counter.name.size);
}

void crdt_key_add_counter(struct crdt_key *key, struct crdt_counter counter)
{
    ASSERT(crdt_name_is_valid(counter.name));
    *key_extend(key, 1) = (uint8_t)counter.side;
    memcpy(key_extend(key, counter.name.size), counter.name.data, counter.name.size);
}

struct bytes crdt_key_bytes(const struct crdt_key *key)
{
    return bytes_of(key->data, key->size);
}

struct crdt_identity crdt_identity_decode(struct bytes bytes)
{
    struct crdt_identity identity;

    ASSERT_VALUES(bytes.size >= IDENTITY_SIZE, bytes.size, IDENTITY_SIZE);
    identity.generation = load_u64_ordered(bytes.data);
    memcpy(identity.random, bytes.data + 8, sizeof(identity.random));
    return identity;
}

struct crdt_carrier crdt_carrier_decode(struct bytes bytes)
{
    ASSERT_VALUES(bytes.size >= CARRIER_SIZE, bytes.size, CARRIER_SIZE);
    return (struct crdt_carrier){.node = load_u64_ordered(bytes.data),
                                 .epoch = load_u64_ordered(bytes.data + 8)};
}

struct bytes crdt_cell_decode(struct bytes bytes, struct crdt_identity *identity,
                              struct crdt_counter *counter)
{
    *identity = crdt_identity_decode(bytes);
    ASSERT_VALUES(bytes.size > IDENTITY_SIZE + 2, bytes.size, IDENTITY_SIZE);
    const uint8_t *at = bytes.data + IDENTITY_SIZE;
    size_t size = at[1];
    size_t room = bytes.size - (IDENTITY_SIZE + 2);
    ASSERT_VALUES(at[0] == CRDT_PLUS || at[0] == CRDT_MINUS, at[0], room);
    ASSERT_VALUES(size >= 1 && size <= room, size, room);
    counter->side = at[0] == CRDT_PLUS ? CRDT_PLUS : CRDT_MINUS;
    counter->name = bytes_of(at + 2, size);
    return bytes_of(at + 2 + size, room - size);
}

bool crdt_carrier_equal(struct crdt_carrier a, struct crdt_carrier b)
{
    return a.node == b.node && a.epoch == b.epoch;
}

bool crdt_name_is_valid(struct bytes name)
{
    return name.size >= 1 && name.size <= CRDT_NAME_SIZE_MAX;
}

bool crdt_total_is_valid(const struct crdt_total *total)
{
    return total->total != 0 && total->identity.generation != 0 &&
           crdt_name_is_valid(total->counter.name) &&
           (total->counter.side == CRDT_PLUS || total->counter.side == CRDT_MINUS);
}

void crdt_numbers_decode(struct bytes value, uint64_t *numbers, uint32_t count)
{
    ASSERT_VALUES(value.size == 1 + 8 * (size_t)count, value.size, count);
    ASSERT_VALUES(value.data[0] == RECORD_VERSION, value.data[0], RECORD_VERSION);
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = load_u64(value.data + 1 + 8 * (size_t)i);
    }
}

bool crdt_numbers_load(struct table *table, const struct crdt_key *key, uint64_t *numbers,
                       uint32_t count)
{
    struct bytes value;

    if (!table_get(table, crdt_key_bytes(key), &value)) {
        return false;
    }
    crdt_numbers_decode(value, numbers, count);
    return true;
}

void crdt_numbers_store(struct table *table, const struct crdt_key *key, const uint64_t *numbers,
                        uint32_t count)
{
    uint8_t data[1 + 8 * NUMBER_COUNT_MAX] = {RECORD_VERSION};

    ASSERT_VALUES(count <= NUMBER_COUNT_MAX, count, NUMBER_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        store_u64(data + 1 + 8 * (size_t)i, numbers[i]);
    }
    table_put(table, crdt_key_bytes(key), bytes_of(data, 1 + 8 * (size_t)count));
}

void crdt_record_erase(struct table *table, const struct crdt_key *key)
{
    bool was_there = table_delete(table, crdt_key_bytes(key));

    ASSERT(was_there || table_error(table) != ERR_OK);
}

bool crdt_record_seek(struct table *table, const struct crdt_key *from, size_t size, bool inclusive,
                      struct bytes *key, struct bytes *value)
{
    ASSERT_VALUES(size <= from->size, size, from->size);
    return table_seek(table, crdt_key_bytes(from), inclusive, key, value) &&
           bytes_has_prefix(*key, bytes_of(from->data, size));
}
