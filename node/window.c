/* node/window.c: a cache of session windows over the table.
 *
 * In the table: key 'w' and the session (u64, ordered); value
 *
 *     0         1       2          8
 *     | version | count | 6 x zero | last sequence u64 | count x ( error u8, size u16, body )
 *
 * oldest result first; the last one is that of `last sequence`. */
#include "node/window.h"

#include "base/assert.h"
#include "base/list.h"

enum {
    WINDOW_COUNT = 1024,
    BUCKET_COUNT = 2048,
    VALUE_VERSION = 1,
    VALUE_HEADER_SIZE = 16,
    VALUE_SIZE_MAX = VALUE_HEADER_SIZE + WINDOW_RESULT_COUNT * (3 + WINDOW_RESULT_SIZE_MAX),
    KEY_SIZE = 9,
};

_Static_assert((BUCKET_COUNT & (BUCKET_COUNT - 1)) == 0, "buckets are chosen with a mask");
_Static_assert((int)VALUE_SIZE_MAX <= (int)TABLE_VALUE_SIZE_MAX, "a window is one value");

struct slot {
    uint8_t error;
    uint16_t size;
    uint8_t body[WINDOW_RESULT_SIZE_MAX];
};

struct window {
    struct list recent; /* Least recently used first; those that were dropped have session 0. */
    struct list bucket;
    struct list dirty; /* Linked while it differs from the table. */
    uint64_t session;
    uint64_t last_sequence;
    uint32_t count;
    struct slot slots[WINDOW_RESULT_COUNT]; /* At sequence % WINDOW_RESULT_COUNT. */
};

struct windows {
    struct table *table;
    struct list recent;
    struct list dirty;
    struct list buckets[BUCKET_COUNT];
    struct window *windows;
    uint32_t used_count; /* The others have never held a session: not even linked yet. */
    uint8_t *value;      /* Scratch of VALUE_SIZE_MAX bytes. */
};

size_t windows_memory_size(void)
{
    return arena_cost(1, sizeof(struct windows)) + arena_cost(WINDOW_COUNT, sizeof(struct window)) +
           arena_cost(1, VALUE_SIZE_MAX);
}

struct windows *windows_open(struct arena *arena, struct table *table)
{
    ASSERT(table != NULL);
    struct windows *windows = arena_take(arena, 1, sizeof(*windows));

    windows->table = table;
    windows->windows = arena_take(arena, WINDOW_COUNT, sizeof(struct window));
    windows->value = arena_take(arena, 1, VALUE_SIZE_MAX);
    windows_forget(windows);
    return windows;
}

void windows_forget(struct windows *windows)
{
    list_init(&windows->recent);
    list_init(&windows->dirty);
    for (uint32_t i = 0; i < BUCKET_COUNT; i++) {
        list_init(&windows->buckets[i]);
    }
    windows->used_count = 0;
}

void windows_clear(struct windows *windows)
{
    static const uint8_t prefix[] = {WINDOW_KEY_PREFIX};
    struct bytes found;
    struct bytes value;

    windows_forget(windows);
    while (table_seek(windows->table, bytes_of(prefix, sizeof(prefix)), true, &found, &value) &&
           found.data[0] == WINDOW_KEY_PREFIX) {
        uint8_t key[KEY_SIZE];

        ASSERT_VALUES(found.size == KEY_SIZE, found.size, KEY_SIZE);
        memcpy(key, found.data, KEY_SIZE);
        if (!table_delete(windows->table, bytes_of(key, KEY_SIZE))) {
            return; /* The table has failed. */
        }
    }
}

static struct list *bucket_of(struct windows *windows, uint64_t session)
{
    /* Sessions are log indexes: mix them, so that neighbours spread. */
    uint64_t mixed = session * 0x9e3779b97f4a7c15ULL;

    return &windows->buckets[(mixed >> 32) & (BUCKET_COUNT - 1)];
}

static void encode_key(uint8_t key[KEY_SIZE], uint64_t session)
{
    key[0] = WINDOW_KEY_PREFIX;
    store_u64_ordered(key + 1, session);
}

