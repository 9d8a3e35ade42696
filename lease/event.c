/* lease/event.c: what becomes of holds, told to whoever applies entries. */
#include "lease/internal.h"

#include <string.h>

void lease_event_add(struct lease_effects *effects, enum lease_event_kind kind, struct bytes name,
                     const struct lease_hold *hold, bool is_kept)
{
    struct lease_events *events = effects->events;

    if (events == NULL) {
        return;
    }
    ASSERT_VALUES(events->count < LEASE_EVENT_COUNT_MAX, hold->session, hold->token);
    ASSERT(name.size <= LEASE_NAME_SIZE_MAX && hold->owner.size <= LEASE_OWNER_SIZE_MAX &&
           hold->metadata.size <= LEASE_METADATA_SIZE_MAX);
    struct lease_event *event = &events->items[events->count++];
    struct buffer text = buffer_of(event->text, sizeof(event->text));
    bool fits = buffer_append(&text, name) && buffer_append(&text, hold->owner) &&
                buffer_append(&text, hold->metadata);

    ASSERT_VALUES(fits, text.size, text.capacity);
    event->kind = kind;
    event->is_kept = is_kept;
    event->session = hold->session;
    event->token = hold->token;
    event->name_size = (uint8_t)name.size;
    event->owner_size = (uint8_t)hold->owner.size;
    event->metadata_size = (uint8_t)hold->metadata.size;
}
