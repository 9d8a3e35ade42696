/* tests/sim/sim.h: a whole cluster in one thread and virtual time, with every fault.
 *
 * A seed gives a plan: knobs, a schedule of faults, and what clients do. The cluster is made of
 * real nodes (tests/support/node/), the clients are the library's core. After every turn of a node
 * the laws of check.c are looked at; the histories of clients are judged at the end. The same plan
 * gives the same run, so a failure is repeated by its seed, and made small by leaving parts of it
 * out. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "client/core.h"
#include "raft/raft.h"
#include "tests/sim/plan.h"
#include "tests/support/node/fake_world.h"

/* --- sometimes.c: rare situations ---------------------------------------------------------------
 */

enum sim_sometimes {
#define SOMETIMES(name, text) SOMETIMES_##name,
#include "tests/sim/sometimes.def"
#undef SOMETIMES
    SOMETIMES_COUNT
};

const char *sim_sometimes_name(enum sim_sometimes which);
const char *sim_sometimes_text(enum sim_sometimes which);

#define SOMETIMES(sim, name) ((void)((sim)->totals.sometimes[SOMETIMES_##name]++))

/* --- What a run adds up -------------------------------------------------------------------------
 */

struct sim_totals {
    uint64_t turn_count;
    uint64_t virtual_ms;
    uint64_t operation_count; /* Finished, whatever became of them. */
    uint64_t checked_count;   /* Of them, in the histories that were judged. */
    uint64_t fault_count;
    uint64_t faults[SIM_FAULT_KIND_COUNT];
    uint64_t frame_lost_count;
    uint64_t frame_again_count;
    uint64_t frame_late_count;
    uint64_t grant_count;
    uint64_t entry_count; /* Committed. */
    uint64_t sometimes[SOMETIMES_COUNT];
    uint64_t trace; /* A hash of everything that happened. */
};

/* --- logs.c, check.c, frames.c: the laws
 * --------------------------------------------------------------------------
 */

enum { SIM_READ_COUNT = 256 };

/* What is known of one node beside what it says itself. */
struct sim_node {
    bool is_known; /* It has a log: what follows is set. */
    bool was_formed;
    uint64_t id;      /* Of its disk, as raft knows it; 0: the disk is empty, or of none yet. */
    bool was_wiped;   /* And is no voter again. */
    bool was_removed; /* The same. */
    bool has_present;
    struct raft_configuration present; /* The newest of its log, */
    uint64_t present_term;             /* and of its entry. */
    bool may_fail;                     /* A fault of its disk was planted since it started. */
    bool may_be_rotten;   /* Not to be counted on, until it has started as before or is restored. */
    bool has_rotten_tail; /* It has not started since the last batch of its log was damaged. */
    bool is_restoring;    /* It fetches what its disk has lost, and takes no part. */
    bool is_refused;      /* Its rot was found: it cannot start. */
    bool was_rotten;      /* Damage was planted once. */
    struct disk_name rotten_snapshot; /* A file that was damaged and is still there; or empty. */
    uint64_t *terms;                  /* Of its log, from 1. */
    uint64_t *chains;                 /* A hash of each entry and all before it. */
    uint64_t capacity;                /* Of both. */
    uint64_t last_index;
    uint64_t epoch;
    uint64_t base_index;    /* Its log begins behind. */
    uint64_t durable_index; /* What it has said to be durable; survives a crash. */
    uint64_t *kept_chains;  /* Of the log before the crash. */
    uint64_t kept_index;
    uint64_t kept_last_index; /* Of it in memory. */
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t term;
    uint32_t role;
    uint64_t leader_until_ms; /* It led then. */
    uint64_t vote_term;       /* The newest vote that left it, or its newest candidacy. */
    uint64_t vote_for;
    uint64_t turn_count;
    uint64_t promised_read_count; /* Reads that had no round, since it started. */
    uint64_t paused_ms;           /* Since. */
    bool wrote;                   /* A write was in flight when it crashed. */
    bool stamps;                  /* It led, and its own clock and the cluster's were then: */
    uint64_t turn_ms;
    uint64_t clock_ms;
    uint64_t read_head; /* Batches of reads: the first that waits, and the end. */
    uint64_t read_tail;
    uint64_t read_needs[SIM_READ_COUNT]; /* What was committed when they were asked. */
};

