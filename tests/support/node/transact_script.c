/* tests/support/node/transact_script.c: lines as the maps of a transaction. */
#include "tests/support/node/transact_script.h"

#include <string.h>

#include "base/assert.h"
#include "wire/wire.h"

static struct bytes word_of(const char *line, const char **rest)
{
    const char *space = strchr(line, ' ');

    *rest = space + 1;
    return bytes_of(line, (size_t)(space - line));
}

static struct wire_items compares_of(const char *const *lines, struct buffer *items)
{
    size_t begin = items->size;
    uint32_t count = 0;

    for (; count < TRANSACT_SCRIPT_LINE_COUNT_MAX && lines[count] != NULL; count++) {
        const char *key;
        struct wire_compare compare = {.test = word_of(lines[count], &key),
                                       .value = bytes_of_text("value")};

        compare.key = bytes_of_text(key);
        bool fits = wire_compare_encode(&compare, items);
        ASSERT(fits);
    }
    return (struct wire_items){.raw = bytes_of(items->data + begin, items->size - begin),
                               .count = count};
}

static struct wire_items operations_of(const char *const *lines, struct buffer *items)
{
    size_t begin = items->size;
    uint32_t count = 0;

    for (; count < TRANSACT_SCRIPT_LINE_COUNT_MAX && lines[count] != NULL; count++) {
        const char *key;
        struct bytes word = word_of(lines[count], &key);
        bool binds = bytes_equal(word, bytes_of_text("bind"));
        bool puts = binds || bytes_equal(word, bytes_of_text("put"));
        struct wire_operation operation = {.action = binds ? bytes_of_text("put") : word,
                                           .bind = binds,
                                           .value = bytes_of_text(puts ? "value" : "")};

        operation.key = bytes_of_text(key);
        bool fits = wire_operation_encode(&operation, items);
        ASSERT(fits);
    }
    return (struct wire_items){.raw = bytes_of(items->data + begin, items->size - begin),
                               .count = count};
}

void transact_script_encode(const struct transact_script *script, uint64_t session,
                            uint64_t sequence, struct buffer *items, struct buffer *params)
{
    struct wire_transact message = {.session = session, .sequence = sequence};

    message.compares = compares_of(script->compares, items);
    message.success = operations_of(script->success, items);
    message.failure = operations_of(script->failure, items);
    bool fits = wire_transact_encode(&message, params);
    ASSERT(fits);
}
