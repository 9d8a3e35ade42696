/* tests/support/jepsen/generate.c: a server with one state for each object, and its clients. */
#include "tests/support/jepsen/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"

/* One object; what the others would need stays 0. */
struct object {
    history_value value;
    uint64_t revision;
    uint64_t owner;
    uint64_t token;
    history_value items[GENERATE_ITEM_MAX];
    uint32_t item_count;
};

enum phase { IDLE, CALLED, EXECUTED };

struct client {
    enum phase phase;
    uint32_t key;
    struct history_call call;
    struct history_answer answer;
};

/* Calls whose answer is lost already, and which the server may still execute. */
enum { STRAY_COUNT_MAX = 64 };

struct server {
    struct prng *prng;
    const struct generate_options *options;
    struct history *history;
    struct object objects[GENERATE_KEY_COUNT_MAX];
    struct client clients[GENERATE_PROCESS_COUNT_MAX];
    struct client strays[STRAY_COUNT_MAX];
    uint32_t stray_count;
    uint64_t index;
    uint64_t token;
    uint64_t written; /* Values so far. */
    uint64_t now_ns;
};

static bool percent(struct server *server, uint32_t chance)
{
    return prng_below(server->prng, 100) < chance;
}

static history_value value_of(struct history *history, uint64_t number)
{
    char name[24];
    history_value value;
    int size = snprintf(name, sizeof(name), "%llu", (unsigned long long)number);

    ASSERT(history_value_of(history, bytes_of(name, (size_t)size), &value) == ERR_OK);
    return value;
}

static history_value choose_value(struct server *server)
{
    uint32_t count = server->options->value_count;

    return value_of(server->history,
                    count == 0 ? ++server->written : 1 + prng_below(server->prng, count));
}

static enum history_function choose_function(struct server *server, const struct object *object,
                                             uint64_t owner)
{
    static const enum history_function registers[] = {HISTORY_GET, HISTORY_GET, HISTORY_PUT,
                                                      HISTORY_PUT, HISTORY_CAS, HISTORY_DELETE};
    bool is_full = object->item_count + STRAY_COUNT_MAX / 2 > GENERATE_ITEM_MAX;
    uint64_t drawn = prng_below(server->prng, COUNT_OF(registers));

    switch (server->options->object) {
    case HISTORY_REGISTER:
        /* Deletions are rare: they hide much. */
        return drawn == 5 && percent(server, 50) ? HISTORY_PUT : registers[drawn];
    case HISTORY_LOCK:
        return object->owner == owner && drawn < 5 ? HISTORY_RELEASE : HISTORY_ACQUIRE;
    case HISTORY_SET:
        return drawn < 3 || is_full ? HISTORY_MEMBERS : HISTORY_ADD;
    case HISTORY_LIST:
        return drawn < 3 || is_full ? HISTORY_ITEMS : HISTORY_APPEND;
    }
    UNREACHABLE();
}

static void call(struct server *server, uint32_t process)
{
    struct client *client = &server->clients[process];
    uint64_t owner = process + 1;

    *client = (struct client){.phase = CALLED};
    client->key = (uint32_t)prng_below(server->prng, server->options->key_count);
    const struct object *object = &server->objects[client->key];
    enum history_function function = choose_function(server, object, owner);
    client->call.function = function;
    if (function == HISTORY_CAS) {
        /* Nearly always what is there, or nearly nothing would succeed. */
        client->call.expected = percent(server, 80) ? object->value : choose_value(server);
    }
    if (function == HISTORY_PUT || function == HISTORY_CAS || function == HISTORY_ADD ||
        function == HISTORY_APPEND) {
        client->call.value = choose_value(server);
    }
    if (function == HISTORY_ACQUIRE || function == HISTORY_RELEASE) {
        client->call.owner = owner;
    }
    if (function == HISTORY_RELEASE && percent(server, 80)) {
        client->call.token = object->token;
    }
    char name[16];
    int size = snprintf(name, sizeof(name), "k%u", client->key);
    ASSERT(history_call(server->history, process, bytes_of(name, (size_t)size), &client->call,
                        server->now_ns) == ERR_OK);
}

