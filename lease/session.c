/* lease/session.c: sessions from opening to removal, and the order of their deadlines.
 *
 * A session is filed under a time that is never behind its deadline. A renewal moves the deadline
 * in the session's own record, and the place only when it comes near; so most renewals write one
 * record instead of three. lease_advance() looks at the places that time has reached: one whose
 * session was renewed since is moved, the others are ended. As no place is behind its deadline, the
 * first place that is at its deadline is the earliest deadline of all. Among the places are also
 * those of lock delays that end, and of queues to be gone on with (grant.c). */
#include "lease/internal.h"

enum {
    /* One grant is left for the command of the same entry, see steps_allowed(). */
    STEP_COUNT_MAX = LEASE_GRANT_COUNT_MAX - 1,
    REFILE_COUNT_MAX = 64,
};

static const struct bytes no_name = {.data = NULL, .size = 0};

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
    lease_place_store(table, session.filed_ms, id, no_name);
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
    lease_place_erase(table, filed_ms, id, no_name);
    lease_place_store(table, session->filed_ms, id, no_name);
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
    lease_place_erase(table, session.filed_ms, id, no_name);
    lease_session_erase(table, id);
    lease_meta_load(table, &meta);
    ASSERT(meta.session_count > 0 || table_error(table) != ERR_OK);
    meta.session_count--;
    lease_meta_store(table, &meta);
    ASSERT_VALUES(effects->ended_count < LEASE_GRANT_COUNT_MAX, effects->ended_count, id);
    effects->ended[effects->ended_count++] = id;
}

/* How many steps a call may take, so that *effects cannot overflow: each adds at most one ended
 * session, and is begun only while there is room for a grant. `reserve` steps are left to later
 * calls with the same effects. */
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

/* True when one more step may be taken, which it counts. */
static bool step_begin(uint32_t *step_count, const struct lease_pass *pass)
{
    if (*step_count == 0 || pass->grants_left == 0) {
        return false;
    }
    (*step_count)--;
    return true;
}

/* Takes away one claim for each step, then the session itself. False when steps ran out before. */
static bool session_dismantle(struct table *table, lease_session_id id, bool is_clean,
                              uint32_t *step_count, struct lease_pass *pass)
{
    struct lease_name name;
    struct lease_claim claim;

    while (step_begin(step_count, pass)) {
        if (!lease_claim_first(table, id, &name, &claim)) {
            session_remove(table, id, pass->effects);
            return true;
        }
        lease_claim_drop(table, id, lease_name_bytes(&name), &claim, is_clean, pass);
    }
    return false;
}

enum error lease_session_end(struct table *table, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects)
{
    struct lease_session session;
    struct lease_pass pass;
    uint32_t step_count = steps_allowed(effects, 0);

    lease_pass_begin(&pass, log_ms, effects, 0);
    if (!lease_session_load(table, id, &session) || lease_session_is_due(&session, log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    if (session_dismantle(table, id, true, &step_count, &pass)) {
        return ERR_OK;
    }
    /* The rest is left to lease_advance(): due from now on. */
    if (!lease_is_present(table, lease_session_load(table, id, &session))) {
        return ERR_OK;
    }
    uint64_t filed_ms = session.filed_ms;
    session.deadline_ms = log_ms;
    session.filed_ms = log_ms;
    session.is_ended = true;
    lease_session_store(table, id, &session);
    lease_place_erase(table, filed_ms, id, no_name);
    lease_place_store(table, log_ms, id, no_name);
    return ERR_OK;
}

/* Looks at a session whose place was reached. False when no more may be done in this call. */
static bool session_look(struct table *table, const struct lease_place *place,
                         uint32_t *refile_count, uint32_t *step_count, struct lease_pass *pass)
{
    lease_session_id id = place->number;
    struct lease_session session;

    if (!lease_is_present(table, lease_session_load(table, id, &session))) {
        return true;
    }
    ASSERT_VALUES(session.filed_ms == place->filed_ms, session.filed_ms, place->filed_ms);
    if (session.deadline_ms == place->filed_ms) {
        return session_dismantle(table, id, session.is_ended, step_count, pass);
    }
    if (*refile_count == 0) {
        return false;
    }
    (*refile_count)--;
    refile(table, id, &session);
    return true;
}

bool lease_advance(struct table *table, uint64_t log_ms, struct lease_effects *effects)
{
    struct lease_place place;
    struct lease_pass pass;
    uint32_t reserve = LEASE_GRANT_COUNT_MAX - STEP_COUNT_MAX;
    uint32_t step_count = steps_allowed(effects, reserve);
    uint32_t refile_count = REFILE_COUNT_MAX;

    lease_pass_begin(&pass, log_ms, effects, reserve);
    while (lease_place_first(table, &place) && place.filed_ms <= log_ms) {
        if (place.name.size == 0) {
            if (!session_look(table, &place, &refile_count, &step_count, &pass)) {
                return true;
            }
        } else if (step_begin(&step_count, &pass)) {
            lease_place_act(table, &place, &pass);
        } else {
            return true;
        }
    }
    return false;
}

bool lease_next_deadline(struct table *table, uint64_t *deadline_ms)
{
    struct lease_place place;

    if (!lease_place_first(table, &place)) {
        return false;
    }
    *deadline_ms = place.filed_ms;
    return true;
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
