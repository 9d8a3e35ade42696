/* tests/support/kv/model.h: what kv/ promises, as a sorted array. */
#ifndef TESTS_SUPPORT_KV_MODEL_H
#define TESTS_SUPPORT_KV_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "kv/kv.h"

enum {
    KV_MODEL_PAIR_COUNT_MAX = 128,
    KV_MODEL_KEY_SIZE_MAX = 3,
    KV_MODEL_VALUE_SIZE_MAX = 5000,
};

struct kv_model_pair {
    uint8_t key[KV_MODEL_KEY_SIZE_MAX];
    size_t key_size;
    uint8_t value[KV_MODEL_VALUE_SIZE_MAX];
    size_t value_size;
    kv_revision revision;
};

struct kv_model {
    uint32_t count;
    struct kv_model_pair pairs[KV_MODEL_PAIR_COUNT_MAX]; /* In the order of keys. */
};

/* The functions of kv/kv.h by the same names. */
bool kv_model_get(const struct kv_model *model, struct bytes key, struct kv_pair *pair);
void kv_model_put(struct kv_model *model, struct bytes key, struct bytes value,
                  kv_revision revision);
bool kv_model_delete(struct kv_model *model, struct bytes key);
enum error kv_model_compare_and_swap(struct kv_model *model, struct bytes key,
                                     const struct kv_expected *expected, struct bytes value,
                                     kv_revision revision);
bool kv_model_next(const struct kv_model *model, struct bytes prefix, struct bytes after,
                   struct kv_pair *pair);

#endif
