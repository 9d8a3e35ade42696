/* lease/restart.c: the state of another cluster, without its holders. */
#include "lease/internal.h"

lease_token lease_token_last(struct table *table)
{
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    return meta.token_last;
}

void lease_restart(struct table *table, uint64_t raise)
{
    static const uint8_t prefix[] = {LEASE_KEY_PREFIX};
    struct lease_meta meta;
    struct bytes key;
    struct bytes value;

    lease_meta_load(table, &meta);
    while (table_seek(table, bytes_of(prefix, sizeof(prefix)), true, &key, &value) &&
           key.data[0] == LEASE_KEY_PREFIX) {
        struct lease_key copy = {.size = key.size};

        ASSERT_VALUES(key.size <= sizeof(copy.data), key.size, sizeof(copy.data));
        memcpy(copy.data, key.data, key.size);
        if (!table_delete(table, lease_key_bytes(&copy))) {
            return; /* The table has failed. */
        }
    }
    ASSERT_VALUES(meta.token_last <= UINT64_MAX - raise, meta.token_last, raise);
    meta = (struct lease_meta){.token_last = meta.token_last + raise};
    lease_meta_store(table, &meta);
}
