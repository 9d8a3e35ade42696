/* client/watch.c: the public side of watches: their slots, and what their owners are told. */
#include <string.h>

#include "client/client.h"

enum { KEY_SIZE_MAX = 480, LOCK_NAME_SIZE_MAX = 255, OWNER_SIZE_MAX = 255 };

void watches_init(struct holdfast *client)
{
    list_init(&client->free_watches);
    list_init(&client->started_watches);
    list_init(&client->stopped_watches);
    for (uint32_t i = CLIENT_WATCH_COUNT_MAX; i > 0; i--) {
        struct holdfast_watch *watch = &client->watches[i - 1];
        watch->core.slot = i - 1;
        watch->client = client;
        list_init(&watch->stopped);
        list_push_front(&client->free_watches, &watch->queue);
    }
}

struct holdfast_watch *holdfast_watch(struct holdfast *client,
                                      const struct holdfast_watch_options *options)
{
    size_t size_max = options->locks ? LOCK_NAME_SIZE_MAX : KEY_SIZE_MAX;

    if (options->prefix_size > size_max || options->on_change == NULL) {
        return NULL;
    }
    client_lock(client);
    struct list *first = list_pop_front(&client->free_watches);
    client_unlock(client);
    if (first == NULL) {
        return NULL;
    }
    struct holdfast_watch *watch = CONTAINER_OF(first, struct holdfast_watch, queue);
    if (options->prefix_size != 0) {
        memcpy(watch->prefix, options->prefix, options->prefix_size);
    }
    watch->on_change = options->on_change;
    watch->on_end = options->on_end;
    watch->context = options->context;
    watch->is_stopped = false;
    watch->core.prefix = bytes_of(watch->prefix, options->prefix_size);
    watch->core.locks = options->locks;
    watch->core.exact = options->exact;
    watch->core.revision = options->revision;
    watch->core.change_number = options->number;
    watch->core.timeout_ms = client->timeout_ms;
    client_lock(client);
    list_push_back(&client->started_watches, &watch->queue);
    client_unlock(client);
    shell_wake(client->shell);
    return watch;
}

void holdfast_watch_end(struct holdfast_watch *watch)
{
    struct holdfast *client = watch->client;

    client_lock(client);
    watch->is_stopped = true;
    if (!list_is_linked(&watch->stopped)) {
        list_push_back(&client->stopped_watches, &watch->stopped);
    }
    client_unlock(client);
    shell_wake(client->shell);
}

bool watches_are_asked(const struct holdfast *client)
{
    return !list_is_empty(&client->started_watches) || !list_is_empty(&client->stopped_watches);
}

/* One that is to be stopped was started before. */
void watches_take_submitted(struct holdfast *client)
{
    struct list stopped;
    struct list *first;

    list_init(&stopped);
    client_lock(client);
    while ((first = list_pop_front(&client->stopped_watches)) != NULL) {
        list_push_back(&stopped, first);
    }
    while ((first = list_pop_front(&client->started_watches)) != NULL) {
        core_watch_start(&client->core, &CONTAINER_OF(first, struct holdfast_watch, queue)->core);
    }
    while ((first = list_pop_front(&stopped)) != NULL) {
        core_watch_stop(&client->core, &CONTAINER_OF(first, struct holdfast_watch, stopped)->core);
    }
    client_unlock(client);
}

static enum holdfast_change_kind kind_of(const struct wire_changed *change)
{
    static const struct {
        char name[12];
        enum holdfast_change_kind kind;
    } kinds[] = {
        {"put", HOLDFAST_CHANGE_PUT},         {"delete", HOLDFAST_CHANGE_DELETE},
        {"granted", HOLDFAST_CHANGE_GRANTED}, {"released", HOLDFAST_CHANGE_RELEASED},
        {"lost", HOLDFAST_CHANGE_LOST},       {"broken", HOLDFAST_CHANGE_BROKEN},
    };

    if (change->number == 0) {
        return HOLDFAST_CHANGE_PROGRESS;
    }
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (bytes_equal(change->kind, bytes_of_text(kinds[i].name))) {
            return kinds[i].kind;
        }
    }
    return HOLDFAST_CHANGE_OTHER;
}

static bool is_stopped(struct holdfast *client, const struct holdfast_watch *watch)
{
    client_lock(client);
    bool stopped = watch->is_stopped;
    client_unlock(client);
    return stopped;
}

static void tell_change(struct holdfast *client, const struct core_event *event)
{
    struct holdfast_watch *watch = CONTAINER_OF(event->watch, struct holdfast_watch, core);
    const struct wire_changed *change = &event->change;
    char owner[OWNER_SIZE_MAX + 1];

    if (is_stopped(client, watch)) {
        return;
    }
    ASSERT(change->owner.size <= OWNER_SIZE_MAX);
    if (change->owner.size != 0) {
        memcpy(owner, change->owner.data, change->owner.size);
    }
    owner[change->owner.size] = '\0';
    const struct holdfast_change told = {
        .kind = kind_of(change),
        .revision = change->revision,
        .number = change->number,
        .name = change->name.data,
        .name_size = change->name.size,
        .value = change->value.data,
        .value_size = change->value.size,
        .session = change->session,
        .token = change->token,
        .owner = owner,
        .metadata = change->metadata.data,
        .metadata_size = change->metadata.size,
        .is_kept = change->kept,
    };
    watch->on_change(watch, &told, watch->context);
}

void watches_tell(struct holdfast *client)
{
    const struct core_event *event;
    struct core_watch *ended;

    while ((event = core_next_event(&client->core)) != NULL) {
        tell_change(client, event);
    }
    while ((ended = core_next_watch_ended(&client->core)) != NULL) {
        struct holdfast_watch *watch = CONTAINER_OF(ended, struct holdfast_watch, core);

        if (watch->on_end != NULL) {
            watch->on_end(watch, (enum holdfast_status)ended->status, ended->oldest_revision,
                          watch->context);
        }
        client_lock(client);
        list_remove(&watch->stopped); /* Too late. */
        list_push_front(&client->free_watches, &watch->queue);
        client_unlock(client);
    }
}
