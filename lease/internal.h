/* lease/internal.h: the records of the lease folder, and how they lie in the table.
 *
 * Keys (numbers big endian, so that their order is the table's):
 *
 *   'l' 'c' session[8] name          claim     what a session holds or waits for
 *   'l' 'd' filed_ms[8] session[8]   place     sessions by the time to look at them
 *   'l' 'l' name                     lock      of a held lock; so locks lie in the order of names
 *   'l' 'm'                          meta      counters
 *   'l' 'q' size[1] name ticket[8]   waiter    of a queue; the size keeps names apart
 *   'l' 's' session[8]               session
 *
 * Values (numbers little endian), each with a leading version byte:
 *
 *   claim     version[1] ticket[8]
 *   place     version[1]
 *   lock      version[1] holder[8] token[8] granted_ms[8] ticket_last[8] waiter_count[4] owner
 *   meta      version[1] token_last[8] session_count[8]
 *   waiter    version[1] session[8] owner
 *   session   version[1] ttl_ms[4] opened_ms[8] deadline_ms[8] filed_ms[8] owner
 *
 * A lock's record exists while it is held, and only a held lock has waiters. The claim of a holder
 * keeps the ticket it queued with (0: never queued): the lock's record says who holds it, so a
 * hand-over need not touch the claim. */
#ifndef LEASE_INTERNAL_H
#define LEASE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "base/table.h"
#include "lease/lease.h"

enum {
    LEASE_KIND_CLAIM = 'c',
    LEASE_KIND_PLACE = 'd',
    LEASE_KIND_LOCK = 'l',
    LEASE_KIND_META = 'm',
    LEASE_KIND_WAITER = 'q',
    LEASE_KIND_SESSION = 's',
};

enum { LEASE_KEY_SIZE_MAX = 2 + 1 + LEASE_NAME_SIZE_MAX + 8 };
_Static_assert((int)LEASE_KEY_SIZE_MAX <= (int)TABLE_KEY_SIZE_MAX, "every key fits the table");

struct lease_key {
    size_t size;
    uint8_t data[LEASE_KEY_SIZE_MAX];
};

struct lease_meta {
    lease_token token_last; /* Of the last grant. */
    uint64_t session_count;
};

struct lease_session {
    uint32_t ttl_ms;
    uint64_t opened_ms;
    uint64_t deadline_ms;
    uint64_t filed_ms; /* Its place in the order of deadlines: never behind deadline_ms. */
    struct bytes owner;
};

struct lease_lock {
    lease_session_id holder;
    lease_token token;
    uint64_t granted_ms;
    uint64_t ticket_last; /* Of the last waiter that queued. */
    uint32_t waiter_count;
    struct bytes owner;
};

struct lease_waiter {
    uint64_t ticket;
    lease_session_id session;
    struct bytes owner;
};

/* A name that does not change when the table does. */
struct lease_name {
    uint8_t size;
    uint8_t data[LEASE_NAME_SIZE_MAX];
};

static inline struct bytes lease_key_bytes(const struct lease_key *key)
{
    return bytes_of(key->data, key->size);
}

static inline struct bytes lease_name_bytes(const struct lease_name *name)
{
    return bytes_of(name->data, name->size);
}

/* For a record that another record promises: it can only be missing when the table has failed. */
MUST_USE static inline bool lease_is_present(const struct table *table, bool found)
{
    ASSERT(found || table_error(table) != ERR_OK);
    return found;
}

static inline bool lease_session_is_due(const struct lease_session *session, uint64_t log_ms)
{
    return session->deadline_ms <= log_ms;
}

/* --- record.c: one record to or from the table ------------------------------------------------ *
 *
 * What a load or a seek finds borrows its owner from the table until it changes; a store takes it
 * from there safely when it is the first change. */

struct lease_key lease_key_claim(lease_session_id session, struct bytes name);
struct lease_key lease_key_place(uint64_t filed_ms, lease_session_id session);
struct lease_key lease_key_lock(struct bytes name);
struct lease_key lease_key_waiter(struct bytes name, uint64_t ticket);
struct lease_key lease_key_session(lease_session_id session);

void lease_meta_decode(struct bytes value, struct lease_meta *meta);
void lease_session_decode(struct bytes value, struct lease_session *session);
void lease_lock_decode(struct bytes value, struct lease_lock *lock);
void lease_waiter_decode(struct bytes value, struct lease_waiter *waiter);
uint64_t lease_claim_decode(struct bytes value);
void lease_place_decode(struct bytes value);

/* All zero before the first session. */
void lease_meta_load(struct table *table, struct lease_meta *meta);
void lease_meta_store(struct table *table, const struct lease_meta *meta);

MUST_USE bool lease_session_load(struct table *table, lease_session_id id,
                                 struct lease_session *session);
void lease_session_store(struct table *table, lease_session_id id,
                         const struct lease_session *session);
void lease_session_erase(struct table *table, lease_session_id id);

void lease_place_store(struct table *table, uint64_t filed_ms, lease_session_id session);
void lease_place_erase(struct table *table, uint64_t filed_ms, lease_session_id session);
/* The first place of all. */
MUST_USE bool lease_place_first(struct table *table, uint64_t *filed_ms, lease_session_id *session);

MUST_USE bool lease_lock_load(struct table *table, struct bytes name, struct lease_lock *lock);
void lease_lock_store(struct table *table, struct bytes name, const struct lease_lock *lock);
void lease_lock_erase(struct table *table, struct bytes name);

void lease_waiter_store(struct table *table, struct bytes name, const struct lease_waiter *waiter);
void lease_waiter_erase(struct table *table, struct bytes name, uint64_t ticket);
/* The first waiter with a ticket > `after`. */
MUST_USE bool lease_waiter_seek(struct table *table, struct bytes name, uint64_t after,
                                struct lease_waiter *waiter);

MUST_USE bool lease_claim_load(struct table *table, lease_session_id session, struct bytes name,
                               uint64_t *ticket);
void lease_claim_store(struct table *table, lease_session_id session, struct bytes name,
                       uint64_t ticket);
void lease_claim_erase(struct table *table, lease_session_id session, struct bytes name);
/* The first claim of the session, in the order of names. */
MUST_USE bool lease_claim_first(struct table *table, lease_session_id session,
                                struct lease_name *name, uint64_t *ticket);

/* --- lock.c ----------------------------------------------------------------------------------- */

/* What a call that passes locks on carries along. */
struct lease_pass {
    uint64_t log_ms;
    uint32_t skips_left; /* Due waiters that the call may still take out of queues. */
    struct lease_effects *effects;
};

/* Of a whole call: begins with LEASE_SKIP_COUNT_MAX skips. */
struct lease_pass lease_pass_begin(uint64_t log_ms, struct lease_effects *effects);

/* Takes one claim from a session: passes the lock on or leaves its queue. Adds at most one grant
 * to the effects, which have room for it. */
void lease_claim_drop(struct table *table, lease_session_id session, struct bytes name,
                      uint64_t ticket, struct lease_pass *pass);

#endif
