/* client/core_internal.h: what the files of the core share. Private to client/core*.c. */
#ifndef CLIENT_CORE_INTERNAL_H
#define CLIENT_CORE_INTERNAL_H

#include "client/core.h"

enum {
    /* An endpoint that does not answer delays the next one by no more than this. */
    DIAL_STAGGER_MS = 250,
    DIAL_TIMEOUT_MS = 2000,
    HELLO_TIMEOUT_MS = 1000,
    /* Unanswered for so long: ask for a sign of life; as long again: the connection is dead. */
    SILENCE_MS = 500,
    /* Who leads is asked that often while nobody does: the cost of a failover beyond the election
     * is about half of it. */
    POLL_MS_MIN = 20,
    POLL_MS_MAX = 60,
    POLL_HINT_MS = 10,          /* When another node says that this one leads. */
    POLL_IDLE_FACTOR = 16,      /* Slower by that when nothing waits for a leader. */
    BACKOFF_MS_MIN = 25,        /* Doubled with each failure in a row, */
    BACKOFF_MS_MAX = 1000,      /* up to here; slept is a random part (full jitter). */
    RETRY_AFTER_MS_MAX = 10000, /* A node's retry_after is believed up to here. */
    /* A queued acquire asks again, in case its notice was lost. */
    ASK_AGAIN_MS_MIN = 4000,
    ASK_AGAIN_MS_MAX = 6000,
    GAP_COUNT_MAX = 16,
    CLOSE_MS = 200,
    LIMIT_MIN = 8, /* Requests under way at the leader, whatever it says. */
    /* A request of a session that nothing pays for goes again after so long, doubled each time. */
    PROBE_MS_MIN = 250,
    PROBE_MS_MAX = 2000,
    WATCH_CREDIT = 256 << 10, /* Bytes that a node may send ahead of what was consumed; half */
                              /* of it is given back at a time. */
    WATCH_CHANGE_COST = 64,   /* Of each change beside its texts: docs/protocol.md. */
    WATCH_REQUEST_SIZE_MAX = 1024,
    WATCH_SILENCE_MS = 1500, /* Then a sign of life is asked for. */
    WATCH_RETRY_MS_MIN = 20, /* After a node that cannot serve it now. */
    WATCH_RETRY_MS_MAX = 100,
    SLOT_BITS = 16,
    SLOT_CONNECTION = (1 << SLOT_BITS) - 1, /* Requests of the connection itself. */
};
_Static_assert(CORE_CALL_COUNT_MAX + CORE_SESSION_COUNT_MAX + CORE_WATCH_COUNT_MAX <
                   SLOT_CONNECTION,
               "every call, every session and every watch has a slot of its own in request ids");

/* core_timer.c */
void timer_set(struct core_timers *timers, struct core_timer *timer, uint64_t due_ms);
void timer_clear(struct core_timers *timers, struct core_timer *timer);
struct core_timer *timer_first(const struct core_timers *timers);
void timers_check(const struct core_timers *timers);

/* core.c */
uint64_t core_random_between(struct core *core, uint64_t low, uint64_t high);
uint64_t core_request_id(struct core *core, uint32_t slot);

/* core_endpoint.c */
void endpoints_init(struct core *core, struct bytes list);
void endpoint_failed(struct core *core, int32_t endpoint);
void endpoint_worked(struct core *core, int32_t endpoint, uint64_t taken_ms);
/* It answered the hello AUTH, and has failed. True when no other is left that might serve us. */
MUST_USE bool endpoint_refused(struct core *core, int32_t endpoint);
/* A node named `address` as the leader's. */
void endpoint_hint(struct core *core, struct bytes address);
/* The place of that address; -1. */
int32_t endpoint_find(const struct core *core, struct bytes address);
/* Dials what the search asks for. */
void endpoint_search(struct core *core);
uint64_t endpoint_search_wake_ms(const struct core *core);

