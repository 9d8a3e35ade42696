/* client/result.c: answers of nodes as results of the public interface. */
#include "client/client.h"

/* A copy with a final zero, until the callback returns; empty when the scratch is used up. */
static const char *text_of(struct client_scratch *scratch, struct bytes text)
{
    if (text.size + 1 > scratch->text_capacity - scratch->text_size) {
        return "";
    }
    char *copy = scratch->text + scratch->text_size;
    if (text.size != 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    scratch->text_size += text.size + 1;
    return copy;
}

static void get_of(const struct wire_get_result *get, struct holdfast_result *result)
{
    result->value = get->value.data;
    result->value_size = get->value.size;
    result->revision = get->revision;
    result->session = get->session;
}

static void list_of(struct client_scratch *scratch, const struct wire_list_result *list,
                    struct holdfast_result *result)
{
    struct wire_items items = list->items;
    struct wire_pair pair;

    for (uint32_t i = 0; i < items.count; i++) {
        if (wire_pair_decode(&items.raw, &pair) != ERR_OK) {
            break;
        }
        scratch->pairs[i] = (struct holdfast_pair){.key = pair.key.data,
                                                   .key_size = pair.key.size,
                                                   .value = pair.value.data,
                                                   .value_size = pair.value.size,
                                                   .revision = pair.revision,
                                                   .session = pair.session};
        result->pair_count++;
    }
    result->pairs = scratch->pairs;
    result->more = list->more;
    result->after = list->after.size == 0 ? NULL : list->after.data;
    result->after_size = list->after.size;
    result->revision = list->revision;
}

static void sessions_of(struct client_scratch *scratch, struct wire_items items,
                        struct holdfast_result *result)
{
    struct wire_session_item item;

    for (uint32_t i = 0; i < items.count; i++) {
        if (wire_session_item_decode(&items.raw, &item) != ERR_OK) {
            break;
        }
        scratch->sessions[i] = (struct holdfast_session_info){.session = item.session,
                                                              .owner = text_of(scratch, item.owner),
                                                              .ttl_ms = item.ttl_ms,
                                                              .age_ms = item.age_ms,
                                                              .left_ms = item.left_ms};
        result->session_count++;
    }
    result->sessions = scratch->sessions;
}

/* A lock's name as users know it: that of an election without the byte that marks it. */
static struct bytes name_of(struct bytes name)
{
    return client_is_election(name) ? bytes_skip(name, 1) : name;
}

static enum holdfast_lock_mode mode_of(struct bytes mode)
{
    if (bytes_equal(mode, bytes_of_text("permits"))) {
        return HOLDFAST_PERMITS;
    }
    return bytes_equal(mode, bytes_of_text("shared")) ? HOLDFAST_SHARED : HOLDFAST_EXCLUSIVE;
}

static void locks_of(struct client_scratch *scratch, const struct wire_lock_list_result *list,
                     struct holdfast_result *result)
{
    struct wire_items items = list->items;
    struct wire_lock_item item;

    for (uint32_t i = 0; i < items.count; i++) {
        if (wire_lock_item_decode(&items.raw, &item) != ERR_OK) {
            break;
        }
        scratch->locks[i] = (struct holdfast_lock_info){.name = name_of(item.name).data,
                                                        .name_size = name_of(item.name).size,
                                                        .session = item.session,
                                                        .owner = text_of(scratch, item.owner),
                                                        .token = item.token,
                                                        .age_ms = item.age_ms,
                                                        .left_ms = item.left_ms,
                                                        .waiters = item.waiters,
                                                        .mode = mode_of(item.mode),
                                                        .holders = item.holders,
                                                        .permits = item.permits,
                                                        .used = item.used};
        result->lock_count++;
    }
    result->locks = scratch->locks;
    result->more = list->more;
    result->revision = list->revision;
}

static void show_of(struct client_scratch *scratch, const struct core_call *call,
                    struct holdfast_result *result)
{
    struct wire_items holders = call->answer.lock_show.holders;
    struct wire_items queue = call->answer.lock_show.queue;
    struct bytes name = name_of(call->request.lock_show.name);
    struct wire_holder holder;
    struct wire_waiter waiter;

    result->mode = mode_of(call->answer.lock_show.mode);
    result->permits = call->answer.lock_show.permits;
    result->used = call->answer.lock_show.used;
    result->waiters = call->answer.lock_show.waiters;
    for (uint32_t i = 0; i < holders.count; i++) {
        if (wire_holder_decode(&holders.raw, &holder) != ERR_OK) {
            break;
        }
        scratch->locks[i] = (struct holdfast_lock_info){.name = name.data,
                                                        .name_size = name.size,
                                                        .session = holder.session,
                                                        .owner = text_of(scratch, holder.owner),
                                                        .token = holder.token,
                                                        .age_ms = holder.age_ms,
                                                        .left_ms = holder.left_ms,
                                                        .mode = result->mode,
                                                        .units = holder.units,
                                                        .is_lost = holder.lost,
                                                        .metadata = holder.metadata.data,
                                                        .metadata_size = holder.metadata.size};
        result->lock_count++;
    }
    for (uint32_t i = 0; i < queue.count; i++) {
        if (wire_waiter_decode(&queue.raw, &waiter) != ERR_OK) {
            break;
        }
        scratch->queue[i] = (struct holdfast_lock_info){.name = name.data,
                                                        .name_size = name.size,
                                                        .session = waiter.session,
                                                        .owner = text_of(scratch, waiter.owner),
                                                        .position = waiter.position,
                                                        .mode = mode_of(waiter.mode),
                                                        .units = waiter.units,
                                                        .metadata = waiter.metadata.data,
                                                        .metadata_size = waiter.metadata.size};
        result->queue_count++;
    }
    result->locks = scratch->locks;
    result->queue = scratch->queue;
    result->more = call->answer.lock_show.more;
}

static void audit_of(struct client_scratch *scratch, struct wire_items items,
                     struct holdfast_result *result)
{
    struct wire_audit_item item;

    for (uint32_t i = 0; i < items.count; i++) {
        if (wire_audit_item_decode(&items.raw, &item) != ERR_OK) {
            break;
        }
        scratch->audit[i] =
            (struct holdfast_audit_info){.number = item.number,
                                         .age_ms = item.age_ms,
                                         .wall_ms = item.wall_ms,
                                         .name = name_of(item.name).data,
                                         .name_size = name_of(item.name).size,
                                         .token = item.token,
                                         .session = item.session,
                                         .owner = text_of(scratch, item.owner),
                                         .by = text_of(scratch, item.by),
                                         .reason = text_of(scratch, item.reason),
                                         .is_election = client_is_election(item.name)};
        result->audit_count++;
    }
    result->audit = scratch->audit;
}

/* How many there are. */
static size_t members_of(struct client_scratch *scratch, struct wire_items items,
                         struct holdfast_member_info members[16])
{
    struct wire_member member;
    size_t count = 0;

    while (count < items.count && count < 16) {
        if (wire_member_decode(&items.raw, &member) != ERR_OK) {
            break;
        }
        members[count] = (struct holdfast_member_info){.name = text_of(scratch, member.name),
                                                       .client = text_of(scratch, member.client),
                                                       .peer = text_of(scratch, member.peer),
                                                       .member = text_of(scratch, member.member),
                                                       .id = member.id,
                                                       .is_connected = member.connected,
                                                       .is_caught_up = member.caught_up,
                                                       .disk_is_low = member.disk_low,
                                                       .disk_free = member.disk_free};
        count++;
    }
    return count;
}

static void node_of(struct client_scratch *scratch, const struct wire_status_result *status,
                    struct holdfast_result *result)
{
    struct holdfast_node_status *node = &scratch->node;

    *node = (struct holdfast_node_status){.cluster = text_of(scratch, status->cluster),
                                          .node = text_of(scratch, status->node),
                                          .role = text_of(scratch, status->role),
                                          .leader = text_of(scratch, status->leader),
                                          .term = status->term,
                                          .commit = status->commit,
                                          .applied = status->applied,
                                          .state_hash = status->state_hash,
                                          .configuration = status->configuration,
                                          .is_changing = status->changing,
                                          .members = scratch->members,
                                          .waiting = scratch->waiting,
                                          .lease_ms = status->lease_ms,
                                          .lease_left_ms = status->lease_left_ms,
                                          .lease_reads = status->lease_reads,
                                          .refuses_writes = status->refuses_writes,
                                          .sessions = status->sessions,
                                          .answers = status->answers,
                                          .refusals = status->refusals,
                                          .clock_ms = status->clock_ms,
                                          .commit_us = status->commit_us,
                                          .ttl_floor_ms = status->ttl_floor_ms,
                                          .clock_rate_ppm = status->clock_rate_ppm,
                                          .margin_ms = status->margin_ms,
                                          .election_ms = status->election_ms,
                                          .forwarded_total = status->forwarded_total,
                                          .forwarding = status->forwarding,
                                          .taken_total = status->taken_total,
                                          .memory_bound_bytes = status->memory_bound,
                                          .queued_count = status->queued,
                                          .overloaded_count = status->overloaded,
                                          .rate_limited_count = status->rate_limited,
                                          .late_count = status->late};
    node->member_count = members_of(scratch, status->members, scratch->members);
    node->waiting_count = members_of(scratch, status->waiting, scratch->waiting);
    result->node = node;
}

static void snapshot_of(struct client_scratch *scratch,
                        const struct wire_snapshot_open_result *opened,
                        struct holdfast_result *result)
{
    scratch->snapshot = (struct holdfast_snapshot){.index = opened->index,
                                                   .term = opened->term,
                                                   .size = opened->size,
                                                   .id = opened->id,
                                                   .state_hash = opened->state_hash};
    result->snapshot = &scratch->snapshot;
}

static void leader_of(struct client_scratch *scratch, const struct wire_election_show_result *shown,
                      struct holdfast_result *result)
{
    scratch->leader = (struct holdfast_leader_info){.token = shown->token,
                                                    .value = shown->value.data,
                                                    .value_size = shown->value.size,
                                                    .session = shown->session,
                                                    .owner = text_of(scratch, shown->owner),
                                                    .age_ms = shown->age_ms,
                                                    .left_ms = shown->left_ms,
                                                    .candidates = shown->waiters};
    result->leader = &scratch->leader;
}

static void value_of(struct bytes value, struct holdfast_result *result)
{
    result->value = value.data;
    result->value_size = value.size;
}

/* Of put, delete and cas. */
static uint64_t revision_of(const struct core_call *call)
{
    const union core_answer *answer = &call->answer;

    return call->method == WIRE_METHOD_put      ? answer->put.revision
           : call->method == WIRE_METHOD_delete ? answer->remove.revision
                                                : answer->cas.revision;
}

static void listing_of(struct client_scratch *scratch, const struct core_call *call,
                       struct holdfast_result *result)
{
    const union core_answer *answer = &call->answer;

    if (call->method == WIRE_METHOD_list) {
        list_of(scratch, &answer->list, result);
    } else if (call->method == WIRE_METHOD_lock_list) {
        locks_of(scratch, &answer->lock_list, result);
    } else if (call->method == WIRE_METHOD_session_list) {
        sessions_of(scratch, answer->session_list.items, result);
        result->more = answer->session_list.more;
    } else {
        ASSERT(call->method == WIRE_METHOD_audit_list);
        audit_of(scratch, answer->audit_list.items, result);
        result->more = answer->audit_list.more;
    }
}

static void answer_of(struct client_scratch *scratch, const struct core_call *call,
                      struct holdfast_result *result)
{
    const union core_answer *answer = &call->answer;

    switch (call->method) {
    case WIRE_METHOD_put:
    case WIRE_METHOD_delete:
    case WIRE_METHOD_cas:
        result->revision = revision_of(call);
        return;
    case WIRE_METHOD_get:
        get_of(&answer->get, result);
        return;
    case WIRE_METHOD_list:
    case WIRE_METHOD_session_list:
    case WIRE_METHOD_lock_list:
    case WIRE_METHOD_audit_list:
        listing_of(scratch, call, result);
        return;
    case WIRE_METHOD_lock_acquire:
        result->token = call->token;
        return;
    case WIRE_METHOD_lock_show:
        show_of(scratch, call, result);
        return;
    case WIRE_METHOD_status:
        node_of(scratch, &answer->status, result);
        return;
    case WIRE_METHOD_snapshot_open:
        snapshot_of(scratch, &answer->snapshot_open, result);
        return;
    case WIRE_METHOD_snapshot_read:
        value_of(answer->snapshot_read.bytes, result);
        return;
    case WIRE_METHOD_election_show:
        leader_of(scratch, &answer->election_show, result);
        return;
    case WIRE_METHOD_transact:
        transact_result(scratch, call, result);
        return;
    case WIRE_METHOD_election_proclaim:
    case WIRE_METHOD_member_add:
    case WIRE_METHOD_member_remove:
    case WIRE_METHOD_member_promote:
    case WIRE_METHOD_leader_move:
    case WIRE_METHOD_session_open:
    case WIRE_METHOD_session_end:
    case WIRE_METHOD_lock_release:
    case WIRE_METHOD_lock_break:
    case WIRE_METHOD_hello:
    case WIRE_METHOD_session_renew:
    case WIRE_METHOD_NONE:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        return;
    }
    UNREACHABLE();
}

static enum holdfast_outcome outcome_of(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK:
        return HOLDFAST_DONE;
    case OUTCOME_REJECTED:
        return HOLDFAST_REJECTED;
    case OUTCOME_UNKNOWN:
        return HOLDFAST_UNKNOWN;
    }
    UNREACHABLE();
}

_Static_assert((int)HOLDFAST_REFUSED == (int)ERR_REFUSED, "public numbers are the wire's");

/* Everything in it is borrowed from the scratch, the call and its answer. */
void client_result(struct client_scratch *scratch, const struct core_call *call,
                   struct holdfast_result *result)
{
    ASSERT(call->finished);
    scratch->text_size = 0;
    memset(result, 0, sizeof *result);
    result->status = (enum holdfast_status)call->status;
    result->outcome = outcome_of(call->outcome);
    result->text = error_text(call->status);
    if (call->status == ERR_OK) {
        answer_of(scratch, call, result);
        return;
    }
    if (call->failure.code == (uint32_t)call->status) {
        result->holder = call->failure.holder;
        result->holder_token = call->failure.holder_token;
        result->floor_ms = call->failure.floor_ms;
        if (call->failure.text.size != 0) {
            result->text = text_of(scratch, call->failure.text);
        }
    }
    result->retry_after_ms = call->failure.retry_after_ms;
}

const char *holdfast_status_name(enum holdfast_status status)
{
    return error_name((enum error)status);
}

const char *holdfast_status_text(enum holdfast_status status)
{
    return error_text((enum error)status);
}