static struct window *find(struct windows *windows, uint64_t session)
{
    struct list *bucket = bucket_of(windows, session);

    for (struct list *at = bucket->next; at != bucket; at = at->next) {
        struct window *window = CONTAINER_OF(at, struct window, bucket);

        if (window->session == session) {
            return window;
        }
    }
    return NULL;
}

static void write_out(struct windows *windows, struct window *window)
{
    uint8_t key[KEY_SIZE];
    struct buffer value = buffer_of(windows->value, VALUE_SIZE_MAX);
    uint8_t *header = buffer_extend(&value, VALUE_HEADER_SIZE);

    ASSERT(header != NULL);
    ASSERT_VALUES(window->count <= WINDOW_RESULT_COUNT, window->count, window->session);
    memset(header, 0, VALUE_HEADER_SIZE);
    header[0] = VALUE_VERSION;
    header[1] = (uint8_t)window->count;
    store_u64(header + 8, window->last_sequence);
    for (uint32_t i = 0; i < window->count; i++) {
        uint64_t sequence = window->last_sequence - window->count + 1 + i;
        const struct slot *slot = &window->slots[sequence % WINDOW_RESULT_COUNT];
        uint8_t *at = buffer_extend(&value, 3 + (size_t)slot->size);

        ASSERT(at != NULL);
        at[0] = slot->error;
        store_u16(at + 1, slot->size);
        memcpy(at + 3, slot->body, slot->size);
    }
    encode_key(key, window->session);
    table_put(windows->table, bytes_of(key, KEY_SIZE), buffer_bytes(&value));
    list_remove(&window->dirty);
}

/* Fills a window from the table; an unknown session begins at sequence 0. */
static void read_in(struct windows *windows, struct window *window)
{
    uint8_t key[KEY_SIZE];
    struct bytes value;

    window->last_sequence = 0;
    window->count = 0;
    encode_key(key, window->session);
    if (!table_get(windows->table, bytes_of(key, KEY_SIZE), &value)) {
        return;
    }
    ASSERT_VALUES(value.size >= VALUE_HEADER_SIZE, value.size, window->session);
    ASSERT_VALUES(value.data[0] == VALUE_VERSION, value.data[0], window->session);
    window->count = value.data[1];
    window->last_sequence = load_u64(value.data + 8);
    ASSERT_VALUES(window->count <= WINDOW_RESULT_COUNT, window->count, window->session);
    value = bytes_skip(value, VALUE_HEADER_SIZE);
    for (uint32_t i = 0; i < window->count; i++) {
        uint64_t sequence = window->last_sequence - window->count + 1 + i;
        struct slot *slot = &window->slots[sequence % WINDOW_RESULT_COUNT];

        ASSERT_VALUES(value.size >= 3, value.size, window->session);
        slot->error = value.data[0];
        slot->size = load_u16(value.data + 1);
        ASSERT_VALUES(slot->size <= WINDOW_RESULT_SIZE_MAX, slot->size, window->session);
        value = bytes_skip(value, 3);
        memcpy(slot->body, value.data, slot->size);
        value = bytes_skip(value, slot->size);
    }
}

/* One that holds no session, or else the least recently used one. */
static struct window *vacant(struct windows *windows)
{
    struct list *first = list_first(&windows->recent);
    struct window *window = first == NULL ? NULL : CONTAINER_OF(first, struct window, recent);

    if (window != NULL && (window->session == 0 || windows->used_count == WINDOW_COUNT)) {
        return window;
    }
    window = &windows->windows[windows->used_count++];
    window->session = 0;
    list_init(&window->bucket);
    list_init(&window->dirty);
    list_push_back(&windows->recent, &window->recent);
    return window;
}

/* The session's window, brought into memory if need be, and now the most recently used one. */
static struct window *take(struct windows *windows, uint64_t session)
{
    ASSERT(session != 0);
    struct window *window = find(windows, session);