static void execute_register(struct server *server, struct object *object, struct client *client)
{
    const struct history_call *asked = &client->call;
    bool changes = asked->function == HISTORY_PUT ||
                   (asked->function == HISTORY_CAS && object->value == asked->expected) ||
                   (asked->function == HISTORY_DELETE && object->value != HISTORY_ABSENT);

    if (asked->function == HISTORY_GET) {
        client->answer.value = object->value;
        client->answer.revision = object->value == HISTORY_ABSENT ? 0 : object->revision;
    } else if (changes) {
        object->value = asked->function == HISTORY_DELETE ? HISTORY_ABSENT : asked->value;
        object->revision = server->index;
        client->answer.revision = server->index;
    } else {
        client->answer.refused = true;
    }
}

static void execute_lock(struct server *server, struct object *object, struct client *client)
{
    const struct history_call *asked = &client->call;
    bool holds = object->owner == asked->owner;

    if (asked->function == HISTORY_RELEASE) {
        client->answer.refused = !holds || (asked->token != 0 && asked->token != object->token);
        if (!client->answer.refused) {
            object->owner = 0;
        }
    } else if (object->owner == 0 || holds) {
        if (!holds) {
            object->owner = asked->owner;
            object->token = ++server->token;
        }
        client->answer.token = object->token;
    } else {
        client->answer.refused = true;
    }
    if (!client->answer.refused) {
        client->answer.revision = server->index;
    }
}

static void execute(struct server *server, struct client *client)
{
    struct object *object = &server->objects[client->key];

    server->index += 1 + prng_below(server->prng, 3);
    switch (server->options->object) {
    case HISTORY_REGISTER:
        execute_register(server, object, client);
        break;
    case HISTORY_LOCK:
        execute_lock(server, object, client);
        break;
    case HISTORY_SET:
    case HISTORY_LIST:
        if (client->call.function == HISTORY_MEMBERS || client->call.function == HISTORY_ITEMS) {
            ASSERT(history_list_of(server->history, object->items, object->item_count,
                                   &client->answer.value) == ERR_OK);
        } else if (object->item_count < GENERATE_ITEM_MAX) {
            object->items[object->item_count++] = client->call.value;
            client->answer.revision = server->index;
        }
        break;
    }
    if (!server->options->has_revisions) {
        client->answer.revision = 0;
    }
    client->phase = EXECUTED;
}

static void answer(struct server *server, uint32_t process, enum history_outcome outcome)
{
    struct client *client = &server->clients[process];

    ASSERT(history_answer(server->history, process, outcome, &client->answer, server->now_ns) ==
           ERR_OK);
    client->phase = IDLE;
}

/* The client gives up; the server may still do it later. */
static void lose(struct server *server, uint32_t process)
{
    struct client *client = &server->clients[process];

    if (client->phase == CALLED && server->stray_count < STRAY_COUNT_MAX) {
        server->strays[server->stray_count++] = *client;
    }
    answer(server, process, HISTORY_INFO);
}

static void execute_stray(struct server *server)
{
    if (server->stray_count != 0 && percent(server, 10)) {
        uint32_t at = (uint32_t)prng_below(server->prng, server->stray_count);
        struct client stray = server->strays[at];
        server->strays[at] = server->strays[--server->stray_count];
        if (percent(server, 50)) {
            execute(server, &stray);
        }
    }
}

struct history *generate_history(struct prng *prng, const struct generate_options *options)
{
    uint32_t count = options->operation_count;
    struct history_limits limits = {
        .operation_count_max = count,
        .process_count_max = options->process_count,
        .key_count_max = options->key_count,
        .value_count_max = 2 * count + 1000,
        .text_size_max = (size_t)count * 4 * GENERATE_ITEM_MAX + 100000,
    };
    struct server *server = calloc(1, sizeof(*server));

