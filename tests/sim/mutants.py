#!/usr/bin/env python3
"""make sim-mutants: planted bugs against the simulator.

Each mutant is one small edit of a copy of the sources under build/mutants. It is built, must pass
seeds without faults (unless it says that it cannot), and must be killed by seeds with faults: by a
law of tests/sim/check.c, a checker or a numbered invariant. usage: mutants.py [NAME...]; SEEDS and
QUIET say how many seeds with and without faults there are at most."""
import os
import re
import shutil
import subprocess
import sys
import time

SEEDS = int(os.environ.get("SEEDS", "600"))
QUIET = int(os.environ.get("QUIET", "100"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TREE = os.path.join(ROOT, "build", "mutants")

# Name, file, what stands there (found exactly once), what stands there instead, and whether it passes
# without faults.
MUTANTS = [
    ("vote_before_sync", "raft/effects.c",
     "    case RAFT_LETTER_VOTE_REPLY:\n    case", "    case RAFT_LETTER_VOTE_REPLY:\n        return false;\n    case", True),
    ("candidacy_before_sync", "raft/effects.c",
     "return !message->vote_request.pre && !raft_hard_state_is_durable(raft);", "return false;", True),
    ("term_before_sync", "raft/effects.c",
     "return !raft->hard_state_changed && raft->persisted_unit >= raft->hard_state_unit;",
     "return true;", True),
    ("own_vote_counted_early", "raft/election.c",
     "    request_votes(raft, false, transfer);\n",
     "    request_votes(raft, false, transfer);\n    raft->votes = self_bit(raft);\n", False),
    ("second_vote_in_a_term", "raft/election.c",
     "(raft->vote == 0 && raft->leader == 0);",
     "raft->leader == 0;\n    raft->vote = is_free && raft->role == RAFT_FOLLOWER ? 0 : raft->vote;", False),
    ("vote_ignores_the_log", "raft/election.c",
     "        return request->last_term > last_term;", "        return true;", True),
    ("vote_for_a_shorter_log", "raft/election.c",
     "return request->last_index >= raft_last_index(raft);",
     "return request->last_index + 3 >= raft_last_index(raft);", True),
    ("vote_of_an_older_term_counts", "raft/election.c",
     "raft->role == RAFT_CANDIDATE && reply->request_term == raft->term &&\n                            message->term == raft->term;",
     "raft->role == RAFT_CANDIDATE;", True),
    ("commit_of_an_older_term", "raft/replicate.c", "&& term == raft->term) {", "&& term > 0) {", True),
    ("commit_by_less_than_a_majority", "raft/quorum.c", "return count >= quorum_size(members);",
     "return count + (members->count > 3) >= quorum_size(members);", True),
    ("own_copy_counted_early", "raft/replicate.c",
     "at == raft->self_at ? raft->durable_index :", "at == raft->self_at ? raft_last_index(raft) :", True),
    ("acknowledges_what_is_in_memory", "raft/effects.c",
     "message->append_reply.match_index > raft->durable_index;", "false;", False),
    ("held_messages_leave_early", "node/held.c",
     "if (log_durable_ticket(node->log) >= held->last_ticket) {", "if (held->last_ticket != 0) {", False),
    ("durable_before_it_is", "node/held.c",
     "uint64_t durable = log_durable_ticket(node->log);", "uint64_t durable = held->last_ticket;", True),
    ("append_without_looking_before", "raft/follow.c",
     "if (!previous_matches(raft, append, &conflict_index, &conflict_term)) {",
     "if (append->previous_index > raft_last_index(raft)) {\n        conflict_index = raft_last_index(raft);", True),
    ("conflicting_entry_is_kept", "raft/follow.c",
     "if (term == entry->term) {", "if (term != 0) {", True),
    ("late_append_cuts_what_came_after", "raft/follow.c",
     "if (term == entry->term) {", "if (term == entry->term && entry->index < raft->commit_index + 1) {", True),
    ("heartbeat_commits_what_is_not_validated", "raft/follow.c",
     "raft->leader_commit_index < raft->validated_index ? raft->leader_commit_index\n                                                                         : raft->validated_index;",
     "raft->leader_commit_index < raft_last_index(raft) ? raft->leader_commit_index : raft_last_index(raft);", True),
    ("read_without_asking_a_majority", "raft/read.c",
     "if (read->round == 0 || read->round > round) {", "if (read->round == 0 || round == UINT64_MAX) {", True),
    ("read_before_the_first_own_commit", "raft/read.c",
     "|| !raft_leader_is_ready(raft)) {", "|| raft->role != RAFT_LEADER) {", True),
    ("probe_that_never_ends", "raft/progress.c",
     "if (is_probe && progress->flight_count == 0) {",
     "if (is_probe && progress->flight_count == 0 && flight != NULL) {", True),
    ("refused_append_is_not_searched", "raft/progress.c",
     "raft_index previous = flight->previous_index - 1;", "raft_index previous = flight->previous_index;", True),
    ("deadline_from_the_receiving", "client/core_session.c",
     "uint64_t deadline_ms = sent_ms + usable_ms(session, connection);",
     "uint64_t deadline_ms = core->now_ms + usable_ms(session, connection);", True),
    ("deadline_of_twice_the_ttl", "client/core_session.c",
     "return lost_ms < ttl_ms ? ttl_ms - lost_ms : 0;", "return 2 * ttl_ms;", True),
    ("renewal_answered_and_not_applied", "node/machine.c",
     "enum error error = lease_session_renew(machine->table, session, machine->log_ms);",
     "enum error error = session % 3 == 0 ? ERR_OK : lease_session_renew(machine->table, session, machine->log_ms);", True),
    ("expiry_by_the_own_clock", "node/cluster_time.c",
     "time->clock_ms = later(time->log_ms, time->heard_ms);",
     "time->clock_ms = later(later(time->log_ms, time->heard_ms), now_ms);", False),
    ("cluster_time_runs_fast", "node/cluster_time.c",
     "    time->clock_ms += elapsed_ms;", "    time->clock_ms += elapsed_ms + elapsed_ms / 2;", True),
    ("frozen_leader_catches_up", "node/cluster_time.c",
     "elapsed_ms = time->gap_ms_max;", "elapsed_ms = 4 * elapsed_ms;", True),
    ("grant_counter_reset", "lease/lock.c",
     "    meta.token_last++;", "    meta.token_last = meta.token_last >= 12 ? 1 : meta.token_last + 1;", False),
    ("renewal_for_half_the_ttl", "lease/session.c",
     "uint64_t deadline_ms = log_ms + session.ttl_ms;",
     "uint64_t deadline_ms = log_ms + session.ttl_ms / 2;", True),
    ("results_are_not_written", "node/window.c",
     "    window->last_sequence = sequence;\n",
     "    window->last_sequence = sequence;\n    if (sequence % 4 == 0) {\n        return;\n    }\n", False),
    ("retry_is_executed_again", "node/machine.c",
     "        *is_repeated = true;\n        return stored->error;", "        return ERR_OK;", True),
    ("refusals_are_not_remembered", "node/machine.c",
     "    if (is_next) {\n", "    if (is_next && result->error != ERR_MISMATCH) {\n", True),
    ("torn_write_is_believed", "log/judge.c",
     "        torn_number = torn_number < number ? torn_number : number;\n", "", True),
    ("rot_passes_for_a_torn_tail", "log/judge.c",
     "        if (!sector_is_zero(judging, number)) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);",
     "        if (sector_count == 0) {\n            return verdict_at(LOG_TAIL_ROTTEN, number);", True),
]


def run(arguments, **options):
    return subprocess.run(arguments, cwd=TREE, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)


def copy_tree():
    shutil.rmtree(TREE, ignore_errors=True)
    os.makedirs(TREE)
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                           stdout=subprocess.PIPE, check=True).stdout.split("\n")
    for name in filter(None, names):
        target = os.path.join(TREE, name)
        if os.path.exists(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), target)
    done = run(["make", "-s", "-j2", "WARN=-w", "build/sim"])
    if done.returncode != 0:
        sys.exit("mutants: the copy does not build:\n" + done.stdout[-2000:])


