/* lease/session.c: sessions from opening to removal, and the order of their deadlines.
 *
 * A session is filed under a time that is never behind its deadline. A renewal moves the deadline
 * in the session's own record, and the place only when it comes near; so most renewals write one
 * record instead of three. lease_advance() looks at the places that time has reached: one whose
 * session was renewed since is moved, the others are ended. As no place is behind its deadline, the
 * first place that is at its deadline is the earliest deadline of all. */
#include "lease/internal.h"

enum {
    /* One grant is left for the command of the same entry, see steps_allowed(). */
    STEP_COUNT_MAX = LEASE_GRANT_COUNT_MAX - 1,
    REFILE_COUNT_MAX = 64,
};

void lease_session_open(struct table *table, lease_session_id id, uint32_t ttl_ms,
                        struct bytes owner, uint64_t log_ms)
{
    struct lease_meta meta;
    struct lease_session present;
    struct lease_session session = {
        .ttl_ms = ttl_ms,
        .opened_ms = log_ms,
        .deadline_ms = log_ms + ttl_ms,
        .filed_ms = log_ms + ttl_ms,
        .owner = owner,
    };

    ASSERT(id != 0);
    ASSERT(ttl_ms != 0);
    ASSERT(!lease_session_load(table, id, &present));
    lease_session_store(table, id, &session);
    lease_place_store(table, session.filed_ms, id);
    lease_meta_load(table, &meta);
    meta.session_count++;
    lease_meta_store(table, &meta);
}

/* Files the session under its deadline. */
static void refile(struct table *table, lease_session_id id, struct lease_session *session)
{
    uint64_t filed_ms = session->filed_ms;

    ASSERT_VALUES(filed_ms != session->deadline_ms, filed_ms, id);
    session->filed_ms = session->deadline_ms;
    /* The record first: its owner is borrowed from the table. */
    lease_session_store(table, id, session);
    lease_place_erase(table, filed_ms, id);
    lease_place_store(table, session->filed_ms, id);
}

enum error lease_session_renew(struct table *table, lease_session_id id, uint64_t log_ms)
{
    struct lease_session session;

    if (!lease_session_load(table, id, &session) || lease_session_is_due(&session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    uint64_t deadline_ms = log_ms + session.ttl_ms;
    if (deadline_ms <= session.deadline_ms) {
        return ERR_OK;
    }
    session.deadline_ms = deadline_ms;
    if (session.filed_ms < log_ms + session.ttl_ms / 2) {
        refile(table, id, &session);
    } else {
        lease_session_store(table, id, &session);
    }
    return ERR_OK;
}

static void session_remove(struct table *table, lease_session_id id, struct lease_effects *effects)
{
    struct lease_meta meta;
    struct lease_session session;

    if (!lease_is_present(table, lease_session_load(table, id, &session))) {
        return;
    }
    lease_place_erase(table, session.filed_ms, id);
    lease_session_erase(table, id);
    lease_meta_load(table, &meta);
    ASSERT(meta.session_count > 0 || table_error(table) != ERR_OK);
    meta.session_count--;
    lease_meta_store(table, &meta);
    ASSERT_VALUES(effects->ended_count < LEASE_GRANT_COUNT_MAX, effects->ended_count, id);
    effects->ended[effects->ended_count++] = id;
}

/* How many steps a call may take. Each step adds at most one grant or one ended session, so that
 * *effects cannot overflow; `reserve` steps are left to later calls with the same effects. */
static uint32_t steps_allowed(const struct lease_effects *effects, uint32_t reserve)
{
    uint32_t used = effects->grant_count;

    if (effects->ended_count > used) {
        used = effects->ended_count;
    }
    ASSERT_VALUES(used <= LEASE_GRANT_COUNT_MAX, used, LEASE_GRANT_COUNT_MAX);
    uint32_t room = LEASE_GRANT_COUNT_MAX - used;
    return room > reserve ? room - reserve : 0;
}

/* Takes away one claim for each step, then the session itself. False when steps ran out before. */
static bool session_dismantle(struct table *table, lease_session_id id, uint32_t *step_count,
                              struct lease_pass *pass)
{
    struct lease_name name;
    uint64_t ticket;

    while (*step_count > 0) {
        (*step_count)--;
        if (!lease_claim_first(table, id, &name, &ticket)) {
            session_remove(table, id, pass->effects);
            return true;
        }
        lease_claim_drop(table, id, lease_name_bytes(&name), ticket, pass);
    }
    return false;
}

enum error lease_session_end(struct table *table, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects)
{
    struct lease_session session;
    struct lease_pass pass = lease_pass_begin(log_ms, effects);
    uint32_t step_count = steps_allowed(effects, 0);

    if (!lease_session_load(table, id, &session) || lease_session_is_due(&session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (session_dismantle(table, id, &step_count, &pass)) {
        return ERR_OK;
    }
    /* The rest is left to lease_advance(): due from now on. */
    if (!lease_is_present(table, lease_session_load(table, id, &session))) {
        return ERR_OK;
    }
    uint64_t filed_ms = session.filed_ms;
    session.deadline_ms = log_ms;
    session.filed_ms = log_ms;
    lease_session_store(table, id, &session);
    lease_place_erase(table, filed_ms, id);
    lease_place_store(table, log_ms, id);
    return ERR_OK;
}

bool lease_advance(struct table *table, uint64_t log_ms, struct lease_effects *effects)
{
    struct lease_session session;
    uint64_t filed_ms;
    lease_session_id id;
    struct lease_pass pass = lease_pass_begin(log_ms, effects);
    uint32_t step_count = steps_allowed(effects, LEASE_GRANT_COUNT_MAX - STEP_COUNT_MAX);
    uint32_t refile_count = REFILE_COUNT_MAX;

    while (lease_place_first(table, &filed_ms, &id) && filed_ms <= log_ms) {
        if (!lease_is_present(table, lease_session_load(table, id, &session))) {
            return false;
        }
        ASSERT_VALUES(session.filed_ms == filed_ms, session.filed_ms, filed_ms);
        if (session.deadline_ms != filed_ms) {
            if (refile_count == 0) {
                return true;
            }
            refile_count--;
            refile(table, id, &session);
        } else if (!session_dismantle(table, id, &step_count, &pass)) {
            return true;
        }
    }
    return false;
}

bool lease_next_deadline(struct table *table, uint64_t *deadline_ms)
{
    lease_session_id id;

    return lease_place_first(table, deadline_ms, &id);
}

bool lease_session_is_alive(struct table *table, lease_session_id id, uint64_t log_ms)
{
    struct lease_session session;

    return lease_session_load(table, id, &session) && !lease_session_is_due(&session, log_ms);
}

uint64_t lease_session_count(struct table *table)
{
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    return meta.session_count;
}