struct sim_known {
    uint64_t term;
    uint64_t chain;
};

enum { SIM_KNOWN_COUNT = 6, SIM_BALLOT_COUNT = 256, SIM_VOTE_SIZE_MAX = 256 };

/* The frame of a vote. */
struct sim_vote {
    uint64_t term; /* 0: none. */
    size_t size;
    uint8_t bytes[SIM_VOTE_SIZE_MAX];
};

/* A vote, as it left the voter. */
struct sim_ballot {
    uint64_t term;
    uint64_t voter;
    uint64_t candidate;
};

struct sim_index {
    uint64_t committed; /* Chain; 0: not known to be committed. */
    uint64_t committed_term;
    uint64_t state_hash;                     /* 0: not known. */
    struct sim_known known[SIM_KNOWN_COUNT]; /* Of each term in which an entry was seen there. */
};

struct sim_checks {
    struct sim_node nodes[FAKE_NODE_COUNT_MAX];
    struct sim_index *indexes;
    uint64_t index_capacity;
    uint64_t committed_index; /* The highest known. */
    uint64_t *leaders;        /* Ids, by term. */
    uint64_t term_capacity;
    uint64_t sequences[SIM_SEQUENCE_COUNT]; /* Of sessions, as they were committed: a memory. */
    struct sim_ballot ballots[SIM_BALLOT_COUNT];                     /* The last ones. */
    uint32_t ballot_count;                                           /* Of all that there were. */
    struct sim_vote votes[FAKE_NODE_COUNT_MAX][FAKE_NODE_COUNT_MAX]; /* The last, from, to. */
    uint64_t newest_term;                                            /* That a leader had. */
    uint32_t newest_leader;
};

/* --- members.c: configurations and disks --------------------------------------------------------
 */

struct sim_list {
    uint64_t index; /* Of its entry; 0: the formation. */
    uint64_t term;
    struct raft_configuration configuration;
};

/* A disk that was emptied. */
struct sim_lost {
    uint64_t id;
    uint64_t durable_index; /* What it had said to be durable. */
};

struct sim_members {
    struct sim_list *lists; /* All that some log had, as they were seen. */
    uint32_t list_count;
    uint32_t list_capacity;
    struct raft_configuration committed; /* The newest. */
    struct sim_lost lost[SIM_LOST_COUNT_MAX];
    uint32_t lost_count;
};

/* --- frames.c: a snapshot on its way ------------------------------------------------------------
 */

struct sim_transfer {
    uint64_t id;     /* Of the file. */
    uint32_t source; /* Who sent it last. */
    bool was_broken; /* Since it was last heard of. */
    bool has_part;   /* It was just taken in part. */
};

/* --- history.c: what clients saw ----------------------------------------------------------------
 */

enum sim_operation_kind { SIM_PUT, SIM_GET, SIM_CAS, SIM_DELETE };

struct sim_operation {
    enum sim_operation_kind kind;
    uint32_t client;
    uint32_t key;
    uint64_t value;    /* Written; or read, 0: absent. Values are numbers, each written once. */
    uint64_t expected; /* Of a compare-and-swap; 0: that it is absent. */
    uint64_t revision;
    uint64_t begin; /* Order of beginnings and ends, together. */
    uint64_t end;   /* SIM_NEVER: its outcome is not known. */
    bool
        is_refused; /* MISMATCH, or NOT_FOUND: it changed nothing, and says so much of the value. */
    bool is_absent;
    uint64_t begin_ms;
    uint64_t end_ms;
};

struct sim_history {
    struct sim_operation *operations;
    uint32_t count;
    uint32_t capacity;
    uint64_t *writes; /* By value: the first committed entry that would write it; 0: none. */
    uint64_t write_capacity;
    bool writes_are_partial; /* Some committed entry was not looked into. */
    uint64_t order;          /* The next beginning or end. */
    uint64_t value;          /* The last one given out. */
};

