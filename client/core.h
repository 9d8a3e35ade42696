/* client/core.h: everything that the client library decides, without an operating system.
 *
 * Pure: time and bytes come in with calls, requests go out into the output buffers of connections,
 * answers go out as finished calls. Nothing is allocated: calls and sessions are the caller's
 * structures, tables come from an arena, every number has a maximum. The shell (client/uv.c) and
 * the virtual-clock tests drive the same core:
 *
 *   core_advance()   first after every wake-up: deadlines of sessions before anything else
 *   core_receive(), core_connected(), core_disconnected(), core_call_start(), ...
 *   core_pump()      puts what may be sent into output buffers and looks for the leader
 *   core_next_changed(), core_next_finished(), core_next_freed()   what to tell the user
 *   then connections in CORE_DIAL_WANTED are dialed, in CORE_CLOSE_WANTED closed, outputs written
 *
 * Times are milliseconds of the client's clock (docs/client.md). */
#ifndef CLIENT_CORE_H
#define CLIENT_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bucket.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/prng.h"
#include "client/core_breaker.h"
#include "client/core_budget.h"
#include "client/core_latency.h"
#include "client/core_limiter.h"
#include "wire/wire.h"

enum {
    CORE_ADDRESS_SIZE_MAX = 128,
    CORE_LISTED_COUNT_MAX = 16,   /* Endpoints of the options. */
    CORE_ENDPOINT_COUNT_MAX = 32, /* With those that nodes told us of. */
    CORE_LEADER_CONNECTION_COUNT_MAX = 16,
    CORE_SEARCH_CONNECTION_COUNT = 12, /* Beyond those to the leader: search, node_status. */
    CORE_WINDOW_COUNT_MAX = 64,        /* Unanswered requests of one session at once. */
    CORE_ATTEMPT_COUNT = 4,            /* Renewals whose answer still counts. */
    CORE_REVOKED_COUNT_MAX = 64,       /* Forced unlocks not yet told; one more ends its session. */
    CORE_LOCK_NAME_SIZE_MAX = 255,
    CORE_NODE_NAME_SIZE_MAX = 32,
    CORE_TOLD_COUNT = 4, /* Forced unlocks told by a notice that no renewal has told of yet. */
    CORE_OUTPUT_SIZE_MIN = WIRE_FRAME_SIZE_MAX + 4096,
    CORE_CALL_COUNT_MAX = 32768,    /* Of calls and sessions together 65000: a request id has 16 */
    CORE_SESSION_COUNT_MAX = 16384, /* bits for its slot. */
    CORE_WATCH_COUNT_MAX = 8192,    /* Likewise. */
    CORE_EVENT_COUNT_MAX = 256,     /* Changes that were not told yet; more wait in the input. */
};

#define CORE_NEVER UINT64_MAX

/* --- Timers (core_timer.c) ------------------------------------------------------------------- */

enum core_timer_kind {
    CORE_TIMER_CALL,
    CORE_TIMER_SESSION,
    CORE_TIMER_CONNECTION,
    CORE_TIMER_WATCH,
};

struct core_timer {
    uint64_t due_ms;
    uint32_t place; /* In the heap, from 1; 0: not armed. */
    enum core_timer_kind kind;
};

struct core_timers {
    struct core_timer **heap; /* heap[1] is due first. */
    uint32_t count;
    uint32_t capacity;
};

/* --- Calls ----------------------------------------------------------------------------------- */

struct core_connection;
struct core_session;

enum core_call_class {
    CORE_READ,          /* Sent again until its deadline. */
    CORE_WRITE_ALONE,   /* Never sent again once its fate is unknown. */
    CORE_WRITE_SESSION, /* Sent again with the same sequence. */
    CORE_ACQUIRE,       /* Likewise; a new sequence for each time it asks. */
    CORE_SESSION_OPEN,  /* Sent again: a session that nobody knows of ends by itself. */
    CORE_SESSION_END,   /* Sent again: the second time it is already ended. */
    CORE_NODE_STATUS,   /* To one node, once. */
    CORE_CHANGE,        /* Of the cluster. Sent again: what is done is not done twice. */
};