    ASSERT(options->key_count <= GENERATE_KEY_COUNT_MAX);
    ASSERT(options->process_count <= GENERATE_PROCESS_COUNT_MAX);
    ASSERT(server != NULL);
    server->prng = prng;
    server->options = options;
    server->history = history_open(&limits);
    ASSERT(server->history != NULL);
    while (history_operation_count(server->history) < count) {
        uint32_t process = (uint32_t)prng_below(prng, options->process_count);
        struct client *client = &server->clients[process];
        server->now_ns += 1 + prng_below(prng, 100000);
        if (client->phase == IDLE) {
            call(server, process);
        } else if (percent(server, options->info_percent)) {
            lose(server, process);
        } else if (client->phase == EXECUTED) {
            answer(server, process, HISTORY_OK);
        } else if (percent(server, options->failed_percent)) {
            answer(server, process, HISTORY_FAILED);
        } else {
            execute(server, client);
        }
        execute_stray(server);
    }
    struct history *history = server->history;
    free(server);
    return history;
}

struct history *generate_empty(void)
{
    struct history_limits limits = {
        .operation_count_max = 1000,
        .process_count_max = 100,
        .key_count_max = 100,
        .value_count_max = 1000,
        .text_size_max = 100000,
    };

    return history_open(&limits);
}

static void copy_values(const struct history *from, struct history *to)
{
    for (history_value value = 1; value < history_value_count(from); value++) {
        history_value copy = 0;
        if (history_value_is_list(from, value)) {
            history_value items[2 * GENERATE_ITEM_MAX];
            uint32_t count = history_list_count(from, value);
            for (uint32_t at = 0; at < count; at++) {
                items[at] = history_list_at(from, value, at);
            }
            ASSERT(history_list_of(to, items, count, &copy) == ERR_OK);
        } else {
            ASSERT(history_value_of(to, history_value_bytes(from, value), &copy) == ERR_OK);
        }
        ASSERT(copy == value);
    }
}

static void copy_event(const struct history *from, struct history *to,
                       const struct history_operation *operation, uint32_t at)
{
    if (at == operation->called_at) {
        ASSERT(history_call(to, operation->process, history_key_name(from, operation->key),
                            &operation->call, operation->called_ns) == ERR_OK);
    } else {
        ASSERT(history_answer(to, operation->process, operation->outcome, &operation->answer,
                              operation->answered_ns) == ERR_OK);
    }
}

struct history *generate_changed(const struct history *history, uint32_t number,
                                 const struct history_operation *changed)
{
    uint32_t count = history_operation_count(history);
    struct history_limits limits = {
        .operation_count_max = count,
        .process_count_max = GENERATE_PROCESS_COUNT_MAX,
        .key_count_max = history_key_count(history),
        .value_count_max = history_value_count(history) + 10,
        .text_size_max = (size_t)count * 4 * GENERATE_ITEM_MAX + 200000,
    };
    struct history *copy = history_open(&limits);
    uint32_t *order = malloc(history_event_count(history) * sizeof(*order) + 1);

    ASSERT(copy != NULL && order != NULL);
    copy_values(history, copy);
    for (uint32_t i = 0; i < count; i++) {
        const struct history_operation *operation = history_operation_at(history, i);
        order[operation->called_at] = i;
        if (operation->answered_at != HISTORY_NONE) {
            order[operation->answered_at] = i;
        }
    }
    for (uint32_t at = 0; at < history_event_count(history); at++) {
        bool is_changed = order[at] == number;
        if (!is_changed || changed != NULL) {
            copy_event(history, copy,
                       is_changed ? changed : history_operation_at(history, order[at]), at);
        }
    }
    free(order);
    return copy;
}
