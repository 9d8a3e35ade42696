/* node/cluster.h: what node/internal.h has on the other nodes.
 *
 * Whom we speak with and who may speak with us, how a cluster forms, who is a member of it and how
 * that changes. Included by node/internal.h alone; each file owns one part, like there. */
#ifndef NODE_CLUSTER_H
#define NODE_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/disk_space.h"
#include "node/limits.h"
#include "node/member.h"
#include "node/node.h"
#include "node/origin.h"
#include "node/passing.h"
#include "raft/raft.h"
#include "wire/frame.h"
#include "wire/wire.h"

struct node;

/* --- places.c: whom we speak with ------------------------------------------------------------- */

/* Where a node may be reached, the likeliest first: as its own hello said, as the configuration has
 * it, as --cluster has it. Tried in turn while nothing stands. */
enum address_source { ADDRESS_TOLD, ADDRESS_CONFIGURED, ADDRESS_LISTED, ADDRESS_SOURCE_COUNT };

/* A place is a name, and one pair of links. Where a name is that of two members, one of them is a
 * disk that is gone: the place is that of the disk that was heard last. */
struct peer {
    char name[NODE_NAME_SIZE_MAX + 1]; /* Empty: the place is free. */
    raft_id id;                        /* 0: raft does not know it. */
    uint64_t incarnation;              /* Of the disk with that id. */
    bool is_listed;                    /* By --cluster. */
    bool is_member;                    /* Its name is in a configuration that counts here. */
    char addresses[ADDRESS_SOURCE_COUNT][NODE_ADDRESS_SIZE_MAX + 1];
    enum address_source dialed;
    uint64_t dialed_ms; /* Since when nothing stands there. */
    char client[NODE_ADDRESS_SIZE_MAX + 1];
    bool link_up[WORLD_LANE_COUNT];
    uint32_t connection_count;  /* Live connections from it that said hello. */
    bool hello_formed;          /* What it said last. */
    bool hello_agrees;          /* Its list of members is ours. */
    uint64_t hello_restores;    /* The backup that it has; 0: none. */
    uint64_t hello_incarnation; /* 0: it was never heard. */
    uint64_t heard_ms;          /* When something was taken from it last; NEVER. */
    uint64_t member_ms;         /* The same of a disk that is a member's; NEVER. */
    uint64_t form_ms;           /* When FORM was sent last; NEVER. */
    raft_index fetch_index;     /* Old entries that raft wants for it; 0: none. */
    struct told_space space;
    struct passing_peer passing;
};

void places_open(struct node *node);
MUST_USE bool place_is_used(const struct node *node, uint32_t place);
/* NO_PEER when there is none; never our own. */
uint32_t place_of_name(const struct node *node, struct bytes name);
uint32_t place_of_id(const struct node *node, raft_id id);
/* A free place for that name, of a cluster or not; NO_PEER when too many of its kind have one. */
uint32_t place_take(struct node *node, struct bytes name, bool is_formed);
/* It is somewhere else than we thought. */
void place_set_address(struct node *node, uint32_t place, enum address_source source,
                       struct bytes address);
void place_set_id(struct node *node, uint32_t place, raft_id id, uint64_t incarnation);
/* The members have changed. */
void places_refresh(struct node *node);
/* Now and then: other addresses, strangers that fell silent. */
void places_tick(struct node *node);

/* --- peers.c: frames ------------------------------------------------------------------------- */

void peers_take_connection(struct node *node, struct node_event *event);
void peers_take_link(struct node *node, struct node_event *event);
void peers_send_hello(struct node *node, uint32_t place);
void peers_send_form(struct node *node, uint32_t place);
void peers_send_raft(struct node *node, const struct raft_message *message);
/* Any other frame, on the bulk lane. False when it has no link, or no room there now. */
bool peers_send_body(struct node *node, raft_id peer, enum wire_frame_kind kind, struct bytes body);
/* The same without a copy: room for a body of at most `size` bytes towards that place, or NULL;
 * then what was put there. Nothing else may be sent in between. */
MUST_USE uint8_t *peers_reserve(struct node *node, uint32_t place, size_t size);
void peers_commit(struct node *node, uint32_t place, enum wire_frame_kind kind,
                  const struct buffer *body);