/*            +--------------------- refused, lost ----------------------+
 *            v                                                          |
 *  FREE -> WAITING -> SENT -> SETTLED          SENT -> QUEUED (acquire) -+-> WAITING
 *                      |  ^                                              (asks again)
 *                      v  |
 *                    REFUSED (keeps its place until it may be sent again)
 *
 * Any phase moves to SETTLED; a settled call is its owner's again once its result was taken. */
enum core_call_phase {
    CORE_CALL_FREE,
    CORE_CALL_WAITING, /* To be sent. */
    CORE_CALL_SENT,
    CORE_CALL_REFUSED, /* To be sent again, not before `retry_ms`. */
    CORE_CALL_QUEUED,  /* An acquire in the lock's queue: the next word is the node's. */
    CORE_CALL_SETTLED,
};
enum { CORE_CALL_PHASE_COUNT = CORE_CALL_SETTLED + 1 };

union core_request {
    struct wire_put put;
    struct wire_get get;
    struct wire_delete remove;
    struct wire_cas cas;
    struct wire_list list;
    struct wire_session_open session_open;
    struct wire_session_end session_end;
    struct wire_session_list session_list;
    struct wire_lock_acquire lock_acquire;
    struct wire_lock_release lock_release;
    struct wire_lock_show lock_show;
    struct wire_lock_list lock_list;
    struct wire_lock_break lock_break;
    struct wire_audit_list audit_list;
    struct wire_member_add member_add;
    struct wire_member_remove member_remove;
    struct wire_member_promote member_promote;
    struct wire_leader_move leader_move;
    struct wire_snapshot_open snapshot_open;
    struct wire_snapshot_read snapshot_read;
    struct wire_election_proclaim election_proclaim;
    struct wire_election_show election_show;
    struct wire_transact transact;
};

union core_answer {
    struct wire_put_result put;
    struct wire_get_result get;
    struct wire_delete_result remove;
    struct wire_cas_result cas;
    struct wire_list_result list;
    struct wire_session_open_result session_open;
    struct wire_session_end_result session_end;
    struct wire_session_list_result session_list;
    struct wire_lock_acquire_result lock_acquire;
    struct wire_lock_release_result lock_release;
    struct wire_lock_show_result lock_show;
    struct wire_lock_list_result lock_list;
    struct wire_lock_break_result lock_break;
    struct wire_audit_list_result audit_list;
    struct wire_status_result status;
    struct wire_member_add_result member_add;
    struct wire_member_remove_result member_remove;
    struct wire_member_promote_result member_promote;
    struct wire_leader_move_result leader_move;
    struct wire_snapshot_open_result snapshot_open;
    struct wire_snapshot_read_result snapshot_read;
    struct wire_election_proclaim_result election_proclaim;
    struct wire_election_show_result election_show;
    struct wire_transact_result transact;
};

/* A request under way. The owner fills in the first part; bytes in it stay valid until the call is
 * its owner's again. All else is the core's. */
struct core_call {
    uint32_t slot; /* Below `call_count_max`, one for each call alive. */
    enum wire_method method;
    union core_request request;
    struct core_session *session; /* session_open, and writes in a session, its end too. */
    int64_t wait_ms; /* lock_acquire: < 0 for ever, 0 not at all. election_show: >= 0. */
    uint32_t timeout_ms;
    struct bytes address; /* status: the node to ask. */

    /* The result. Bytes are borrowed from the connection's input: see core_receive(). */
    enum error status;
    enum outcome outcome;
    struct wire_failure failure; /* With a status that a node sent. */
    union core_answer answer;    /* With ERR_OK. */
    struct bytes body;           /* What it was decoded from; empty: it did not come as one. */
    uint64_t token;              /* lock_acquire. */

