"""The planted bugs of make sim-mutants (see mutants.py)."""
from collections import namedtuple

# `edits`: what stands in the file, exactly once, and what shall stand there.
# `why_not_quiet`: why it fails without faults too; None: it passes.
Mutant = namedtuple("Mutant", "name breaks path edits why_not_quiet", defaults=[None])

MUTANTS = [
    Mutant("vote_before_sync", "TODO",
           "raft/effects.c", [
           ('    case RAFT_LETTER_VOTE_REPLY:\n    case',
            '    case RAFT_LETTER_VOTE_REPLY:\n        return false;\n    case')]),
    Mutant("candidacy_before_sync", "TODO",
           "raft/effects.c", [
           ('return !message->vote_request.pre && !raft_hard_state_is_durable(raft);',
            'return false;')]),
    Mutant("term_before_sync", "TODO",
           "raft/effects.c", [
           ('return !raft->hard_state_changed && raft->persisted_unit >= raft->hard_state_unit;',
            'return true;')]),
    Mutant("own_vote_counted_early", "TODO",
           "raft/election.c", [
           ('    request_votes(raft, false, transfer);\n',
            '    request_votes(raft, false, transfer);\n    raft->votes = self_bit(raft);\n')],
           "TODO"),
    Mutant("second_vote_in_a_term", "TODO",
           "raft/election.c", [
           ('(raft->vote == 0 && raft->leader == 0);',
            'raft->leader == 0;\n    raft->vote = is_free && raft->role == RAFT_FOLLOWER ? 0 : raft->vote;')],
           "TODO"),
    Mutant("vote_ignores_the_log", "TODO",
           "raft/election.c", [
           ('        return request->last_term > last_term;',
            '        return true;')]),
    Mutant("vote_for_a_shorter_log", "TODO",
           "raft/election.c", [
           ('return request->last_index >= raft_last_index(raft);',
            'return request->last_index + 3 >= raft_last_index(raft);')]),
    Mutant("vote_of_an_older_term_counts", "TODO",
           "raft/election.c", [
           ('raft->role == RAFT_CANDIDATE && reply->request_term == raft->term &&\n                            message->term == raft->term;',
            'raft->role == RAFT_CANDIDATE;')]),
    Mutant("commit_of_an_older_term", "TODO",
           "raft/replicate.c", [
           ('&& term == raft->term) {',
            '&& term > 0) {')]),
    Mutant("commit_by_less_than_a_majority", "TODO",
           "raft/quorum.c", [
           ('return count >= quorum_size(members);',
            'return count + (members->count > 3) >= quorum_size(members);')]),
    Mutant("own_copy_counted_early", "TODO",
           "raft/replicate.c", [
           ('at == raft->self_at ? raft->durable_index :',
            'at == raft->self_at ? raft_last_index(raft) :')]),
    Mutant("acknowledges_what_is_in_memory", "TODO",
           "raft/effects.c", [
           ('message->append_reply.match_index > raft->durable_index;',
            'false;')],
           "TODO"),
    Mutant("held_messages_leave_early", "TODO",
           "node/held.c", [
           ('if (log_durable_ticket(node->log) >= held->last_ticket) {',
            'if (held->last_ticket != 0) {')],
           "TODO"),
    Mutant("durable_before_it_is", "TODO",
           "node/held.c", [
           ('uint64_t durable = log_durable_ticket(node->log);',
            'uint64_t durable = held->last_ticket;')]),
    Mutant("append_without_looking_before", "TODO",
           "raft/follow.c", [
           ('if (!previous_matches(raft, append, &conflict_index, &conflict_term)) {',
            'if (append->previous_index > raft_last_index(raft)) {\n        conflict_index = raft_last_index(raft);')]),
    Mutant("conflicting_entry_is_kept", "TODO",
           "raft/follow.c", [
           ('if (term == entry->term) {',
            'if (term != 0) {')]),
    Mutant("late_append_cuts_what_came_after", "TODO",
           "raft/follow.c", [
           ('if (term == entry->term) {',
            'if (term == entry->term && entry->index < raft->commit_index + 1) {')]),
    Mutant("heartbeat_commits_what_is_not_validated", "TODO",
           "raft/follow.c", [
           ('raft->leader_commit_index < raft->validated_index ? raft->leader_commit_index\n                                                                         : raft->validated_index;',
            'raft->leader_commit_index < raft_last_index(raft) ? raft->leader_commit_index : raft_last_index(raft);')]),
    Mutant("read_without_asking_a_majority", "TODO",
           "raft/read.c", [
           ('if (read->round == 0 || read->round > round) {',
            'if (read->round == 0 || round == UINT64_MAX) {')]),
    Mutant("read_before_the_first_own_commit", "TODO",
           "raft/read.c", [
           ('|| !raft_leader_is_ready(raft)) {',
            '|| raft->role != RAFT_LEADER) {')]),
    Mutant("probe_that_never_ends", "TODO",
           "raft/progress.c", [
           ('if (is_probe && progress->flight_count == 0) {',
            'if (is_probe && progress->flight_count == 0 && flight != NULL) {')]),
    Mutant("refused_append_is_not_searched", "TODO",
           "raft/progress.c", [
           ('raft_index previous = flight->previous_index - 1;',
            'raft_index previous = flight->previous_index;')]),
    Mutant("deadline_from_the_receiving", "TODO",
           "client/core_session.c", [
           ('uint64_t deadline_ms = sent_ms + usable_ms(session, connection);',
            'uint64_t deadline_ms = core->now_ms + usable_ms(session, connection);')]),
    Mutant("deadline_of_twice_the_ttl", "TODO",
           "client/core_session.c", [
           ('return lost_ms < ttl_ms ? ttl_ms - lost_ms : 0;',
            'return 2 * ttl_ms;')]),
    Mutant("renewal_answered_and_not_applied", "TODO",
           "node/machine.c", [
           ('enum error error = lease_session_renew(machine->table, session, machine->log_ms);',
            'enum error error = session % 3 == 0 ? ERR_OK : lease_session_renew(machine->table, session, machine->log_ms);')]),
    Mutant("expiry_by_the_own_clock", "TODO",
           "node/cluster_time.c", [
           ('time->clock_ms = later(time->log_ms, time->heard_ms);',
            'time->clock_ms = later(later(time->log_ms, time->heard_ms), now_ms);')],
           "TODO"),
    Mutant("cluster_time_runs_fast", "TODO",
           "node/cluster_time.c", [
           ('    time->clock_ms += elapsed_ms;',
            '    time->clock_ms += elapsed_ms + elapsed_ms / 2;')]),
    Mutant("frozen_leader_catches_up", "TODO",
           "node/cluster_time.c", [
           ('elapsed_ms = time->gap_ms_max;',
            'elapsed_ms = 4 * elapsed_ms;')]),
    Mutant("grant_counter_reset", "TODO",
           "lease/lock.c", [
           ('    meta.token_last++;',
            '    meta.token_last = meta.token_last >= 12 ? 1 : meta.token_last + 1;')],
           "TODO"),
    Mutant("renewal_for_half_the_ttl", "TODO",
           "lease/session.c", [
           ('uint64_t deadline_ms = log_ms + session.ttl_ms;',
            'uint64_t deadline_ms = log_ms + session.ttl_ms / 2;')]),
    Mutant("results_are_not_written", "TODO",
           "node/window.c", [
           ('    window->last_sequence = sequence;\n',
            '    window->last_sequence = sequence;\n    if (sequence % 4 == 0) {\n        return;\n    }\n')],
           "TODO"),
    Mutant("retry_is_executed_again", "TODO",
           "node/machine.c", [
           ('        *is_repeated = true;\n        return stored->error;',
            '        return ERR_OK;')]),
    Mutant("refusals_are_not_remembered", "TODO",
           "node/machine.c", [
           ('    if (is_next) {\n',
            '    if (is_next && result->error != ERR_MISMATCH) {\n')]),
    Mutant("torn_write_is_believed", "TODO",
           "log/judge.c", [
           ('        torn_number = torn_number < number ? torn_number : number;\n',
            '')]),
    Mutant("rot_passes_for_a_torn_tail", "TODO",
           "log/judge.c", [
           ('        if (!sector_is_zero(judging, number)) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);',
            '        if (sector_count == 0) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);')]),
]
