/* tests/support/raft/member.h: one raft, told events by hand, whose effects can be looked at. */
#ifndef TESTS_SUPPORT_RAFT_MEMBER_H
#define TESTS_SUPPORT_RAFT_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/raft.h"

enum { MEMBER_ENTRIES_SIZE_MAX = 4096 };

struct member {
    struct raft *raft;
    void *memory;
    uint64_t now_ms;
    struct raft_effects effects; /* Of the last collect. */
};

/* Sound options for member 1. */
struct raft_options member_options(void);

/* A whole log, formed by voters 1 to `voter_count` and then `learner_count` learners. */
struct raft_base member_base(uint32_t voter_count, uint32_t learner_count);

/* Opens with a log behind `base` whose entries have these terms (0 ends the list). */
void member_open_base(struct member *member, const struct raft_options *options,
                      const struct raft_hard_state *hard_state, const struct raft_base *base,
                      const raft_term *terms);

/* The same behind nothing, with three voters. */
void member_open(struct member *member, const struct raft_options *options,
                 const struct raft_hard_state *hard_state, const raft_term *terms);

/* The usual: member 1 of `member_count`, in term `term` without a vote. */
void member_open_simple(struct member *member, uint32_t member_count, raft_term term,
                        const raft_term *terms);
void member_close(struct member *member);

/* Collects, checks the invariants and returns raft_collect()'s verdict. */
bool member_collect(struct member *member);

/* Everything handed out is durable. */
void member_persist(struct member *member);

void member_tick(struct member *member, uint64_t wait_ms);
void member_receive(struct member *member, const struct raft_message *message);

/* Elects member 1 of `member_count` in the next term, no-op durable here; nothing collected. */
void member_lead(struct member *member);

/* The message of that kind to `target` in the last collect; NULL when there is none. */
const struct raft_message *member_sent_now(const struct member *member, enum raft_message_kind kind,
                                           raft_id target);
const struct raft_message *member_sent_durable(const struct member *member,
                                               enum raft_message_kind kind, raft_id target);

/* Messages to member 1. */
struct raft_message message_vote_request(raft_id source, raft_term term, raft_term last_term,
                                         raft_index last_index);
struct raft_message message_pre_vote_request(raft_id source, raft_term term, raft_term last_term,
                                             raft_index last_index);
struct raft_message message_vote(raft_id source, raft_term term, bool pre, raft_term request_term);
struct raft_message message_heartbeat(raft_id source, raft_term term, raft_index commit_index,
                                      uint64_t round);
struct raft_message message_heartbeat_reply(raft_id source, raft_term term, uint64_t round,
                                            raft_index last_index);
struct raft_message message_match(raft_id source, raft_term term, raft_index match_index,
                                  uint64_t request);
struct raft_message message_refusal(raft_id source, raft_term term, raft_index conflict_index,
                                    raft_term conflict_term, uint64_t request);

/* Entries of these terms (0 ends the list) behind previous_index, encoded into `entries`. */
struct raft_message message_append(raft_id source, raft_term term, raft_index previous_index,
                                   raft_term previous_term, raft_index commit_index,
                                   const raft_term *terms,
                                   uint8_t entries[MEMBER_ENTRIES_SIZE_MAX]);

/* One entry of `entry_term`, behind nothing, that is this configuration. */
struct raft_message message_configuration(raft_id source, raft_term term,
                                          const struct raft_configuration *configuration,
                                          raft_term entry_term,
                                          uint8_t entries[MEMBER_ENTRIES_SIZE_MAX]);

/* A record of `payload_size` zero bytes at `to`; returns its size. */
uint32_t member_record(uint8_t *to, raft_index index, raft_term term, uint32_t payload_size);

#endif
