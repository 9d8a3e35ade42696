/* kv/transaction.c: each compare and each operation by itself. */
#include "kv/transaction.h"

#include "base/assert.h"

bool kv_compare_holds(struct table *table, const struct kv_compare *compare)
{
    struct kv_pair pair = {.revision = 0};
    bool found = kv_get(table, compare->key, &pair);
    kv_revision revision = found ? pair.revision : 0;

    switch (compare->test) {
    case KV_EXISTS:
        return found;
    case KV_ABSENT:
        return !found;
    case KV_EQUAL:
        return found && bytes_equal(pair.value, compare->value);
    case KV_REVISION_EQUAL:
        return revision == compare->revision;
    case KV_REVISION_LESS:
        return revision < compare->revision;
    case KV_REVISION_GREATER:
        return revision > compare->revision;
    }
    UNREACHABLE();
}

/* What a get of `key` finds behind these operations. */
static bool found_behind(struct table *table, const struct kv_operation *operations, uint32_t count,
                         struct bytes key, size_t *size)
{
    struct kv_pair pair;

    for (uint32_t i = count; i > 0; i--) {
        const struct kv_operation *earlier = &operations[i - 1];

        if (earlier->action != KV_GET && bytes_equal(earlier->key, key)) {
            *size = earlier->value.size;
            return earlier->action == KV_PUT;
        }
    }
    if (!kv_get(table, key, &pair)) {
        return false;
    }
    *size = pair.value.size;
    return true;
}

uint64_t kv_found_size(struct table *table, const struct kv_operation *operations, uint32_t count)
{
    uint64_t total = 0;

    ASSERT_VALUES(count <= KV_TRANSACTION_COUNT_MAX, count, KV_TRANSACTION_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct kv_operation *operation = &operations[i];
        size_t size = 0;

        if (operation->action == KV_GET &&
            found_behind(table, operations, i, operation->key, &size)) {
            total += operation->key.size + size;
        }
    }
    return total;
}

bool kv_operation_execute(struct table *table, const struct kv_operation *operation,
                          kv_revision revision, struct kv_pair *pair)
{
    ASSERT(revision != 0);

    switch (operation->action) {
    case KV_PUT: {
        bool found = kv_get(table, operation->key, pair);
        kv_put(table, operation->key, operation->value, operation->session, revision);
        return found;
    }
    case KV_DELETE:
        return kv_delete(table, operation->key);
    case KV_GET:
        return kv_get(table, operation->key, pair);
    }
    UNREACHABLE();
}
