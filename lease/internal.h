/* lease/internal.h: the records of the lease folder, and how they lie in the table.
 *
 * Keys (numbers big endian, so that their order is the table's):
 *
 *   'l' 'a' number[8]                    audit     a forced unlock
 *   'l' 'c' session[8] name              claim     what a session holds or waits for
 *   'l' 'd' filed_ms[8] number[8] name   place     what to look at, by the time to do so:
 *                                                  a session (no name), a hold that is lost (its
 *                                                  token), a queue to go on with (number 0)
 *   'l' 'h' size[1] name token[8]        hold      one of several of a lock
 *   'l' 'l' name                         lock      of a held lock, in the order of names
 *   'l' 'm'                              meta      counters
 *   'l' 'q' size[1] name ticket[8]       waiter    of a queue; the size keeps names apart
 *   'l' 's' session[8]                   session
 *
 * Values (numbers little endian), each with a leading version byte:
 *
 *   audit     version[1] log_ms[8] wall_ms[8] session[8] token[8]
 *             size[1] name size[1] owner size[1] by reason
 *   claim     version[1] ticket[8] token[8]
 *   place     version[1]
 *   hold      version[1] HOLD
 *   lock      version[1] mode[1] is_filed[1] limit[4] used[4] hold_count[4] waiter_count[4]
 *             ticket_last[8] filed_ms[8], and with mode exclusive HOLD
 *   meta      version[1] token_last[8] session_count[8] audit_last[8]
 *   waiter    version[1] session[8] mode[1] units[4] delay_ms[4] size[1] owner metadata
 *   session   version[1] is_ended[1] ttl_ms[4] opened_ms[8] deadline_ms[8] filed_ms[8] owner
 *
 *   HOLD:     session[8] token[8] granted_ms[8] lost_until_ms[8] units[4] delay_ms[4]
 *             size[1] owner metadata
 *
 * A lock's record exists while it is held, and only a held lock has waiters. An exclusive hold lies
 * in the lock's own record, any other in one of its own, and the claim has its token; the claim of
 * an exclusive holder has token 0 and the ticket it queued with (0: never queued): a hand-over of
 * an exclusive lock need not touch the claim. A hold that is lost has no claim. */
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
    LEASE_KIND_AUDIT = 'a',
    LEASE_KIND_CLAIM = 'c',
    LEASE_KIND_PLACE = 'd',
    LEASE_KIND_HOLD = 'h',
    LEASE_KIND_LOCK = 'l',
    LEASE_KIND_META = 'm',
    LEASE_KIND_WAITER = 'q',
    LEASE_KIND_SESSION = 's',
};

enum { LEASE_KEY_SIZE_MAX = 2 + 8 + 8 + LEASE_NAME_SIZE_MAX };
_Static_assert((int)LEASE_KEY_SIZE_MAX <= (int)TABLE_KEY_SIZE_MAX, "every key fits the table");

struct lease_key {
    size_t size;
    uint8_t data[LEASE_KEY_SIZE_MAX];
};

struct lease_meta {
    lease_token token_last; /* Of the last grant. */
    uint64_t session_count;
    uint64_t audit_last; /* Number of the last record. */
};

struct lease_session {
    uint32_t ttl_ms;
    uint64_t opened_ms;
    uint64_t deadline_ms;
    uint64_t filed_ms; /* Its place in the order of deadlines: never behind deadline_ms. */
    bool is_ended;     /* On purpose: what it holds is given up cleanly. */
    struct bytes owner;
};

struct lease_hold {
    lease_session_id session;
    lease_token token;
    uint64_t granted_ms;
    uint64_t lost_until_ms; /* Not 0: lost, and kept until then by the lock delay. */
    uint32_t units;
    uint32_t delay_ms;
    struct bytes owner;
    struct bytes metadata;
};