/* --- senders.c: who may speak with us --------------------------------------------------------- */

/* The first frame of a connection, or one of the same sender that knows more. */
void senders_take_hello(struct node *node, world_connection number, const struct wire_frame *frame);
/* May this frame, which is no hello, be looked at? Otherwise the connection was refused. */
MUST_USE bool senders_allow(struct node *node, world_connection number,
                            const struct wire_frame *frame);

/* --- refusals.c: peers that are turned away -------------------------------------------------- */

void refuse_peer(struct node *node, world_connection number, enum error error, const char *text);
void refusals_heard(struct node *node, struct node_event *event);

/* --- formation.c: from empty disks to one cluster -------------------------------------------- */

struct formation {
    uint64_t line_ms;                /* When the next line about waiting is due. */
    uint64_t begin_ms;               /* Nobody founds a cluster of one before that. */
    char members[MEMBERS_TEXT_SIZE]; /* Sorted names, with commas. */
};

void formation_open(struct node *node);
void formation_tick(struct node *node);
/* A formed node hands the cluster on to a member that does not know that it is one: so a crash in
 * the middle of the formation, or of joining, heals. */
bool formation_is_lacking(const struct node *node, const struct peer *peer);
/* Tells all of them now. */
void formation_hand_on(struct node *node);
void formation_take_form(struct node *node, world_connection number,
                         const struct wire_frame *frame);
/* Somebody else has formed already: should all of them be wiped, we found no cluster with them. */
void formation_note_others(struct node *node);
/* "the cluster is not formed: ..." with who is missing. */
void formation_describe(const struct node *node, struct text *text);

/* --- members.c: who is a member, and what a leader does about it by itself -------------------- */

struct members {
    struct raft_configuration committed; /* The newest that is known to be. */
    uint64_t tick_ms;                    /* When upkeep is due. */
    uint64_t removed_ms;                 /* We are no member any more since; NEVER. */
};

/* Log and raft are open. */
void members_open(struct node *node);
/* As raft_collect() said. */
void members_changed(struct node *node, const struct raft_effects *effects);
void members_tick(struct node *node);
/* The cluster has removed us: the node ends as soon as others had time to hear what it owes. */
void members_note_removal(struct node *node);
/* Is the member that disk, and heard lately? */
MUST_USE bool members_is_heard(const struct node *node, const struct raft_member *listed);
/* In the present configuration, or else in the committed one; NULL. */
const struct raft_member *members_find_disk(const struct node *node, uint64_t incarnation,
                                            struct member *member);
/* The member of that name in the present configuration, a voter if there is one; NULL. */
const struct raft_member *members_find_name(const struct node *node, struct bytes name,
                                            bool is_learner);
/* Proposes a change, if the log has room for it. */
MUST_USE enum raft_verdict members_propose(struct node *node, const struct raft_change *change,
                                           raft_index *index);
/* The place of a node that asks to join under that name, and was heard lately; or NO_PEER. */
uint32_t members_applicant(const struct node *node, struct bytes name);
/* What is known of the node at that place, as a change to add it wants it. */
MUST_USE bool members_describe(const struct node *node, uint32_t place, struct member *member);

/* --- changes.c: changes of the cluster that an operator asks for ------------------------------ */

struct change {
    uint8_t method; /* 0: the slot is free. */
    struct origin origin;
    char name[NODE_NAME_SIZE_MAX + 1];
    char replace[NODE_NAME_SIZE_MAX + 1]; /* member_promote; may be empty. */
    bool learner;                         /* member_add: it stays one. */
    uint64_t deadline_ms;
    raft_index index;          /* Of what was proposed for it last; 0: nothing. */
    raft_id target;            /* leader_move: to whom leadership is on its way; 0: it is not. */
    enum raft_verdict verdict; /* Why nothing was proposed. */
};

struct changes {
    struct change slots[CHANGE_COUNT_MAX];
    uint32_t count;
};

void changes_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);
void changes_tick(struct node *node);
void changes_give_up(struct node *node); /* All of them: outcome unknown. */

#endif