/* --- client.c and work.c: clients ---------------------------------------------------------------
 */

struct sim_link {
    bool is_dialing;
    bool is_connected;
    uint32_t place;
    uint32_t client; /* Number of the fake client. */
    uint64_t dial_ms;
    uint8_t *output;
};

struct sim_call {
    struct core_call core;
    bool is_used;
    uint32_t operation; /* In the history; UINT32_MAX: none. */
    uint32_t lock;
    uint64_t begin;
    uint64_t begin_ms;
    char name[16];
    uint8_t *value;
    uint8_t *expected;
    uint8_t *items; /* Of a transaction: SIM_ITEMS_SIZE_MAX. */
};

/* --- watchers.c: what happened, and who is told of it -------------------------------------------
 */

struct sim_change {
    uint64_t revision;
    uint32_t number;
    bool is_lock;
    size_t name_size;
    char name[16];
    uint64_t hash; /* Of all else. */
};

/* What all feeds together tell, in order. */
struct sim_record {
    struct sim_change *all;
    uint32_t count;
    uint32_t capacity;
    bool is_partial; /* Something was dropped before it was looked at. */
    uint64_t epochs[FAKE_NODE_COUNT_MAX];
    uint64_t positions[FAKE_NODE_COUNT_MAX]; /* In the feed of each node: what comes next. */
};

struct sim_watch {
    struct core_watch core;
    struct prng prng;
    bool is_used;
    bool goes_on;    /* Its place is kept for the next time. */
    bool is_settled; /* Where it began is known: */
    uint32_t at;     /* of the record, what may be for it next. */
    bool was_live;
    uint64_t number; /* Of the core's, when it was last seen to be live. */
    uint64_t start_ms;
};

struct sim_client {
    uint32_t number;
    uint32_t pause_count;
    uint32_t connected; /* Links, as bits. */
    uint64_t act_ms;    /* It does nothing before. */
    uint64_t due_ms;    /* As of its last turn, it has something to do then. */
    struct sim_link links[SIM_LINK_COUNT];
    struct core core;
    void *memory;
    struct prng prng;
    uint64_t offset_ms;
    int64_t rate_ppm;
    uint32_t cut_count;
    uint32_t blocked;    /* Nodes that it cannot reach, as bits. */
    bool is_mute;        /* What it says stands still, */
    bool is_deaf;        /* or what it is told. */
    bool is_tied;        /* It reaches one node only, */
    uint32_t home;       /* this one, */
    uint64_t home_ms;    /* until then, unless something succeeds. */
    uint64_t home_done;  /* Successes when that was set. */
    uint32_t late_fault; /* That has done so last. */
    uint64_t paused_ms;
    struct sim_call calls[SIM_CALL_COUNT];
    struct core_session session;
    bool has_session;
    bool session_is_ending;
    bool was_suspect;
    uint32_t operation;  /* Number of the next one. */
    uint32_t busy_count; /* Calls that it waits for. */
    uint32_t held;       /* Lock that it was granted and has not given up; SIM_LOCK_COUNT: none. */
    uint64_t token;
    uint64_t seen[SIM_KEY_COUNT_MAX]; /* The last value read or written, by key. */
    uint64_t done_count;              /* Successes. */
    uint64_t
        bound_order; /* Its session has a bound key since, in the order of the history; 0: no. */
    uint64_t ended_session; /* The last one whose end was confirmed, */
    uint64_t ended_order;   /* and when. */
    struct sim_watch watch;
};

struct sim_lock {
    uint64_t newest_token;
    uint64_t newest_session;
    bool last_was_lost;
};

/* --- run.c: one run -----------------------------------------------------------------------------
 */

enum sim_phase {
    SIM_PHASE_FAULTS,
    SIM_PHASE_HEALED, /* Clients go on. */
    SIM_PHASE_QUIET,  /* Clients finish what they have begun. */
    SIM_PHASE_OVER,
};