/* core_connection.c */
void connection_move(struct core_connection *connection, enum core_connection_state state);
struct core_connection *connection_take(struct core *core, struct bytes address, int32_t endpoint);
uint32_t connection_count_of(const struct core *core, int32_t endpoint);
void connection_close(struct core *core, struct core_connection *connection);
void connection_broken(struct core *core, struct core_connection *connection);
void connection_demote(struct core *core, struct core_connection *connection);
void connection_retire_others(struct core *core);
void connection_timer_due(struct core *core, struct core_connection *connection);
void connection_sent(struct core *core, struct core_connection *connection);
void connection_heard(struct core *core, struct core_connection *connection);
void connection_poll_soon(struct core *core, struct core_connection *connection);
/* The answer to a request of the connection itself. */
void connection_answered(struct core *core, struct core_connection *connection,
                         const struct wire_rpc *rpc);
/* A connection to the leader that takes `size` more bytes; NULL. */
struct core_connection *connection_choose(struct core *core, size_t size);

/* core_through.c: requests go through a node that is not the leader. */
/* The node of this connection names a leader, and there: is it to be asked in the leader's place?
 */
MUST_USE bool through_wanted(struct core *core, const struct core_connection *connection,
                             struct bytes leader_client);
/* What leads now passes on to a leader with that address, as far as that is known. */
void through_begin(struct core *core, struct bytes leader_client);
/* True when core->hint_endpoint is to be dialed now, beside what leads. */
MUST_USE bool through_dials(struct core *core);
uint64_t through_wake_ms(const struct core *core);
/* `leader_is`. */
void through_notice(struct core *core, const struct core_connection *connection,
                    const struct wire_rpc *rpc);

/* core_encode.c */
enum core_call_class call_class(enum wire_method method, bool in_session);
size_t call_size_max(const struct core_call *call);
MUST_USE bool call_encode(const struct core_call *call, uint64_t now_ms, bool takes_deadlines,
                          struct buffer *output);
MUST_USE enum error call_decode(struct core_call *call, struct bytes body);

/* core_call.c */
void call_sent(struct core *core, struct core_call *call, struct core_connection *connection);
void call_finish(struct core *core, struct core_call *call, enum error status,
                 enum outcome outcome);
void call_settle(struct core *core, struct core_call *call);
void call_timer_due(struct core *core, struct core_call *call);
void call_timer_update(struct core *core, struct core_call *call);
void call_wait(struct core *core, struct core_call *call);
enum outcome call_outcome(const struct core_call *call);
void calls_pump(struct core *core);
/* Those that look for a leader: no node takes our token. */
void calls_refuse(struct core *core);
/* All that are not finished, but those that end a session unless `ends_too`. */
void calls_cancel(struct core *core, bool ends_too);
void call_move(struct core_call *call, enum core_call_phase phase);
/* It goes through the window of its session. */
bool call_is_sequenced(const struct core_call *call);

/* core_answer.c */
void call_answered(struct core *core, struct core_call *call, const struct wire_rpc *rpc);
void call_lost(struct core *core, struct core_call *call);
/* Tells the core that the node does not lead, with or without saying who does. */
void call_redirect(struct core *core, struct core_connection *connection,
                   const struct wire_failure *failure);

/* core_lock.c */
void lock_start(struct core *core, struct core_call *call);
void lock_answered(struct core *core, struct core_call *call, enum error status);
void lock_granted(struct core *core, struct core_session *session,
                  const struct wire_granted *granted);
void lock_give_up(struct core *core, struct core_call *call);
void lock_ask_again(struct core *core, struct core_call *call);
void lock_timer_due(struct core *core, struct core_call *call);

/* core_revoked.c */
void revoked_noticed(struct core *core, struct core_session *session,
                     const struct wire_revoked *revoked);
void revoked_renewed(struct core *core, struct core_session *session,
                     const struct wire_session_renew_result *result);
/* A grant is told. */
void revoked_after_grant(struct core *core, const struct core_call *call);

/* core_election.c */
void election_start(struct core *core, struct core_call *call);
void election_wait(struct core *core, struct core_call *call);
void election_sent(struct core *core, struct core_call *call);

/* core_session.c */
void session_opened(struct core *core, struct core_session *session, const struct core_call *call);
void session_open_failed(struct core *core, struct core_session *session);
void session_lost(struct core *core, struct core_session *session);
void session_over(struct core *core, struct core_session *session, struct core_call *end_call);
void session_timer_due(struct core *core, struct core_session *session);
void session_answered(struct core *core, struct core_session *session,
                      struct core_connection *connection, const struct wire_rpc *rpc);