struct lease_lock {
    enum lease_mode mode; /* Of its holds. */
    uint32_t limit;       /* LEASE_PERMITS; otherwise 0. */
    uint32_t used;        /* Units of all holds. */
    uint32_t hold_count;
    uint32_t waiter_count;
    uint64_t ticket_last;   /* Of the last waiter that queued. */
    bool is_filed;          /* Its queue is to be gone on with: it has a place, */
    uint64_t filed_ms;      /* here. */
    struct lease_hold hold; /* LEASE_EXCLUSIVE. */
};

struct lease_waiter {
    uint64_t ticket;
    lease_session_id session;
    enum lease_mode mode;
    uint32_t units;
    uint32_t delay_ms;
    struct bytes owner;
    struct bytes metadata;
};

struct lease_claim {
    uint64_t ticket;   /* 0: never queued. */
    lease_token token; /* Of a hold that has a record of its own; otherwise 0. */
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

/* What to look at when its time has come. */
struct lease_place {
    uint64_t filed_ms;
    uint64_t number;        /* A session, the token of a lost hold, or 0. */
    struct lease_name name; /* Empty: of a session. */
};

/* --- key.c ------------------------------------------------------------------------------------ */

struct lease_key lease_key_audit(uint64_t number);
struct lease_key lease_key_claim(lease_session_id session, struct bytes name);
struct lease_key lease_key_place(uint64_t filed_ms, uint64_t number, struct bytes name);
struct lease_key lease_key_places(void); /* What all of them begin with. */
struct lease_key lease_key_hold(struct bytes name, lease_token token);
struct lease_key lease_key_lock(struct bytes name);
struct lease_key lease_key_meta(void);
struct lease_key lease_key_waiter(struct bytes name, uint64_t ticket);
struct lease_key lease_key_session(lease_session_id session);

/* --- record.c: one record to or from the table ------------------------------------------------ *
 *
 * What a load or a seek finds borrows its owner and metadata from the table until it changes; a
 * store takes them from there safely when it is the first change. */

void lease_audit_decode(struct bytes value, struct lease_audit_view *audit);
void lease_session_decode(struct bytes value, struct lease_session *session);
void lease_hold_decode(struct bytes value, struct lease_hold *hold);
void lease_lock_decode(struct bytes value, struct lease_lock *lock);
void lease_waiter_decode(struct bytes value, struct lease_waiter *waiter);
void lease_claim_decode(struct bytes value, struct lease_claim *claim);
void lease_place_decode(struct bytes value);

/* All zero before the first session. */
void lease_meta_load(struct table *table, struct lease_meta *meta);
void lease_meta_store(struct table *table, const struct lease_meta *meta);

MUST_USE bool lease_session_load(struct table *table, lease_session_id id,
                                 struct lease_session *session);
void lease_session_store(struct table *table, lease_session_id id,
                         const struct lease_session *session);
void lease_session_erase(struct table *table, lease_session_id id);

void lease_place_store(struct table *table, uint64_t filed_ms, uint64_t number, struct bytes name);
void lease_place_erase(struct table *table, uint64_t filed_ms, uint64_t number, struct bytes name);
/* The first place of all. */
MUST_USE bool lease_place_first(struct table *table, struct lease_place *place);

MUST_USE bool lease_lock_load(struct table *table, struct bytes name, struct lease_lock *lock);
void lease_lock_store(struct table *table, struct bytes name, const struct lease_lock *lock);
void lease_lock_erase(struct table *table, struct bytes name);

MUST_USE bool lease_hold_load(struct table *table, struct bytes name, lease_token token,
                              struct lease_hold *hold);
void lease_hold_store(struct table *table, struct bytes name, const struct lease_hold *hold);
void lease_hold_erase(struct table *table, struct bytes name, lease_token token);
/* The first hold with a record of its own and a token > `after`. */
MUST_USE bool lease_hold_seek(struct table *table, struct bytes name, lease_token after,
                              struct lease_hold *hold);

MUST_USE bool lease_waiter_load(struct table *table, struct bytes name, uint64_t ticket,
                                struct lease_waiter *waiter);
void lease_waiter_store(struct table *table, struct bytes name, const struct lease_waiter *waiter);
void lease_waiter_erase(struct table *table, struct bytes name, uint64_t ticket);
/* The first waiter with a ticket > `after`. */
MUST_USE bool lease_waiter_seek(struct table *table, struct bytes name, uint64_t after,
                                struct lease_waiter *waiter);

MUST_USE bool lease_claim_load(struct table *table, lease_session_id session, struct bytes name,
                               struct lease_claim *claim);
void lease_claim_store(struct table *table, lease_session_id session, struct bytes name,
                       const struct lease_claim *claim);
void lease_claim_erase(struct table *table, lease_session_id session, struct bytes name);
/* The first claim of the session, in the order of names. */
MUST_USE bool lease_claim_first(struct table *table, lease_session_id session,
                                struct lease_name *name, struct lease_claim *claim);

void lease_audit_store(struct table *table, const struct lease_audit_view *audit);
void lease_audit_erase(struct table *table, uint64_t number);

/* --- grant.c ---------------------------------------------------------------------------------- */

/* What a call that passes locks on carries along. */
struct lease_pass {
    uint64_t log_ms;
    uint32_t grants_left; /* That the call may still make. */
    uint32_t skips_left;  /* Due waiters that the call may still take out of queues. */
    struct lease_effects *effects;
    /* Of the hold that was granted last: copied, as its waiter's is borrowed from the table. */
    uint8_t text[LEASE_OWNER_SIZE_MAX + LEASE_METADATA_SIZE_MAX];
};

/* Of a whole call: it may make as many grants as *effects has room for but `reserve`, and begins
 * with LEASE_SKIP_COUNT_MAX skips. */
void lease_pass_begin(struct lease_pass *pass, uint64_t log_ms, struct lease_effects *effects,
                      uint32_t reserve);

/* Who holds that lock, or the value of the holder, may be another now. */
void lease_note_election(struct lease_effects *effects, struct bytes name);

/* Whether a hold of that mode and number may join those that the lock has. */
bool lease_lock_fits(const struct lease_lock *lock, enum lease_mode mode, uint32_t units);

/* The session's own hold of a lock that is held exclusively, and not lost. */
bool lease_lock_is_held_by(const struct lease_lock *lock, lease_session_id session);

/* Adds a hold to the lock and stores its claim; the lock is stored later. Its token. */
lease_token lease_hold_add(struct table *table, struct bytes name, struct lease_lock *lock,
                           struct lease_hold *hold, struct lease_claim claim);

/* Takes a hold from the lock; its claim, and its place if it was lost, are gone already. Passes on
 * what it frees. */
void lease_hold_drop(struct table *table, struct bytes name, struct lease_lock *lock,
                     const struct lease_hold *hold, struct lease_pass *pass);

/* Takes a hold from a session that has not given it up, and its claim: with a lock delay the hold
 * lasts until that is over. */
void lease_hold_lose(struct table *table, struct bytes name, struct lease_lock *lock,
                     struct lease_hold *hold, struct lease_pass *pass);

/* Takes a request out of the queue, and grants what it stood in front of. */
void lease_waiter_withdraw(struct table *table, struct bytes name, struct lease_lock *lock,
                           lease_session_id session, uint64_t ticket, struct lease_pass *pass);

/* Takes one claim from a session that ends: passes the hold on or leaves the queue. `is_clean`: it
 * ended on purpose, and no lock delay follows. */
void lease_claim_drop(struct table *table, lease_session_id session, struct bytes name,
                      const struct lease_claim *claim, bool is_clean, struct lease_pass *pass);

/* The time of a place of a lock has come: a lock delay is over, or the queue is gone on with. */
void lease_place_act(struct table *table, const struct lease_place *place, struct lease_pass *pass);

/* --- event.c ---------------------------------------------------------------------------------- */

/* Notes what becomes of a hold, for whoever watches. Its texts are copied: to be called before the
 * table changes where they are borrowed from it. */
void lease_event_add(struct lease_effects *effects, enum lease_event_kind kind, struct bytes name,
                     const struct lease_hold *hold, bool is_kept);

#endif