def killer_of(output):
    law = re.search(r"law (\w+) is broken", output)
    if law:
        return "law " + law.group(1)
    assertion = re.search(r"(\w+/\w+\.c):(\d+): assertion failed: ([^\n]*)", output)
    if assertion:
        return f"{assertion.group(1)}: {assertion.group(3)}"[:70]
    return "signal" if "signal" in output else "?"


def try_mutant(name, path, old, new, passes_quiet):
    file = os.path.join(TREE, path)
    with open(file, encoding="utf-8") as source:
        text = source.read()
    if text.count(old) != 1:
        return (False, f"the place is found {text.count(old)} times in {path}", "", "")
    try:
        with open(file, "w", encoding="utf-8") as target:
            target.write(text.replace(old, new))
        built = run(["make", "-s", "WARN=-w", "build/sim"])
        if built.returncode != 0:
            return (False, "does not build: " + built.stdout[-300:], "", "")
        quiet = run(["build/sim", "--many", str(QUIET), "--brief", "--stop", "--no-faults"])
        quiet_word = "passes" if quiet.returncode == 0 else "fails"
        if passes_quiet and quiet.returncode != 0:
            quiet_word = "FAILS"
        faulty = run(["build/sim", "--many", str(SEEDS), "--brief", "--stop"])
        killed = faulty.returncode != 0
        passed = re.search(r"(\d+) seeds passed", faulty.stdout)
        needed = str(int(passed.group(1)) + 1) if killed and passed else "-"
        return (killed, needed, killer_of(faulty.stdout) if killed else "SURVIVED", quiet_word)
    finally:
        with open(file, "w", encoding="utf-8") as target:
            target.write(text)


def main():
    wanted = sys.argv[1:]
    started = time.time()
    killed_count = 0
    survived = []
    copy_tree()
    print(f"{'mutant':<42} {'seeds':>6}  {'no faults':<9}  killed by")
    for mutant in MUTANTS:
        if wanted and mutant[0] not in wanted:
            continue
        killed, needed, by, quiet = try_mutant(*mutant)
        print(f"{mutant[0]:<42} {needed:>6}  {quiet:<9}  {by}", flush=True)
        killed_count += killed
        if not killed:
            survived.append(mutant[0])
    print(f"{time.time() - started:.0f} s")
    print(f"{killed_count} killed, {len(survived)} survived")
    sys.exit(1 if survived else 0)


main()