void session_notice(struct core *core, const struct wire_rpc *rpc);
/* The open session with that number; NULL. */
struct core_session *session_find(const struct core *core, uint64_t id);
void session_disconnected(struct core *core, struct core_session *session,
                          const struct core_connection *connection);
void session_ready(struct core *core, struct core_session *session);
void session_refused(struct core *core, struct core_session *session, uint64_t resend_ms);
/* Its window goes again over another connection. */
void session_switch(struct core *core, struct core_session *session);
bool session_is_usable(const struct core_session *session);
void session_wake(struct core *core, struct core_session *session);

/* core_policy.c: what may be sent now, and again (docs/client.md). */
enum policy_result {
    POLICY_ANSWERED,    /* For good. */
    POLICY_REFUSED,     /* The node has too much, or cannot do it. */
    POLICY_TURNED_AWAY, /* It is not the one to ask, or not now. */
    POLICY_LOST,        /* With its connection, or nobody waits for it any more. */
};
void policy_open(struct core *core);
/* Lets time pass. */
void policy_advance(struct core *core);
enum core_kind policy_kind(const struct core_call *call);
/* It waits for nothing but a leader: it ends something, or is a change of the cluster. */
bool policy_is_exempt(const struct core_call *call);
/* A call of that kind may go to the leader now. */
bool policy_admits(const struct core *core, enum core_kind kind);
/* When that may become true by time alone; CORE_NEVER. */
uint64_t policy_wake_ms(const struct core *core);
/* What the leader still asks to wait with a call; and whether that is beyond its deadline. */
uint32_t policy_wait_ms(const struct core *core, const struct core_call *call);
bool policy_is_too_early(const struct core *core, const struct core_call *call);
void policy_obey(struct core *core, const struct core_connection *connection, enum core_kind kind,
                 uint64_t delay_ms);
/* What an answer says about the node, not about the call. */
enum policy_result policy_result_of(enum error status);
/* A call was put on a connection; what came of it. */
void policy_sent(struct core *core, struct core_call *call);
void policy_done(struct core *core, struct core_call *call, enum policy_result result);
/* The leader has enough to do: a call that waits does so for that reason. */
bool policy_is_crowded(const struct core *core, enum core_kind kind);
/* False: it is not to be sent again. Takes from the budget. */
MUST_USE bool policy_retry(struct core *core, const struct core_call *call);
/* The same for the next REFUSED request of a session, which may only wait. */
MUST_USE bool policy_resend(struct core *core, struct core_session *session,
                            const struct core_call *call);
/* Full jitter, twice as long with each time that the call is sent again. */
uint64_t policy_backoff_ms(struct core *core, struct core_call *call);
/* Gives up what is not answered in time, where that helps; when to look again, or CORE_NEVER. */
uint64_t policy_check_attempts(struct core *core, struct core_connection *connection);
/* Dialing needs a permit. */
bool policy_may_dial(const struct core *core, const struct core_endpoint *endpoint);
uint64_t policy_dial_ms(const struct core *core, const struct core_endpoint *endpoint);
void policy_dialed(struct core *core, struct core_connection *connection);
void policy_dial_done(struct core *core, struct core_connection *connection,
                      enum breaker_result result);
void policy_check(const struct core *core);

/* core_window.c: what a session sends, in order. */
void window_pump(struct core *core, struct core_session *session);
void window_answered(struct core *core, struct core_call *call);
void window_rewind(struct core *core, struct core_session *session);
uint64_t window_wake_ms(const struct core_session *session);
/* Its oldest request is on its way. */
bool window_is_asking(const struct core_session *session);
/* It goes on when the leader takes more. */
void session_block(struct core *core, struct core_session *session);

/* core_watch.c */
void watches_pump(struct core *core);
void watch_timer_due(struct core *core, struct core_watch *watch);
/* The connection is lost: those on it go on elsewhere. */
void watches_lost(struct core *core, const struct core_connection *connection);
void watches_cancel(struct core *core);
void watch_answered(struct core *core, struct core_connection *connection,
                    const struct wire_rpc *rpc);
void watch_notice(struct core *core, const struct core_connection *connection,
                  const struct wire_rpc *rpc);
void core_watches_check(const struct core *core);

#endif