    enum core_call_class class;
    enum core_call_phase phase;
    bool finished;    /* The result is decided; it is told once. */
    bool delivered;   /* And the owner has taken it. */
    bool in_doubt;    /* An earlier attempt may have been applied. */
    bool asked;       /* Something was sent. */
    bool giving_up;   /* An acquire that nobody waits for: leave queue and lock. */
    bool releasing;   /* It was granted meanwhile: the request is lock_release of `token`. */
    bool is_counted;  /* Under way, as far as the limiter knows. */
    bool is_silent;   /* This attempt was not answered in time; the answer may still come. */
    bool unprocessed; /* The node was not the one to ask: to be sent again at no cost. */
    uint8_t retry_count;
    uint8_t gap_count;
    enum error refusal; /* The last one that was surely not applied; ERR_OK: none. */
    uint32_t refusal_retry_after_ms;
    uint64_t request_id;
    uint64_t sequence;    /* 0: none given yet. */
    uint64_t attempt;     /* session_open. */
    uint64_t attempt_ms;  /* When it was sent last. */
    uint64_t deadline_ms; /* CORE_NEVER while in the queue of a lock. */
    uint64_t limit_ms;    /* lock_acquire, election_show: end of the wait. */
    uint64_t retry_ms;    /* REFUSED: send again; QUEUED: ask again. */
    uint64_t floor_token; /* lock_acquire: greatest token the user had when it began. */
    struct breaker_permit permit;
    struct core_connection *connection;
    struct core_timer timer;
    struct list queue;  /* Where it waits to be sent, or the unanswered of its connection. */
    struct list window; /* Of its session: unanswered, by sequence. */
    struct list member; /* Of its session: all calls. */
    struct list told;   /* Finished, or freed. */
};

/* --- Sessions -------------------------------------------------------------------------------- */

/* OPENING -> CONNECTED <-> SUSPECT -> LOST, and OPENING -> LOST when it cannot be opened. */
enum core_session_state {
    CORE_SESSION_OPENING,
    CORE_SESSION_CONNECTED,
    CORE_SESSION_SUSPECT,
    CORE_SESSION_LOST,
};
enum { CORE_SESSION_STATE_COUNT = CORE_SESSION_LOST + 1 };

/* One renewal on its way. */
struct core_attempt {
    uint64_t number; /* 0: none, or answered. */
    uint64_t request_id;
    uint64_t sent_ms;
    struct core_connection *connection;
};

/* A forced unlock that the user was told of. */
struct core_told {
    uint64_t number; /* Of its record in the audit. */
    uint64_t token;  /* 0: the place is free. */
};

struct core_session {
    uint32_t slot; /* Below `session_count_max`; the owner's choice, the rest is the core's. */
    enum core_session_state state;
    enum core_session_state reported;
    uint64_t id;
    uint32_t ttl_ms;
    uint64_t deadline_ms;  /* The holder's; 0 until it is open. Never moves back. */
    uint64_t renew_ms;     /* The next renewal is due. */
    uint64_t suspect_ms;   /* Suspect then, unless a renewal is confirmed. */
    uint64_t end_retry_ms; /* Lost: the cluster is told then, */
    uint64_t end_until_ms; /* or not at all. */
    uint64_t attempt_count;
    struct core_attempt attempts[CORE_ATTEMPT_COUNT];
    uint64_t end_request_id; /* 0: none on its way. */
    uint64_t sequence;       /* The last one given. */
    uint64_t resend_ms;      /* REFUSED requests are sent again then, */
    bool is_refused;         /* The leader has too much, by its last word to this session. */
    bool awaits_answer;      /* but not before one that was sent is answered. */
    bool has_answer;         /* One was: it pays for sending the next one again. */
    uint8_t probe_count;     /* Times in a row that its oldest went again unpaid, */
    uint64_t probe_ms;       /* and when it may do so next. */
    bool is_stuck;           /* Not answered in time. */
    uint64_t token_max;      /* Greatest token that the user was told. */
    uint64_t audit_next;     /* The first forced unlock that no renewal has told of; 0: the node
                                does not say. */
    struct core_told told[CORE_TOLD_COUNT];
    uint32_t told_turn;
    bool ending;     /* The user ends it: renewals go on, new requests do not. */
    bool finishing;  /* Its session_end call is under way. */
    bool end_wanted; /* Lost or closing: tell the cluster once it can be reached. */
    struct core_call *open_call;
    struct core_connection *connection; /* All its requests take the same one, in order. */
    struct core_timer timer;
    uint32_t window_count;
    struct list window;  /* Calls with an unanswered sequence, in order. */
    struct list backlog; /* Calls to be sent behind them. */
    struct list calls;   /* All. */
    struct list ready;   /* In core.ready when something is to be sent. */
    struct list blocked; /* In core.blocked when the leader takes no more for now. */
    struct list changed; /* In core.changed. */
    struct list all;     /* In core.sessions. */
};

