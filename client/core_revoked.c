/* client/core_revoked.c: holds that were unlocked by force: told once, and surely.
 *
 * A node tells of each by a notice, which can be lost with its connection. So every renewal says
 * which record of the audit the session has heard nothing of yet, and its answer tells of what came
 * since. A notice that has told already is remembered until a renewal has told of it, too. */
#include "client/core_internal.h"

static struct core_told *told_find(struct core_session *session, uint64_t token)
{
    for (uint32_t i = 0; i < CORE_TOLD_COUNT; i++) {
        if (session->told[i].token == token) {
            return &session->told[i];
        }
    }
    return NULL;
}

/* A place of which nothing is to be remembered any more; NULL. A node that numbers nothing is not
 * asked again: there the oldest gives way. */
static struct core_told *told_place(struct core_session *session)
{
    for (uint32_t i = 0; i < CORE_TOLD_COUNT; i++) {
        uint32_t at = (session->told_turn + i) % CORE_TOLD_COUNT;
        struct core_told *told = &session->told[at];

        if (told->token == 0 || session->audit_next == 0 || told->number < session->audit_next) {
            session->told_turn = at + 1;
            return told;
        }
    }
    return NULL;
}

/* Who does not take what it is told loses the session, and so the lock, rather than the news. */
static void tell(struct core *core, struct core_session *session, struct bytes name, uint64_t token)
{
    if (core->revoked_count == CORE_REVOKED_COUNT_MAX) {
        session_lost(core, session);
        return;
    }
    uint32_t at = (core->revoked_first + core->revoked_count) % CORE_REVOKED_COUNT_MAX;
    struct core_revoked *entry = &core->revoked[at];

    ASSERT(name.size <= sizeof(entry->name));
    core->revoked_count++;
    entry->session_id = session->id;
    entry->token = token;
    entry->name_size = name.size;
    memcpy(entry->name, name.data, name.size);
}

void revoked_noticed(struct core *core, struct core_session *session,
                     const struct wire_revoked *revoked)
{
    bool is_old = revoked->number != 0 && revoked->number < session->audit_next;

    if (is_old || told_find(session, revoked->token) != NULL) {
        return; /* Told already. */
    }
    struct core_told *told = told_place(session);

    if (told == NULL) {
        session->renew_ms = core->now_ms; /* Its answer tells of all that there are. */
        session_ready(core, session);
        return;
    }
    *told = (struct core_told){.number = revoked->number, .token = revoked->token};
    tell(core, session, revoked->name, revoked->token);
}

void revoked_renewed(struct core *core, struct core_session *session,
                     const struct wire_session_renew_result *result)
{
    struct wire_items items = result->revoked;
    struct wire_revocation item;

    if (result->audit_next <= session->audit_next) {
        return; /* Nothing new, or an answer that is late. */
    }
    if (result->missed) {
        session_lost(core, session); /* Whether it still holds anything cannot be known. */
        return;
    }
    for (uint32_t i = 0; i < items.count; i++) {
        if (wire_revocation_decode(&items.raw, &item) != ERR_OK) {
            session_lost(core, session);
            return;
        }
        if (item.number < session->audit_next || told_find(session, item.token) != NULL) {
            continue;
        }
        struct core_told *told = told_place(session);

        if (told != NULL) {
            *told = (struct core_told){.number = item.number, .token = item.token};
        }
        tell(core, session, item.name, item.token);
    }
    session->audit_next = result->audit_next;
    if (result->more) {
        session->renew_ms = core->now_ms;
        session_ready(core, session);
    }
}

static bool is_to_be_told(const struct core *core, uint64_t token)
{
    for (uint32_t i = 0; i < core->revoked_count; i++) {
        uint32_t at = (core->revoked_first + i) % CORE_REVOKED_COUNT_MAX;

        if (core->revoked[at].token == token) {
            return true;
        }
    }
    return false;
}

/* The news of a forced unlock may come before that of the grant, by another connection. */
void revoked_after_grant(struct core *core, const struct core_call *call)
{
    struct core_session *session = call->session;

    ASSERT(call->class == CORE_ACQUIRE && call->token != 0);
    if (told_find(session, call->token) != NULL && !is_to_be_told(core, call->token)) {
        tell(core, session, call->request.lock_acquire.name, call->token);
    }
}

const struct core_revoked *core_next_revoked(struct core *core)
{
    while (core->revoked_count > 0) {
        struct core_revoked *entry = &core->revoked[core->revoked_first];

        core->revoked_first = (core->revoked_first + 1) % CORE_REVOKED_COUNT_MAX;
        core->revoked_count--;
        entry->session = session_find(core, entry->session_id);
        if (entry->session != NULL) {
            return entry;
        }
    }
    return NULL;
}
