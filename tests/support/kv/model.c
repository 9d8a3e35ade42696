/* tests/support/kv/model.c: kv/ as a sorted array that is searched from the front. */
#include "tests/support/kv/model.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

static struct bytes key_of(const struct kv_model_pair *pair)
{
    return bytes_of(pair->key, pair->key_size);
}

static struct kv_pair pair_of(const struct kv_model_pair *pair)
{
    return (struct kv_pair){.key = key_of(pair),
                            .value = bytes_of(pair->value, pair->value_size),
                            .revision = pair->revision};
}

static uint32_t lower_bound(const struct kv_model *model, struct bytes key)
{
    uint32_t at = 0;

    while (at < model->count && bytes_compare(key_of(&model->pairs[at]), key) < 0) {
        at++;
    }
    return at;
}

static bool has(const struct kv_model *model, uint32_t at, struct bytes key)
{
    return at < model->count && bytes_equal(key_of(&model->pairs[at]), key);
}

bool kv_model_get(const struct kv_model *model, struct bytes key, struct kv_pair *pair)
{
    uint32_t at = lower_bound(model, key);

    if (!has(model, at, key)) {
        return false;
    }
    *pair = pair_of(&model->pairs[at]);
    return true;
}

void kv_model_put(struct kv_model *model, struct bytes key, struct bytes value,
                  kv_revision revision)
{
    uint32_t at = lower_bound(model, key);
    struct kv_model_pair *pair = &model->pairs[at];

    ASSERT(key.size <= sizeof(pair->key) && value.size <= sizeof(pair->value));
    if (!has(model, at, key)) {
        ASSERT(model->count < KV_MODEL_PAIR_COUNT_MAX);
        memmove(pair + 1, pair, (model->count - at) * sizeof(*pair));
        model->count++;
    }
    memcpy(pair->key, key.data, key.size);
    pair->key_size = key.size;
    memcpy(pair->value, value.data, value.size);
    pair->value_size = value.size;
    pair->revision = revision;
}

bool kv_model_delete(struct kv_model *model, struct bytes key)
{
    uint32_t at = lower_bound(model, key);
    struct kv_model_pair *pair = &model->pairs[at];

    if (!has(model, at, key)) {
        return false;
    }
    model->count--;
    memmove(pair, pair + 1, (model->count - at) * sizeof(*pair));
    return true;
}

enum error kv_model_compare_and_swap(struct kv_model *model, struct bytes key,
                                     const struct kv_expected *expected, struct bytes value,
                                     kv_revision revision)
{
    struct kv_pair pair;
    bool found = kv_model_get(model, key, &pair);

    if (expected->absent ? found : found && !bytes_equal(pair.value, expected->value)) {
        return ERR_MISMATCH;
    }
    if (!expected->absent && !found) {
        return ERR_NOT_FOUND;
    }
    kv_model_put(model, key, value, revision);
    return ERR_OK;
}

bool kv_model_next(const struct kv_model *model, struct bytes prefix, struct bytes after,
                   struct kv_pair *pair)
{
    for (uint32_t at = 0; at < model->count; at++) {
        *pair = pair_of(&model->pairs[at]);
        if (bytes_has_prefix(pair->key, prefix) && bytes_compare(pair->key, after) > 0) {
            return true;
        }
    }
    return false;
}
