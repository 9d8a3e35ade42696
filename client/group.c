/* client/group.c: combinations of calls: all, any. A combination takes a slot like any call and is
 * told like one, but never reaches the core. */
#include "client/client.h"
#include "client/slot.h"

/* --- Combining ------------------------------------------------------------------------------- */

/* The mutex is held. */
static bool may_be_member(const struct holdfast *client, const struct holdfast_call *member)
{
    return member != NULL && member->client == client && member->handle.is_kept &&
           member->group.parent == NULL;
}

/* The mutex is held. The members of one that is refused are let go. */
static void release_members(struct holdfast *client, struct holdfast_call *call)
{
    struct list *first;

    while ((first = list_pop_front(&call->group.members)) != NULL) {
        struct holdfast_call *member = CONTAINER_OF(first, struct holdfast_call, group.member);
        member->group.parent = NULL;
        call_drop(client, member);
    }
}

static bool take_members(struct holdfast *client, struct holdfast_call *call,
                         struct holdfast_call *const *members, size_t count)
{
    bool is_valid = true;

    client_lock(client);
    for (size_t i = 0; i < count && is_valid; i++) {
        struct holdfast_call *member = members[i];
        is_valid = may_be_member(client, member);
        if (is_valid) {
            member->group.parent = call;
            member->group.place = i;
            member->handle.references++;
            list_push_back(&call->group.members, &member->group.member);
        }
    }
    if (!is_valid) {
        release_members(client, call);
    }
    client_unlock(client);
    return is_valid;
}

static struct holdfast_call *combine(struct holdfast_call *call, enum group_kind kind,
                                     struct holdfast_call *const *members, size_t count,
                                     uint32_t timeout_ms)
{
    if (call == NULL) {
        return NULL;
    }
    struct group *group = &call->group;
    group->kind = kind;
    group->is_started = false;
    group->is_decided = false;
    group->is_late = false;
    group->is_cancelled = false;
    group->is_rejected = true;
    group->status = HOLDFAST_OK;
    group->index = 0;
    group->left_count = count;
    group->timeout_ms = timeout_ms;
    list_init(&group->members);
    if ((kind == GROUP_ANY && count == 0) || !take_members(call->client, call, members, count)) {
        call->refusal = ERR_MALFORMED;
    }
    return slot_submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with a timeout and a context. */
struct holdfast_call *holdfast_all(struct holdfast *client, struct holdfast_call *const *members,
                                   size_t count, uint32_t timeout_ms, holdfast_callback callback,
                                   void *context)
{
    return combine(slot_take(client, WIRE_METHOD_NONE, callback, context), GROUP_ALL, members,
                   count, timeout_ms);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with a timeout and a context. */
struct holdfast_call *holdfast_any(struct holdfast *client, struct holdfast_call *const *members,
                                   size_t count, uint32_t timeout_ms, holdfast_callback callback,
                                   void *context)
{
    return combine(slot_take(client, WIRE_METHOD_NONE, callback, context), GROUP_ANY, members,
                   count, timeout_ms);
}

/* --- In the turn ----------------------------------------------------------------------------- */

/* Cancelled behind what is under way in this turn; a member that is a combination, likewise. */
static void cancel_members(struct holdfast *client, struct holdfast_call *call)
{
    struct list *members = &call->group.members;

    client_lock(client);
    for (struct list *at = members->next; at != members; at = at->next) {
        struct holdfast_call *member = CONTAINER_OF(at, struct holdfast_call, group.member);
        if (!member->handle.is_done && !list_is_linked(&member->cancelled)) {
            list_push_back(&client->cancelled, &member->cancelled);
        }
    }
    client_unlock(client);
}

static void finish_if_complete(struct holdfast *client, struct holdfast_call *call)
{
    if (call->group.left_count == 0) {
        list_remove(&call->group.timed);
        list_push_back(&client->combined, &call->queue);
    }
}

static void account(struct holdfast *client, struct holdfast_call *call,
                    const struct holdfast_call *member)
{
    struct group *group = &call->group;
    const struct holdfast_result *result = &member->handle.result;
    bool is_ok = result->status == HOLDFAST_OK;
    bool decides = is_ok == (group->kind == GROUP_ANY);

    ASSERT(group->left_count > 0);
    group->left_count--;
    group->is_rejected = group->is_rejected && result->outcome == HOLDFAST_REJECTED;
    if (!group->is_decided && (decides || group->kind == GROUP_ANY)) {
        group->is_decided = decides;
        group->status = result->status;
        group->index = member->group.place;
        if (decides && group->kind == GROUP_ANY) {
            cancel_members(client, call);
        }
    }
}

/* Sorted; most have the timeout of the last. */
static void set_timeout(struct holdfast *client, struct holdfast_call *call)
{
    struct group *group = &call->group;
    struct list *before = client->timed.previous;

    if (group->timeout_ms == 0 || group->left_count == 0) {
        return;
    }
    group->deadline_ms = client->core.now_ms + group->timeout_ms;
    while (before != &client->timed &&
           CONTAINER_OF(before, struct holdfast_call, group.timed)->group.deadline_ms >
               group->deadline_ms) {
        before = before->previous;
    }
    list_insert_before(before->next, &group->timed);
}

void group_start(struct holdfast *client, struct holdfast_call *call)
{
    struct list *members = &call->group.members;

    ASSERT(call->group.kind != GROUP_NONE && !call->group.is_started);
    call->group.is_started = true;
    for (struct list *at = members->next; at != members; at = at->next) {
        const struct holdfast_call *member = CONTAINER_OF(at, struct holdfast_call, group.member);
        if (member->handle.is_done) {
            account(client, call, member);
        }
    }
    set_timeout(client, call);
    finish_if_complete(client, call);
}

void group_member_done(struct holdfast *client, struct holdfast_call *member)
{
    client_lock(client);
    struct holdfast_call *call = member->group.parent;
    client_unlock(client);
    if (call != NULL && call->group.is_started) { /* Else its start will see that it is done. */
        account(client, call, member);
        finish_if_complete(client, call);
    }
}

void group_cancel(struct holdfast *client, struct holdfast_call *call)
{
    call->group.is_cancelled = true;
    cancel_members(client, call);
}

void groups_advance(struct holdfast *client, uint64_t now_ms)
{
    struct list *first;

    while ((first = list_first(&client->timed)) != NULL) {
        struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, group.timed);
        if (call->group.deadline_ms > now_ms) {
            return;
        }
        list_remove(first);
        call->group.is_late = true;
        cancel_members(client, call);
    }
}

/* Success is what it is; a failure that a timeout or the owner caused is called so. */
static enum holdfast_status status_of(const struct group *group)
{
    if (group->status == HOLDFAST_OK) {
        return HOLDFAST_OK;
    }
    if (group->is_late) {
        return HOLDFAST_TIMEOUT;
    }
    return group->is_cancelled ? HOLDFAST_CANCELLED : group->status;
}

void groups_tell(struct holdfast *client)
{
    struct list *first;

    while ((first = list_pop_front(&client->combined)) != NULL) {
        struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, queue);
        struct holdfast_result result = {.status = status_of(&call->group),
                                         .outcome = HOLDFAST_DONE,
                                         .index = call->group.index};
        result.text = error_text((enum error)result.status);
        if (result.status != HOLDFAST_OK) {
            result.outcome = call->group.is_rejected ? HOLDFAST_REJECTED : HOLDFAST_UNKNOWN;
        }
        client_lock(client);
        release_members(client, call);
        client_unlock(client);
        handle_tell(client, call, &result);
        client_lock(client);
        call_drop(client, call);
        client_unlock(client);
    }
}