struct sim {
    const struct sim_plan *plan;
    struct fake_cluster *cluster;
    struct sim_checks checks;
    struct sim_members members;
    struct sim_transfer transfers[FAKE_NODE_COUNT_MAX]; /* By who takes it. */
    struct sim_history history;
    struct sim_client *clients;
    struct sim_lock locks[SIM_LOCK_COUNT];
    uint64_t twin_value; /* The last one given out. */
    struct sim_record record;
    struct sim_totals totals;
    enum sim_phase phase;
    uint32_t healed_places; /* A set, as bits. */
    struct prng heal_prng;
    struct prng option_prng;
    uint64_t limit_ms;    /* Of what is awaited. */
    uint32_t first_fault; /* All before it have ended. */
    uint32_t next_fault;
    bool fault_is_active[SIM_FAULT_COUNT_MAX];
    uint32_t fault_place[SIM_FAULT_COUNT_MAX]; /* The node that it has hit. */
    uint64_t fault_next_ms[SIM_FAULT_COUNT_MAX];
    uint64_t faults_due_ms; /* Of the next thing about them, found when the one before was due. */
    uint32_t fault_client[SIM_FAULT_COUNT_MAX]; /* Of the operator; FAKE_CLIENT_COUNT_MAX: none. */
    uint64_t fault_request[SIM_FAULT_COUNT_MAX];
    uint32_t cut_counts[FAKE_NODE_COUNT_MAX][FAKE_NODE_COUNT_MAX];
    uint32_t pause_counts[FAKE_NODE_COUNT_MAX];
    uint32_t hurry_count; /* Faults that make clients ask without pause. */
    uint32_t stall_counts[FAKE_NODE_COUNT_MAX];
    uint32_t down_counts[FAKE_NODE_COUNT_MAX];
    uint32_t low_counts[FAKE_NODE_COUNT_MAX];
    struct prng disk_prng;
};

/* Runs the plan. Ends the process with SIM_EXIT_FAILED when a law is broken. */
void sim_run(const struct sim_plan *plan, struct sim_totals *totals);

enum { SIM_EXIT_FAILED = 3 };