    if (window == NULL) {
        window = vacant(windows);
        if (list_is_linked(&window->dirty)) {
            write_out(windows, window);
        }
        list_remove(&window->bucket);
        window->session = session;
        list_push_back(bucket_of(windows, session), &window->bucket);
        read_in(windows, window);
    }
    list_remove(&window->recent);
    list_push_back(&windows->recent, &window->recent);
    return window;
}

enum window_verdict windows_look(struct windows *windows, uint64_t session, uint64_t sequence,
                                 struct window_result *result)
{
    ASSERT(sequence != 0);
    const struct window *window = take(windows, session);

    if (sequence == window->last_sequence + 1) {
        return WINDOW_NEXT;
    }
    if (sequence > window->last_sequence) {
        return WINDOW_GAP;
    }
    if (window->last_sequence - sequence >= window->count) {
        return WINDOW_STALE;
    }
    const struct slot *slot = &window->slots[sequence % WINDOW_RESULT_COUNT];
    *result = (struct window_result){
        .error = error_from_number(slot->error),
        .body = bytes_of(slot->body, slot->size),
    };
    return WINDOW_REPEATED;
}

void windows_store(struct windows *windows, uint64_t session, uint64_t sequence,
                   const struct window_result *result)
{
    struct window *window = take(windows, session);
    struct slot *slot = &window->slots[sequence % WINDOW_RESULT_COUNT];

    ASSERT_VALUES(sequence == window->last_sequence + 1, sequence, window->last_sequence);
    ASSERT_VALUES(result->body.size <= WINDOW_RESULT_SIZE_MAX, result->body.size, session);
    ASSERT_VALUES((unsigned)result->error <= UINT8_MAX, result->error, session);
    slot->error = (uint8_t)result->error;
    slot->size = (uint16_t)result->body.size;
    if (result->body.size != 0) {
        memcpy(slot->body, result->body.data, result->body.size);
    }
    window->last_sequence = sequence;
    if (window->count < WINDOW_RESULT_COUNT) {
        window->count++;
    }
    if (!list_is_linked(&window->dirty)) {
        list_push_back(&windows->dirty, &window->dirty);
    }
}

void windows_drop(struct windows *windows, uint64_t session)
{
    ASSERT(session != 0);
    uint8_t key[KEY_SIZE];
    struct window *window = find(windows, session);

    if (window != NULL) {
        window->session = 0;
        list_remove(&window->bucket);
        list_remove(&window->dirty);
        list_remove(&window->recent);
        list_push_front(&windows->recent, &window->recent);
    }
    encode_key(key, session);
    table_delete(windows->table, bytes_of(key, KEY_SIZE));
}

void windows_flush(struct windows *windows)
{
    struct list *first;

    while ((first = list_first(&windows->dirty)) != NULL) {
        write_out(windows, CONTAINER_OF(first, struct window, dirty));
    }
    ASSERT(list_is_empty(&windows->dirty));
}

void windows_check(const struct windows *windows)
{
    uint32_t used = 0;
    uint32_t indexed = 0;

    ASSERT_VALUES(windows->used_count <= WINDOW_COUNT, windows->used_count, WINDOW_COUNT);
    for (uint32_t i = 0; i < windows->used_count; i++) {
        const struct window *window = &windows->windows[i];

        ASSERT_VALUES(list_is_linked(&window->recent), i, window->session);
        ASSERT_VALUES(list_is_linked(&window->bucket) == (window->session != 0), i,
                      window->session);
        if (window->session == 0) {
            ASSERT_VALUES(!list_is_linked(&window->dirty), i, window->session);
            continue;
        }
        ASSERT_VALUES(window->count <= window->last_sequence, window->count, window->last_sequence);
        used++;
    }
    for (uint32_t i = 0; i < BUCKET_COUNT; i++) {
        const struct list *bucket = &windows->buckets[i];

        for (const struct list *at = bucket->next; at != bucket; at = at->next) {
            indexed++;
        }
    }
    ASSERT_VALUES(used == indexed, used, indexed);
}