/* --- Connections ----------------------------------------------------------------------------- */

/*  CLOSED -> DIAL_WANTED -> DIALING -> GREETING -> LEADER <-> STANDBY
 *    ^           |            |          |          |           |
 *    +-----------+---- CLOSE_WANTED <----+----------+-----------+
 *
 * The shell moves DIAL_WANTED on with core_dialing(), and CLOSE_WANTED with core_closed(). */
enum core_connection_state {
    CORE_CLOSED,
    CORE_DIAL_WANTED,
    CORE_DIALING,
    CORE_GREETING, /* hello is sent. */
    CORE_STANDBY,  /* Not the leader: asked now and then who is. */
    CORE_LEADER,
    CORE_CLOSE_WANTED,
};
enum { CORE_CONNECTION_STATE_COUNT = CORE_CLOSE_WANTED + 1 };

struct core_connection {
    uint32_t index;
    enum core_connection_state state;
    struct bytes address; /* To dial. */
    int32_t endpoint;     /* Its place, or -1 for a node_status call. */
    struct core_call *status_call;
    struct buffer output; /* Memory from core_connected() on; the shell takes from it. */
    uint64_t hello_id;
    uint64_t probe_id; /* Of a status request on its way; 0: none. */
    uint64_t probe_ms; /* When it was sent. */
    uint64_t probe_count;
    uint64_t silent_since_ms; /* Something is unanswered since; CORE_NEVER: nothing is. */
    uint64_t heard_ms;        /* When its node said something last. */
    bool retiring;            /* Closed as soon as nothing is unanswered. */
    bool is_suspect;          /* An attempt timed out, and nothing came since. */
    bool has_permit;          /* For dialing. */
    struct breaker_permit permit;
    uint32_t clock_rate_ppm; /* As its hello said. */
    uint32_t margin_ms;
    bool passes_on; /* Requests to the leader, while its node does not lead. */
    uint32_t node_size;
    char node[CORE_NODE_NAME_SIZE_MAX];
    bool takes_deadlines; /* Its node knows the fifth element of a request. */
    struct core_timer timer;
    struct list unanswered; /* Calls. */
};

/* What a node may refuse by itself: one that takes no writes may serve reads. */
enum core_kind { CORE_KIND_READ, CORE_KIND_WRITE };
enum { CORE_KIND_COUNT = CORE_KIND_WRITE + 1 };

/* --- Endpoints ------------------------------------------------------------------------------- */

struct core_endpoint {
    char address[CORE_ADDRESS_SIZE_MAX];
    uint32_t address_size;
    bool listed;
    bool refuses_us;        /* It knows no such token, as it said last. */
    uint32_t failure_count; /* In a row. */
    uint64_t not_before_ms; /* Backoff with full jitter. */
    uint64_t failed_ms;     /* When it failed last. */
    uint64_t dialed;        /* Order of dialing: among equals the longest ago goes first. */
    struct core_breaker breaker;
    struct core_latency latency;
    uint64_t greeting_ms;                /* What it took to answer hello, smoothed. */
    uint64_t obeyed_ms[CORE_KIND_COUNT]; /* It asked for nothing of a kind until then. */
};

/* A hold that was taken away by force. */
struct core_revoked {
    struct core_session *session; /* Set when it is told. */
    uint64_t session_id;
    uint64_t token;
    size_t name_size;
    uint8_t name[CORE_LOCK_NAME_SIZE_MAX];
};

/* --- Watches (core_watch.c) ------------------------------------------------------------------ */

enum core_watch_state { CORE_WATCH_WAITING, CORE_WATCH_ASKED, CORE_WATCH_LIVE, CORE_WATCH_ENDED };
enum { CORE_WATCH_STATE_COUNT = CORE_WATCH_ENDED + 1 };