/* A law of the whole cluster. */
#define SIM_CHECK(sim, name, condition, a, b)                                                      \
    ((condition) ? (void)0 : sim_failed((sim), #name, #condition, (uint64_t)(a), (uint64_t)(b)))

_Noreturn void sim_failed(const struct sim *sim, const char *name, const char *condition,
                          uint64_t a, uint64_t b);

/* Milliseconds since the start of the run. */
uint64_t sim_now_ms(const struct sim *sim);
void sim_trace(struct sim *sim, uint64_t value);
void sim_print(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- check.c ------------------------------------------------------------------------------------
 */

void sim_checks_open(struct sim *sim);
void sim_checks_close(struct sim *sim);
/* After each turn of a node. */
void sim_check_turn(struct sim *sim, uint32_t place);
void sim_check_frame(struct sim *sim, uint32_t source, uint32_t target, struct bytes frame);
/* Snapshots from or to the node are interrupted; or between the two. */
void sim_transfers_break(struct sim *sim, uint32_t place, uint32_t other);
/* Before and after the life of a process. */
void sim_check_started(struct sim *sim, uint32_t place);
void sim_check_ended(struct sim *sim, uint32_t place);
/* At the end: all that run have the same state. */
bool sim_check_agree(struct sim *sim);
void sim_check_costly(struct sim *sim, uint32_t place);
/* The place of the newest leader that runs and still leads; FAKE_NODE_COUNT_MAX: none. */
uint32_t sim_leader(const struct sim *sim);

/* --- logs.c -------------------------------------------------------------------------------------
 */

void sim_log_grow(struct sim_node *node, uint64_t last_index);
struct sim_index *sim_index_at(struct sim_checks *checks, uint64_t index);
uint64_t *sim_leader_of(struct sim_checks *checks, uint64_t term);
/* The log begins behind a snapshot there: all before is as it was committed. */
void sim_log_rebase(struct sim *sim, struct sim_node *node, const struct raft *raft);
/* An entry that the disk has, beyond what is in memory. */
void sim_log_read(struct sim *sim, uint32_t place, const struct raft_entry *entry);
void sim_log_follow(struct sim *sim, struct sim_node *node, const struct raft *raft);
void sim_commit_follow(struct sim *sim, struct sim_node *node, const struct raft *raft);

/* --- members.c -----------------------------------------------------------------------------------
 */

/* An entry was seen in some log; it is committed. */
void sim_members_note(struct sim *sim, const struct raft_entry *entry);
void sim_members_committed(struct sim *sim, uint64_t index, uint64_t term);
/* The leader has committed it: enough disks must have it. */
void sim_members_check_commit(struct sim *sim, const struct sim_node *node, const struct raft *raft,
                              uint64_t index);
/* Of a node that has a log: before and after its log is looked at. */
void sim_members_identify(struct sim *sim, uint32_t place, const struct node *node);
void sim_members_turn(struct sim *sim, uint32_t place, const struct node *node);
/* Empties the disk of a node that does not run. */
void sim_members_wipe(struct sim *sim, uint32_t place);
/* Has its disk the entry, or had it when it was lost? */
bool sim_members_durable(const struct sim *sim, uint64_t id, uint64_t index, uint64_t chain);
/* Are the members that are set (as bits, by their places in the list) a majority of the voters, and
 * one of the outgoing ones? */
bool sim_members_majorities(const struct raft_configuration *list, uint32_t set);

/* --- quorums.c -----------------------------------------------------------------------------------
 */

/* Does the id have a vote in the list? */
bool sim_members_vote(const struct raft_configuration *list, uint64_t id);
/* Is it a member, or one with a vote, in the newest committed configuration? */
bool sim_members_have(const struct sim *sim, uint64_t id);
bool sim_members_have_voter(const struct sim *sim, uint64_t id);
/* Places, as bits, whose disks are as they should be; a damaged snapshot does no harm while its
 * node runs. */
uint32_t sim_members_whole(const struct sim *sim);
/* Places, as bits, that know no cluster; it may have them in a list already. */
uint32_t sim_members_empty(const struct sim *sim);
/* Those where not even a snapshot is damaged: they come back from any crash. */
uint32_t sim_members_sound(const struct sim *sim);
/* All members are there, apart from `absent` (0: none). */
bool sim_members_are_there(const struct sim *sim, const struct raft_configuration *list,
                           uint32_t places, uint64_t absent);
/* Can those go on without all others, whatever becomes of changes under way? */
bool sim_members_are_quorum(const struct sim *sim, uint32_t places);
/* The same for who counts now: no learner that is about to be promoted. */
bool sim_members_are_majority(const struct sim *sim, uint32_t places);
bool sim_members_may_lose(const struct sim *sim, uint32_t place);
bool sim_members_are_settled(const struct sim *sim);

/* --- leaders.c ----------------------------------------------------------------------------------
 */

/* Of one that begins to lead: its place among the members, and who has voted for it. */
void sim_leaders_check_place(struct sim *sim, const struct sim_node *node);
void sim_leaders_check_votes(struct sim *sim, const struct sim_node *node, uint64_t term);
void sim_leaders_check_change(struct sim *sim, const struct sim_node *leader,
                              const struct raft_configuration *present);

/* --- operator.c ---------------------------------------------------------------------------------
 */

void sim_operator_ask(struct sim *sim, uint32_t number);
void sim_operator_end(struct sim *sim, uint32_t number);
/* Somebody may still be removed because an operator has asked for it. */
bool sim_operator_removes(const struct sim *sim);

/* --- processes.c --------------------------------------------------------------------------------
 */

void sim_start_node(struct sim *sim, uint32_t place);
void sim_crash_node(struct sim *sim, uint32_t place);
void sim_repair_disk(struct sim *sim, uint32_t place);
/* Ends processes that have given up, and starts them again. */
void sim_reap(struct sim *sim);

/* --- links.c ------------------------------------------------------------------------------------
 */

void sim_cut_links(struct sim *sim, uint32_t number, bool begins);
/* A node that is alone is often alone with some of its clients. */
void sim_block_clients(struct sim *sim, uint32_t number, bool begins);
void sim_note_cuts(struct sim *sim, uint32_t number, bool is_leader);
void sim_break_link(struct sim *sim, uint32_t a, uint32_t b);
void sim_slow_link(struct sim *sim, uint32_t a, uint32_t b, uint64_t delay_ms);
void sim_flap_link(struct sim *sim, uint32_t number);
void sim_break_transfer(struct sim *sim, uint32_t number);

/* --- faults.c -----------------------------------------------------------------------------------
 */

/* Begins and ends what is due; starts nodes again; ends processes that have given up. */
void sim_faults_advance(struct sim *sim);
uint64_t sim_faults_due_ms(struct sim *sim);
/* Ends all faults among the nodes of the set; what the others suffer stays. */
void sim_faults_heal(struct sim *sim, uint32_t places);

/* --- disk.c: what happens to the bytes of a node that does not run -------------------------------
 */

/* The power fails; what was in flight is kept in part. */
void sim_disk_crash(struct sim *sim, uint32_t place);
/* The entries of its log as the disk has them. */
typedef void sim_entry_hook(struct sim *sim, uint32_t place, const struct raft_entry *entry);
void sim_disk_read(struct sim *sim, uint32_t place, sim_entry_hook *hook);

/* Damages bytes of the log that were written whole. Those of the last batch are damaged so that
 * they cannot be taken for a write that a crash has torn; `has_rotten_tail` then says so. False:
 * there are none. */
bool sim_disk_rot(struct sim *sim, uint32_t place, uint64_t seed);

/* Damages one of its snapshots, whole or in part, which is then known as `rotten_snapshot`. False:
 * there is none. */
bool sim_disk_rot_snapshot(struct sim *sim, uint32_t place, uint64_t seed);
/* The file that was damaged is still there. */
bool sim_disk_has_rotten_snapshot(const struct sim *sim, uint32_t place);

/* --- client.c -----------------------------------------------------------------------------------
 */

void sim_clients_open(struct sim *sim);
void sim_clients_close(struct sim *sim);
void sim_clients_advance(struct sim *sim);
uint64_t sim_clients_due_ms(struct sim *sim);
uint64_t sim_client_clock(const struct sim *sim, const struct sim_client *client);
void sim_client_break(struct sim *sim, struct sim_client *client);
/* Its connections to the node break. */
void sim_client_leave(struct sim *sim, struct sim_client *client, uint32_t place);
/* Its answers are late: they stand still, then its requests too, then its requests alone. */
void sim_client_delay(struct sim *sim, uint32_t number);
/* Its connections stand still or go on, as `cut_count`, `blocked`, `is_mute` and `is_deaf` say. */
void sim_client_cut(struct sim *sim, struct sim_client *client);

/* --- work.c -------------------------------------------------------------------------------------
 */

/* A call that begins now; NULL when the client has none to spare. */
struct sim_call *sim_work_take(struct sim *sim, struct sim_client *client, enum wire_method method);
void sim_work_finished(struct sim *sim, struct sim_client *client, struct sim_call *call);
/* The number that a value's text begins with. */
uint64_t sim_value_of(struct bytes text);
void sim_work_changed(struct sim *sim, struct sim_client *client, enum core_session_state state);
/* Begins something when it is time. */
void sim_work_act(struct sim *sim, struct sim_client *client);
/* Nothing is under way, and its session has ended. */
bool sim_work_is_idle(const struct sim_client *client);
bool sim_client_holds(const struct sim *sim, const struct sim_client *client, uint32_t lock);

/* --- history.c ----------------------------------------------------------------------------------
 */

uint32_t sim_history_begin(struct sim *sim, const struct sim_operation *operation);
void sim_history_end(struct sim *sim, uint32_t number);
/* It surely has no effect, and says nothing. */
void sim_history_drop(struct sim *sim, uint32_t number);
/* A committed entry would write this value. */
void sim_history_note(struct sim *sim, struct bytes text, uint64_t index);
/* Once nothing is under way any more. */
void sim_history_judge(struct sim *sim);
void sim_history_close(struct sim *sim);

#include "tests/sim/extras.h"

#endif
