"""The planted bugs of make sim-mutants (see mutants.py)."""
from collections import namedtuple

# `edits`: in which file, what stands there exactly once, and what shall stand there.
# `why_not_quiet`: why it fails without faults too; None: it passes.
Mutant = namedtuple("Mutant", "name breaks edits why_not_quiet", defaults=[None])

MUTANTS = [
    # --- Votes and terms ---
    Mutant("vote_before_sync", "a vote leaves before it is durable", [
        ("raft/effects.c", "    case RAFT_LETTER_VOTE_REPLY:\n    case",
         "    case RAFT_LETTER_VOTE_REPLY:\n        return false;\n    case")]),
    Mutant("candidacy_before_sync", "a candidate asks before its own vote is durable", [
        ("raft/effects.c", "return !message->vote_request.pre && !raft_hard_state_is_durable(raft);",
         "return false;")],
           "one of five may win before its own disk answers"),
    Mutant("term_before_sync", "what is still on its way to the disk counts as durable", [
        ("raft/effects.c",
         "return !raft->hard_state_changed && raft->persisted_unit >= raft->hard_state_unit;",
         "return true;")]),
    Mutant("own_vote_counted_early", "a candidate counts its own vote before it is durable", [
        ("raft/election.c", "    request_votes(raft, false, transfer);\n",
         "    request_votes(raft, false, transfer);\n    raft->votes = 1U << RAFT_SELF;\n")],
           "every campaign shows it to the invariant"),
    Mutant("second_vote_in_a_term", "a follower votes again in the same term", [
        ("raft/election.c", "(raft->vote == 0 && raft->leader == 0);",
         "(raft->leader == 0 && raft->role == RAFT_FOLLOWER);"),
        ("raft/election.c", "        if (raft->vote == 0) {\n            raft->vote",
         "        if (raft->vote != message->source) {\n            raft->vote")],
           "two candidates of one term meet at the start too"),
    Mutant("vote_ignores_the_log", "a candidate with an older last term is voted for", [
        ("raft/election.c", "        return request->last_term > last_term;", "        return true;")]),
    Mutant("vote_for_a_shorter_log", "a candidate that lacks three entries is voted for", [
        ("raft/election.c", "return request->last_index >= raft_last_index(raft);",
         "return request->last_index + 3 >= raft_last_index(raft);")]),
    Mutant("vote_of_an_older_term_counts", "a late vote counts in a later term", [
        ("raft/election.c",
         "raft->role == RAFT_CANDIDATE && reply->request_term == raft->term &&\n"
         "                            message->term == raft->term;",
         "raft->role == RAFT_CANDIDATE;")]),

    # --- Commits ---
    Mutant("commit_of_an_older_term", "entries of an older term are committed by counting", [
        ("raft/replicate.c", "&& term == raft->term) {", "&& term > 0) {")]),
    Mutant("commit_by_less_than_a_majority", "two of four or five are enough", [
        ("raft/quorum.c", "sorted[count / 2];", "sorted[count > 3 ? count / 2 - 1 : count / 2];")],
           "every commit of four or more shows it to the law"),
    Mutant("own_copy_counted_early", "a leader counts its own copy before it is durable", [
        ("raft/replicate.c", "at == RAFT_SELF ? raft->durable_index :",
         "at == RAFT_SELF ? raft_last_index(raft) :")],
           "any commit may show it to the law"),
    Mutant("acknowledges_what_is_in_memory", "a follower acknowledges before it is durable", [
        ("raft/effects.c", "message->append_reply.match_index > raft->durable_index;", "false;")],
           "every acknowledgement shows it to the law"),
    Mutant("held_messages_leave_early", "what waits for the disk leaves at once", [
        ("node/held.c", "if (log_durable_ticket(node->log) >= held->last_ticket) {",
         "if (held->last_ticket != 0) {")],
           "every acknowledgement shows it to the law"),
    Mutant("durable_before_it_is", "what was given to the disk counts as durable", [
        ("node/held.c", "uint64_t durable = log_durable_ticket(node->log);",
         "uint64_t durable = held->last_ticket;")]),

    # --- Logs ---
    Mutant("append_without_looking_before", "the entry before the new ones is not compared", [
        ("raft/follow.c",
         "if (!previous_matches(raft, append, &conflict_index, &conflict_term)) {",
         "if (append->previous_index > raft_last_index(raft)) {\n"
         "        conflict_index = raft_last_index(raft);")]),
    Mutant("conflicting_entry_is_kept", "an entry of another term is taken for the same", [
        ("raft/follow.c", "if (term == entry->term) {", "if (term != 0) {")]),
    Mutant("late_append_cuts_what_came_after", "a repeated append cuts off later entries", [
        ("raft/follow.c", "if (term == entry->term) {",
         "if (term == entry->term && entry->index <= raft->commit_index) {"),
        ("raft/entries.c",
         "    ASSERT_VALUES(from_index > raft->validated_index, from_index, raft->validated_index);\n",
         "")]),
    Mutant("truncation_below_commit", "a repeated append cuts off committed entries", [
        ("raft/follow.c", "if (term == entry->term) {",
         "if (term == entry->term && entry->index == raft_last_index(raft)) {"),
        ("raft/entries.c",
         "    ASSERT_VALUES(from_index > raft->commit_index, from_index, raft->commit_index);\n"
         "    ASSERT_VALUES(from_index > raft->validated_index, from_index, raft->validated_index);\n",
         "")]),
    Mutant("heartbeat_commits_what_is_not_validated", "a follower commits what may not be the leader's", [
        ("raft/follow.c",
         "raft->leader_commit_index < raft->validated_index ? raft->leader_commit_index\n"
         "                                                                         : raft->validated_index;",
         "raft->leader_commit_index < raft_last_index(raft) ? raft->leader_commit_index"
         " : raft_last_index(raft);")]),
    Mutant("probe_that_never_ends", "a late answer does not end the search for the place", [
        ("raft/progress.c", "if (is_probe && progress->flight_count == 0) {",
         "if (is_probe && progress->flight_count == 0 && flight != NULL) {")]),
    Mutant("refused_append_is_not_searched", "a refusal does not move the probe back by itself", [
        ("raft/progress.c", "raft_index previous = flight->previous_index - 1;",
         "raft_index previous = flight->previous_index;")]),

    # --- Reads ---
    Mutant("read_without_asking_a_majority", "a leader answers reads by itself", [
        ("raft/read.c", "if (read->round == 0 || read->round > round) {",
         "if (read->round == 0 || round == UINT64_MAX) {")]),
    Mutant("read_before_the_first_own_commit", "a new leader reads before it knows what is committed", [
        ("raft/read.c", "->round != 0 || !raft_leader_is_ready(raft)) {", "->round != 0) {")]),

    # --- Members ---
    Mutant("configuration_not_rolled_back", "a configuration outlives its entry", [
        ("raft/members.c", "    if (raft->configuration.index < from_index) {\n        return;\n    }",
         "    if (from_index > 0) {\n        return;\n    }")]),
    Mutant("joint_configuration_left_early", "the joint configuration ends before it is committed", [
        ("raft/change.c",
         "        !raft_configuration_is_committed(raft) || !raft_leader_is_ready(raft)) {\n        return;",
         "        (raft->quorum.outgoing == 0 && !raft_configuration_is_committed(raft)) ||\n"
         "        !raft_leader_is_ready(raft)) {\n        return;"),
        ("raft/change.c", "    ASSERT(raft_configuration_is_committed(raft));\n", "")]),
    Mutant("voters_change_in_one_step", "a learner becomes a voter without a joint configuration", [
        ("raft/change.c", "    begin_joint(next, replaces);\n    member->parts",
         "    (void)replaces;\n    member->parts")]),
    Mutant("change_before_an_own_commit", "a new leader changes members before it has committed", [
        ("raft/change.c", "    if (!raft_leader_is_ready(raft)) {\n        return RAFT_REFUSED_NOT_READY;\n    }\n", ""),
        ("raft/change.c",
         "        !raft_configuration_is_committed(raft) || !raft_leader_is_ready(raft)) {\n        return;",
         "        !raft_configuration_is_committed(raft)) {\n        return;"),
        ("raft/change.c", "    ASSERT(raft_leader_is_ready(raft));\n", "")]),
    Mutant("change_before_the_last_is_committed", "two changes of members are under way at once", [
        ("raft/change.c", "    if (!raft_configuration_is_committed(raft) || raft->quorum.outgoing != 0) {",
         "    if (raft->quorum.outgoing != 0) {"),
        ("raft/change.c", "    ASSERT(raft_configuration_is_committed(raft));\n", "")]),
    Mutant("learner_acknowledgement_counts", "what learners have counts for commits", [
        ("raft/replicate.c",
         "    uint32_t voters = raft_voters(raft);\n"
         "    uint64_t values[RAFT_PLACE_COUNT]; /* Of voters; nobody looks at others. */\n"
         "    raft_term term = 0;",
         "    struct raft_quorum quorum = raft->quorum;\n    quorum.voters |= raft->learners;\n"
         "    uint32_t voters = raft_voters(raft) | raft->learners;\n"
         "    uint64_t values[RAFT_PLACE_COUNT];\n"
         "    raft_term term = 0;"),
        ("raft/replicate.c", "raft_index index = raft_quorum_value(&raft->quorum, values);",
         "raft_index index = raft_quorum_value(&quorum, values);")]),
    Mutant("learner_vote_counts", "learners are asked for votes, and theirs count", [
        ("raft/election.c", "        if ((raft_voters(raft) >> at & 1) == 0) {",
         "        if ((raft->members >> at & 1) == 0) {"),
        ("raft/election.c", "    if (!raft_quorum_reached(&raft->quorum, raft->votes)) {",
         "    struct raft_quorum quorum = raft->quorum;\n    quorum.voters |= raft->learners;\n"
         "    if (!raft_quorum_reached(&quorum, raft->votes)) {"),
        ("raft/election.c", "raft->votes |= 1U << at & raft_voters(raft);",
         "raft->votes |= 1U << at & raft->members;")]),
    Mutant("learner_campaigns", "a learner stands for election", [
        ("raft/members.c", "    return raft_self_is_voter(raft) || (voted",
         "    return (raft->members >> RAFT_SELF & 1) != 0 || (voted")]),
    Mutant("removed_leader_counts_itself", "a leader that is no member counts its own copy", [
        ("raft/replicate.c", "raft_index index = raft_quorum_value(&raft->quorum, values);",
         "struct raft_quorum quorum = raft->quorum;\n    quorum.voters |= 1U << RAFT_SELF;\n"
         "    values[RAFT_SELF] = raft->durable_index;\n"
         "    raft_index index = raft_quorum_value(&quorum, values);")]),
    Mutant("promotion_without_catching_up", "a learner becomes a voter with an empty log", [
        ("raft/change.c", "if (!member->is_promoted || !raft_has_caught_up(raft, member->id)) {",
         "if (!member->is_promoted) {")]),
    Mutant("wiped_disk_keeps_its_id", "an emptied disk comes back as the member it was", [
        ("node/node.c", "        world_entropy(node->world, &node->identity.incarnation, sizeof(uint64_t));",
         "        node->identity.incarnation = 1000 + (uint64_t)(unsigned char)node->options.name[1];")]),

    # --- Snapshots ---
    Mutant("snapshot_announced_before_it_is_durable", "a snapshot counts before its name is on the disk", [
        ("node/snapshot_save.c",
         "    snapshots_submit(snapshots, PURPOSE_SAVE_PUBLISH, 0, &request);\n",
         "    snapshots_submit(snapshots, PURPOSE_SAVE_PUBLISH, 0, &request);\n"
         "    snapshots_save_published(snapshots, ERR_OK);\n"),
        ("node/snapshot_save.c",
         "    ASSERT(save->state == SAVE_PUBLISHING);\n    if (error",
         "    if (save->state != SAVE_PUBLISHING) {\n        return;\n    }\n    if (error")],
           "every snapshot shows it to the law"),
    Mutant("log_dropped_before_the_snapshot", "the log is cut while its snapshot is being written", [
        ("node/compaction.c", "        compaction->saving_mark = written(node);\n",
         "        compaction->saving_mark = written(node);\n"
         "        compaction->cut_index = base.index;\n"
         "        compaction->cut_term = base.term;\n"
         "        compaction->cut_ticket = node->held.last_ticket;\n")],
           "every snapshot shows it to the law"),
    Mutant("dedupe_table_lost_in_snapshot", "snapshots lack the stored results of sessions", [
        ("node/machine.c", "    windows_flush(machine->windows);\n", "")]),
    Mutant("snapshot_index_one_too_high", "a snapshot claims one entry more than it has", [
        ("node/compaction.c", "        .index = applied,\n", "        .index = applied + 1,\n"),
        ("node/machine.c", "        store_u64(meta + 1, machine->applied_index);",
         "        store_u64(meta + 1, machine->applied_index + 1);")],
           "every snapshot shows it to the law"),
    Mutant("grant_counter_reset_in_snapshot", "the counter of grants begins anew with a snapshot", [
        ("node/machine.c", '#include "kv/kv.h"\n', '#include "kv/kv.h"\n#include "lease/internal.h"\n'),
        ("node/machine.c", "        machine->log_ms = load_u64(meta.data + 9);\n",
         "        machine->log_ms = load_u64(meta.data + 9);\n"
         "        struct lease_meta lease;\n        lease_meta_load(machine->table, &lease);\n"
         "        lease.token_last = 0;\n        lease_meta_store(machine->table, &lease);\n")]),
    Mutant("installed_snapshot_keeps_a_conflicting_log", "entries of another term stay behind a snapshot", [
        ("raft/snapshot.c", "    if (raft_term_at(raft, base->index, &term) && term == base->term) {",
         "    if (raft_term_at(raft, base->index, &term)) {")]),
    Mutant("resumed_at_a_wrong_offset", "chunks are taken wherever they belong, and not verified", [
        ("node/snapshot_receive.c",
         "    if (receive->state != SNAPSHOT_RECEIVE_TAKING || offset != receive->taken_size ||\n",
         "    if (receive->state != SNAPSHOT_RECEIVE_TAKING ||\n        offset > receive->offer.size ||\n"),
        ("node/snapshot_receive.c", "    if (step == SCAN_REFUSED) {\n        give_up",
         "    if (step == SCAN_REFUSED) {\n        publish(snapshots);\n    } else if (step == SCAN_REFUSED) {\n        give_up"),
        ("node/snapshot_receive.c",
         "    struct snapshot_file file = snapshots_scan_file(&snapshots->scan);\n",
         "    struct snapshot_file file = receive->offer;\n    snapshots->scan.base.index = file.index;\n")]),

    # --- Time, leases and locks ---
    Mutant("deadline_from_the_receiving", "a holder counts from the answer, not from its request", [
        ("client/core_session.c",
         "uint64_t deadline_ms = sent_ms + usable_ms(session, connection);",
         "uint64_t deadline_ms = core->now_ms + usable_ms(session, connection);")]),
    Mutant("deadline_of_twice_the_ttl", "a holder believes for two lives of its session", [
        ("client/core_session.c", "return lost_ms < ttl_ms ? ttl_ms - lost_ms : 0;", "return 2 * ttl_ms;")]),
    Mutant("deadline_moved_by_an_older_answer", "the answer to an old renewal counts for the newest", [
        ("client/core_session.c", "        renewed(core, session, attempt->sent_ms, connection);",
         "        renewed(core, session, session->attempts[(session->attempt_count - 1) %"
         " CORE_ATTEMPT_COUNT].sent_ms, connection);")]),
    Mutant("deadline_moved_by_a_grant", "a granted lock prolongs its session for the holder", [
        ("client/core_lock.c", "        call->token = call->answer.lock_acquire.token;\n",
         "        call->token = call->answer.lock_acquire.token;\n"
         "        call->session->deadline_ms = core->now_ms + call->session->ttl_ms;\n"),
        ("client/core_lock.c", "        call->token = granted->token;\n",
         "        call->token = granted->token;\n"
         "        session->deadline_ms = core->now_ms + session->ttl_ms;\n")]),
    Mutant("renewal_answered_and_not_applied", "some renewals are answered and not in the state", [
        ("node/machine.c",
         "enum error error = lease_session_renew(machine->table, session, machine->log_ms);",
         "enum error error = session % 3 == 0 ? ERR_OK : lease_session_renew(machine->table, session,"
         " machine->log_ms);")],
           "a third of all sessions show it"),
    Mutant("renewal_for_half_the_ttl", "a renewal prolongs by half of what it says", [
        ("lease/session.c", "uint64_t deadline_ms = log_ms + session.ttl_ms;",
         "uint64_t deadline_ms = log_ms + session.ttl_ms / 2;")]),
    Mutant("expiry_by_the_own_clock", "a new leader's own clock decides what is due", [
        ("node/cluster_time.c", "time->clock_ms = later(time->log_ms, time->heard_ms);",
         "time->clock_ms = later(later(time->log_ms, time->heard_ms), now_ms);")]),
    Mutant("cluster_time_runs_fast", "the cluster's clock gains a half", [
        ("node/cluster_time.c", "    time->clock_ms += elapsed_ms;",
         "    time->clock_ms += elapsed_ms + elapsed_ms / 2;")],
           "every turn of a leader shows it to the law"),
    Mutant("frozen_leader_catches_up", "a leader that was frozen adds the time it slept", [
        ("node/cluster_time.c", "elapsed_ms = time->gap_ms_max;", "(void)time;")]),
    Mutant("grant_counter_reset", "after twelve grants tokens begin anew", [
        ("lease/grant.c", "    meta.token_last++;",
         "    meta.token_last = meta.token_last >= 12 ? 1 : meta.token_last + 1;")],
           "grants need no fault"),

    # --- Once and only once ---
    Mutant("results_are_not_written", "every fourth stored result does not reach the table", [
        ("node/window.c", "    window->last_sequence = sequence;\n    if",
         "    window->last_sequence = sequence;\n    if (sequence % 4 == 0) {\n        return;\n    }\n    if")],
           "the copies differ by when they wrote"),
    Mutant("retry_is_executed_again", "a repeated request is not recognized", [
        ("node/machine.c", "    if (is_next) {\n", "    if (is_next && stored.body.data == NULL) {\n"),
        ("node/machine.c", "        *is_repeated = true;\n        return stored->error;", "        return ERR_OK;")]),
    Mutant("refusals_are_not_remembered", "a refused compare-and-swap leaves a gap", [
        ("node/machine.c", "    if (is_next) {\n", "    if (is_next && result->error != ERR_MISMATCH) {\n")],
           "compare-and-swaps are refused in every run"),

    Mutant("unanswered_passes_for_refused", "what a follower has passed on and lost is called REJECTED", [
        ("node/passing.c", "    if (changes_nothing(passed.method)) {", "    if (passed.id != 0) {")]),
    # --- Transactions and bound keys ---
    Mutant("transaction_in_part", "a transaction skips an operation now and then", [
        ("node/machine_transact.c", "        bool found = kv_operation_execute(",
         "        if (transact->revision % 7 == 0 && i == 1) {\n            continue;\n        }\n"
         "        bool found = kv_operation_execute(")],
           "a transaction needs no fault"),
    Mutant("bound_keys_stay", "keys are not deleted when their session has ended", [
        ("node/machine.c", "if (kv_session_end(machine->table,", "if (false && kv_session_end(machine->table,"),
        ("node/machine_read.c", "    return pair->session != 0 &&", "    return pair->session == 1 &&")],
           "sessions end in every run"),
    Mutant("bound_keys_go_early", "readers take a session for dead before its time", [
        ("node/machine_read.c", "pair->session, reader->log_ms);", "pair->session, reader->log_ms + 700);")]),
    Mutant("branches_are_confused", "every tenth transaction runs the other branch", [
        ("node/machine_transact.c", "    error = take_branch(result.succeeded ?",
         "    error = take_branch(result.succeeded != (transact->revision % 10 == 0) ?")],
           "a transaction needs no fault"),
    # --- Watches ---
    Mutant("watch_skips_a_change", "a watch that is behind leaves every seventh change out", [
        ("node/watch_send.c", "        watch->position++;", "        watch->position += watch->position % 7 == 0 ? 2U : 1U;")]),
    Mutant("watch_forgets_the_number", "a watch that goes on leaves out the rest of an entry", [
        ("client/core_watch.c", "    watch->change_number = change.number;", "    watch->change_number = 0;")],
           "sessions that expire have several locks"),

    # --- The disk ---
    Mutant("torn_write_is_believed", "a torn last batch passes", [
        ("log/judge.c", "        torn_number = torn_number < number ? torn_number : number;\n", "")]),
    Mutant("rot_passes_for_a_torn_tail", "any bad last batch is cut off", [
        ("log/judge.c",
         "        if (!sector_is_zero(judging, number)) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);",
         "        if (sector_count == 0) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);")]),
]
