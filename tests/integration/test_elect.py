"""`holdfast elect` and `elect observe` with real processes."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

from harness import HOLDFAST, LOAD, SLOW, Cluster, Failure, await_true, end, expect, run
from test_lock import NOW, STAMPER, alive, stamps

ENVIRONMENT = ("import json, os; print(json.dumps({k: v for k, v in os.environ.items() "
               "if k in ('HOLDFAST_LOCK', 'HOLDFAST_ELECTION', 'HOLDFAST_TOKEN', "
               "'HOLDFAST_DEADLINE_MS')}))")


class Observer:
    """`elect observe NAME --json`, its lines read by a thread of their own."""

    def __init__(self, cluster, name, *options):
        self.rows = []
        self.process = cluster.spawn_holdfast("elect", "observe", name, "--json", *options,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.rows.append(json.loads(line))

    def tokens(self):
        return [row["token"] for row in self.rows if row["token"] is not None]

    def await_value(self, value, timeout=10):
        return await_true(lambda: next((r for r in self.rows if r["value"] == value), None), timeout,
                          f"the observer to see {value}; it saw {self.rows}")

    def close(self):
        end(self.process, signal.SIGTERM)
        self.thread.join(5)
        tokens = self.tokens()
        expect(all(a <= b for a, b in zip(tokens, tokens[1:])), f"tokens went back: {tokens}")
        seen = [(row["token"], row["value"]) for row in self.rows]
        expect(all(a != b for a, b in zip(seen, seen[1:])), f"a leader was seen twice: {seen}")


def leads(cluster, name, value, *options):
    """A process that leads without a command, and its token."""
    process = cluster.spawn_holdfast("elect", name, value, *options, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    expect(line.startswith(f"{name} leads token="), f"without a command: {line!r}")
    return process, int(line.split("=")[1])


def test_exit_statuses_are_those_of_lock():
    with Cluster() as cluster:
        cluster.leader()
        rows = [
            (0, ["elect", "a", "v", "--", "true"]),
            (0, ["elect", "a", "", "--", "true"]),
            (3, ["elect", "a", "v", "--", "sh", "-c", "exit 3"]),
            (128 + 15, ["elect", "a", "v", "--", "sh", "-c", "kill -TERM $$"]),
            (127, ["elect", "a", "v", "--", "/no/such/command"]),
            (64, ["elect", "a"]),
            (64, ["elect", "a", "v", "--shared"]),
            (64, ["elect", "observe"]),
            (65, ["elect", "", "v", "--", "true"]),
            (65, ["elect", "a" * 255, "v", "--", "true"]),
            (65, ["elect", "a", "v" * 256, "--", "true"]),
            (0, ["elect", "a" * 254, "v" * 255, "--", "true"]),
            (69, ["elect", "a", "v", "--ttl", "100ms", "--", "true"]),
        ]
        for code, arguments in rows:
            result = cluster.holdfast(*arguments)
            expect(result.code == code, f"{arguments}: expected {code}, got {result}")
            expect(code not in (64, 65, 69) or result.err.strip(), f"{arguments}: no word of why")
            expect(result.out == "", f"{arguments}: wrote to standard output: {result}")
        holder, token = leads(cluster, "held", "me")
        for options in (["--try"], ["--wait", "200ms"]):
            result = cluster.holdfast("elect", "held", "other", *options, "--", "true")
            expect(result.code == 75, f"{options}: expected 75, got {result}")
        holder.send_signal(signal.SIGTERM)
        expect(holder.wait(timeout=10 * SLOW) == 0, "a leadership given up by SIGTERM must end with 0")
        for node in cluster.nodes[:2]:
            node.kill()
        for arguments in (["a", "v", "--", "true"], ["observe", "a"]):
            result = cluster.holdfast("elect", *arguments, "--timeout", "1s")
            expect(result.code == 77, f"without a quorum: {arguments}: expected 77, got {result}")


def test_command_knows_its_election_and_an_election_is_no_lock():
    with Cluster() as cluster:
        cluster.leader()
        known = json.loads(cluster.holdfast("lock", "both", "--", sys.executable, "-c", ENVIRONMENT).out)
        expect(known["HOLDFAST_LOCK"] == "both", f"{known}")
        inner = [sys.executable, "-c", ENVIRONMENT]
        result = cluster.holdfast("lock", "both", "--", HOLDFAST, "elect", "both", "v", "--try", "--", *inner)
        expect(result.code == 0, f"an election within a lock of its name: {result}")
        nested = json.loads(result.out)
        expect(nested["HOLDFAST_ELECTION"] == "both" and "HOLDFAST_LOCK" not in nested, f"{nested}")
        expect(int(nested["HOLDFAST_TOKEN"]) > int(known["HOLDFAST_TOKEN"]), f"{known} {nested}")
        expect(int(nested["HOLDFAST_DEADLINE_MS"]) > time.time() * 1000 - 60000, f"{nested}")

        holder, token = leads(cluster, "both", "value with spaces")
        rows = [json.loads(line) for line in cluster.holdfast("locks", "--json").out.splitlines()]
        expect([(r["name"], r["mode"], r["token"]) for r in rows] == [("both", "election", token)],
               f"locks: {rows}")
        expect(cluster.holdfast("locks", "show", "both").code == 1, "there is no lock of that name")
        shown = json.loads(cluster.holdfast("locks", "show", "both", "--election", "--json").out)
        expect(shown["holders"][0]["metadata"] == "value with spaces", f"locks show: {shown}")
        wrong = cluster.holdfast("unlock", "both", "--force", "--token", str(token), "--reason", "x")
        expect(wrong.code == 1, f"unlock of a lock that is an election: {wrong}")
        right = cluster.holdfast("unlock", "both", "--election", "--force", "--token", str(token),
                                 "--reason", "x")
        expect(right.code == 0, f"unlock --election: {right}")
        expect(holder.wait(timeout=10 * SLOW) == 76, "a leader that was put out must end with 76")
        audit = json.loads(cluster.holdfast("audit", "--json").out)
        expect(audit["name"] == "both" and audit["election"], f"audit: {audit}")


def test_a_frozen_leader_s_command_is_dead_before_the_next_leads():
    with Cluster() as cluster:
        cluster.leader()
        path = f"{cluster.folder}/stamps"
        observer = Observer(cluster, "frozen")
        holder = cluster.spawn_holdfast("elect", "frozen", "first", "--ttl", "2s", "--", sys.executable,
                                        STAMPER, path)
        await_true(lambda: {s[1] for s in stamps(path)} == {"parent", "child"}, 10, "the command to run")
        pids = {s[2] for s in stamps(path)}
        holder.send_signal(signal.SIGSTOP)
        second = cluster.holdfast("elect", "frozen", "second", "--wait", "20s", "--", sys.executable, "-c", NOW)
        expect(second.code == 0, f"second candidate: {second}")
        last_ns = max(s[0] for s in stamps(path))
        expect(last_ns < int(second.out), "the first command lived when the second led")
        expect(not any(alive(pid) for pid in pids), "a process of the first command's group still lives")
        holder.send_signal(signal.SIGCONT)
        code = holder.wait(timeout=10 * SLOW)
        expect(code == 76, f"the frozen leader woke up and ended with {code}, not 76")
        first, last = observer.await_value("first"), observer.await_value("second")
        expect(first["token"] < last["token"], f"{first} {last}")
        observer.close()


def test_observers_see_each_leader_once_and_in_order_while_nodes_are_killed():
    with Cluster() as cluster:
        cluster.leader()
        observers = [Observer(cluster, "primary") for _ in range(3)]
        seen = 0
        for turn in range(6):
            process, token = leads(cluster, "primary", f"v{turn}")
            if turn % 2 == 1:
                for observer in observers:
                    observer.await_value(f"v{turn}")
                victim = cluster.leader()
                victim.kill()
                cluster.leader()
                victim.start()
            process.send_signal(signal.SIGTERM)
            expect(process.wait(timeout=20 * SLOW) == 0, f"candidate {turn} did not end well")
            expect(token > seen, f"token {token} behind {seen}")
            seen = token
        last, token = leads(cluster, "primary", "last")
        for observer in observers:
            row = observer.await_value("last", 20)
            expect(row["token"] == token and row["session"] != 0 and row["owner"], f"{row}")
            observer.close()
        end(last)


def test_an_observer_is_told_within_a_tenth_of_a_second():
    with Cluster() as cluster:
        cluster.leader()
        observer = Observer(cluster, "quick")
        await_true(lambda: observer.rows, 10, "the first line")
        expect(observer.rows[0] == {"name": "quick", "token": None, "value": None, "session": None,
                                    "owner": None}, f"nobody leads: {observer.rows}")
        process, _ = leads(cluster, "quick", "x")
        led = time.monotonic()
        observer.await_value("x")
        late_ms = (time.monotonic() - led) * 1000
        expect(late_ms < 100 * SLOW, f"seen {late_ms:.0f} ms after it was led")
        end(process, signal.SIGTERM)
        observer.close()
        return f"{late_ms:.0f} ms"


def test_an_observer_ends_with_77_when_the_majority_is_lost_for_good():
    with Cluster() as cluster:
        cluster.leader()
        observer = Observer(cluster, "gone", "--timeout", "2s")
        await_true(lambda: observer.rows, 10, "the first line")
        for node in cluster.nodes[:2]:
            node.kill()
        cluster.nodes[2].kill()
        try:
            code = observer.process.wait(timeout=10 * SLOW)
        except subprocess.TimeoutExpired as problem:
            raise Failure("the observer waits for ever") from problem
        expect(code == 77, f"the observer ended with {code}")


def test_a_program_leads_proclaims_is_put_out_and_resigns():
    program = os.path.join(os.path.dirname(LOAD), "election")
    with Cluster() as cluster:
        cluster.leader()
        result = run([program, cluster.endpoints], timeout=60)
        expect(result.code == 0, f"election: {result}")