/* A watch. The owner fills in the first part; its bytes stay valid until it has ended. */
struct core_watch {
    uint32_t slot; /* Below `watch_count_max`, one for each watch alive. */
    struct bytes prefix;
    bool locks;
    bool exact;
    uint32_t timeout_ms; /* For the first answer: ended NO_QUORUM when there is none. */
    /* Where it is: behind change `change_number` of `revision`; 0: behind all of that. Revision 0:
     * it begins where the first node that answers is. */
    uint64_t revision;
    uint32_t change_number;

    enum error status;        /* Once it has ended; CANCELLED when its owner did it. */
    uint64_t oldest_revision; /* With COMPACTED. */

    enum core_watch_state state;
    uint64_t number; /* What the node knows it by; another one each time it is asked for. */
    struct core_connection *connection;
    uint32_t consumed; /* Bytes of credit not yet given back. */
    uint64_t deadline_ms;
    uint64_t retry_ms;
    struct core_timer timer;
    struct list all;   /* In core.watches_all, until it has ended. */
    struct list ready; /* In core.watches_ready when something is to be sent. */
    struct list ended; /* In core.watches_ended until that is told. */
};

/* A change to be told. Its bytes are borrowed from the connection's input. */
struct core_event {
    struct core_watch *watch;
    struct wire_changed change;
};

/* --- The core -------------------------------------------------------------------------------- */

struct core_options {
    struct bytes name;  /* Sent with hello; at most 128 bytes; lives as long as the core. */
    struct bytes token; /* Likewise; at most 255; never in what is told. */
    uint32_t connections;
    uint32_t call_count_max;  /* More are answered OVERLOADED. */
    uint32_t call_slot_count; /* At least that many; the rest is for calls that are refused. */
    uint32_t session_count_max;
    uint32_t watch_count_max; /* May be 0. */
    uint64_t seed;
    uint32_t rate_per_s; /* Requests to the leader; 0: as many as it takes. */
    uint32_t rate_burst; /* 0: 1. */
    /* For experiments (docs/client.md): what each is for shows where it is missing. */
    bool without_budget;
    bool without_breaker;
    bool without_limiter;
    bool without_obeying; /* retry_after holds for the refused call only. */
    bool without_attempt_timeout;
};

struct core {
    struct core_options options;
    struct prng prng;
    uint64_t now_ms;
    struct core_timers timers;
    struct core_call **calls; /* By slot. */
    struct core_session **session_slots;
    struct list sessions;
    struct core_connection *connections;
    uint32_t connection_count;
    struct core_connection *leaders[CORE_LEADER_CONNECTION_COUNT_MAX];
    uint32_t leader_count;
    uint32_t leader_turn;
    int32_t leader_endpoint; /* -1: not known. */
    int32_t hint_endpoint;   /* To be tried next; -1: none. */
    bool is_through;         /* `leaders` pass on: the leader, as far as known, is the hint. */
    int32_t named_endpoint;  /* A leader that was named and not reached yet; -1: none. */
    uint64_t named_ms;
    uint64_t through_dial_ms; /* The hint is dialed again then, while `is_through`. */
    struct core_endpoint endpoints[CORE_ENDPOINT_COUNT_MAX];
    uint32_t endpoint_count;
    uint64_t dial_count;
    uint64_t search_ms; /* The next endpoint may be tried then. */
    uint32_t call_count;
    uint64_t attempt_count; /* Calls sent, each time counted. */
    uint64_t request_count;
    bool closing;
    uint64_t closing_until_ms;
    /* Calls to be sent to the leader, outside of sessions' windows: reads, writes, and those that
     * wait for nothing but the leader. Their number is that of calls, at most. */
    struct list pending[CORE_KIND_COUNT];
    struct list urgent;
    struct list blocked; /* Sessions that may not send now. */
    struct core_budget budget;
    struct core_limiter limiter;
    struct bucket bucket;
    struct bucket_limits rate; /* Its rate is 0: none. */
    struct list statuses;      /* node_status calls that wait for a connection. */
    struct list ready;
    struct list changed;
    struct list finished;
    struct list freed;
    struct core_revoked revoked[CORE_REVOKED_COUNT_MAX]; /* A ring. */
    uint32_t revoked_first;
    uint32_t revoked_count;
    struct core_watch **watches; /* By slot. */
    struct list watches_all;
    struct list watches_ready;
    struct list watches_ended;
    struct core_event events[CORE_EVENT_COUNT_MAX]; /* A ring. */
    uint32_t event_first;
    uint32_t event_count;
};

/* ERR_INVALID for a list of endpoints that is empty, too long or not "host:port,...". */
MUST_USE enum error core_endpoints_check(struct bytes endpoints);

size_t core_memory_size(const struct core_options *options);

/* `endpoints` was checked. */
void core_open(struct core *core, struct arena *arena, const struct core_options *options,
               struct bytes endpoints, uint64_t now_ms);

/* To be called first after every wake-up: lets time pass. */
void core_advance(struct core *core, uint64_t now_ms);

/* Puts requests into output buffers, and moves connections. Last before the shell waits. */
void core_pump(struct core *core);

/* When core_advance() is due; CORE_NEVER. */
uint64_t core_wake_ms(const struct core *core);

/* Answers every call CANCELLED and ends open sessions; core_is_closed() says when that is done or
 * 200 ms have passed: then core_stop() answers what may be left. No calls may follow. */
void core_close(struct core *core);
bool core_is_closed(const struct core *core);
void core_stop(struct core *core);

/* Asserts the invariants of docs/client.md. */
void core_check(const struct core *core);

/* Events of connections. `output` is empty, of at least CORE_OUTPUT_SIZE_MIN bytes, and valid until
 * core_closed(). core_disconnected() also says that dialing failed; core_closed() follows it. */
void core_dialing(struct core *core, struct core_connection *connection);
void core_connected(struct core *core, struct core_connection *connection, struct buffer output);
void core_disconnected(struct core *core, struct core_connection *connection);
void core_closed(struct core *core, struct core_connection *connection);

/* Takes whole messages off `*input`. The results of calls and the changes of watches borrow from
 * it: deliver them before the bytes are moved. It leaves messages when core_is_full(): to be called
 * again when the changes are told. Bytes that are not the protocol end the connection. */
void core_receive(struct core *core, struct core_connection *connection, struct bytes *input);

/* Begins. A call on a session that is lost, or one too many, is finished at once. */
void core_call_start(struct core *core, struct core_call *call);

/* Does nothing when the call is finished already. */
void core_call_cancel(struct core *core, struct core_call *call);

/* For a session whose structure is zeroed but for its slot: `call` has method session_open. */
void core_session_start(struct core *core, struct core_session *session, struct core_call *call);

/* `call` has method session_end; when it is finished the session is its owner's again. */
void core_session_finish(struct core *core, struct core_session *session, struct core_call *call);

/* A session whose state changed since it was last told, and the state to tell: SUSPECT always comes
 * before LOST. NULL: none. */
struct core_session *core_next_changed(struct core *core, enum core_session_state *state);

/* A hold of a session that was unlocked by force, borrowed until the next core_receive(); NULL:
 * none. To be asked behind the results: a grant is told before it is taken back. */
const struct core_revoked *core_next_revoked(struct core *core);

/* A call with its result, or NULL. An acquire is LOST rather than OK when the session's deadline
 * has passed at the time of the last core_advance(). */
struct core_call *core_next_finished(struct core *core);

/* The bytes that the answer was decoded from are at `body` from now on: so are the results. */
void core_call_moved(struct core_call *call, struct bytes body);

/* The owner has told it. True: the call is its owner's again; false: it comes out of
 * core_next_freed() later. */
MUST_USE bool core_call_delivered(struct core *core, struct core_call *call);
struct core_call *core_next_freed(struct core *core);

/* Begins, behind the place that the owner filled in. */
void core_watch_start(struct core *core, struct core_watch *watch);
/* Its owner ends it: nothing of it is told any more but that. */
void core_watch_stop(struct core *core, struct core_watch *watch);

/* The next change or progress of any watch, in order for each, borrowed until the next call; NULL:
 * none. A `number` of 0 is progress: nothing else happened up to that revision. */
const struct core_event *core_next_event(struct core *core);
bool core_is_full(const struct core *core);

/* A watch that has ended, and is its owner's again; asked for when no event is left. NULL: none. */
struct core_watch *core_next_watch_ended(struct core *core);

#endif
