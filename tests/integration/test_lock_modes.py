"""Shared and counting locks, lock delays and forced unlocks with real processes."""
import json
import os
import signal
import subprocess
import sys
import time

from harness import SLOW, Cluster, await_true, expect
from test_lock import STUBBORN, alive


def hold(cluster, *arguments):
    """`holdfast lock` without a command, started; it holds or waits."""
    return cluster.spawn_holdfast("lock", *arguments, stdout=subprocess.PIPE, text=True)


def token_of(holder):
    line = holder.stdout.readline()
    expect(" token=" in line, f"a holder said {line!r}")
    return int(line.split("token=")[1])


def show(cluster, name):
    result = cluster.holdfast("locks", "show", name, "--json")
    return json.loads(result.out) if result.code == 0 else None


def give_back(holder):
    holder.send_signal(signal.SIGTERM)
    expect(holder.wait(timeout=10 * SLOW) == 0, "a lock given up by SIGTERM must end with 0")


def await_waiters(cluster, name, count):
    await_true(lambda: show(cluster, name)["waiters"] == count, 10, f"{count} to wait for {name}")


def test_readers_hold_together_and_queue_behind_a_writer():
    with Cluster() as cluster:
        cluster.leader()
        readers = [hold(cluster, "rw", "--shared", "--meta", f"reader {i}") for i in range(2)]
        tokens = [token_of(reader) for reader in readers]
        writer = hold(cluster, "rw")
        await_waiters(cluster, "rw", 1)
        result = cluster.holdfast("lock", "rw", "--shared", "--try", "--", "true")
        expect(result.code == 75, f"a reader passed the writer that waits: {result}")
        late = hold(cluster, "rw", "--shared")
        await_waiters(cluster, "rw", 2)
        shown = show(cluster, "rw")
        expect(shown["mode"] == "shared" and shown["used"] == 2, f"{shown}")
        expect([h["token"] for h in shown["holders"]] == sorted(tokens), f"{shown}")
        expect({h["metadata"] for h in shown["holders"]} == {"reader 0", "reader 1"}, f"{shown}")
        expect([(w["mode"], w["position"]) for w in shown["queue"]]
               == [("exclusive", 1), ("shared", 2)], f"{shown}")
        for reader in readers:
            give_back(reader)
        written = token_of(writer)
        expect(written > max(tokens), "the writer's token is not larger")
        expect(show(cluster, "rw")["mode"] == "exclusive", "the writer holds alone")
        give_back(writer)
        expect(token_of(late) > written, "the reader behind the writer has no larger token")
        give_back(late)
        expect(show(cluster, "rw") is None, "a lock that nobody holds is shown")


def test_permits_are_counted_and_a_mismatch_is_refused():
    with Cluster() as cluster:
        cluster.leader()
        two = hold(cluster, "pool", "--permits", "3", "--units", "2")
        one = hold(cluster, "pool", "--permits", "3")
        token_of(two), token_of(one)
        shown = show(cluster, "pool")
        expect(shown["mode"] == "permits" and shown["permits"] == 3 and shown["used"] == 3,
               f"{shown}")
        listed = json.loads(cluster.holdfast("locks", "--json").out)
        expect(listed["holders"] == 2 and listed["used"] == 3, f"{listed}")
        result = cluster.holdfast("lock", "pool", "--permits", "3", "--try", "--", "true")
        expect(result.code == 75, f"a fourth permit of three: {result}")
        for wrong in (["--permits", "4"], ["--shared"], []):
            result = cluster.holdfast("lock", "pool", *wrong, "--try", "--", "true")
            expect(result.code == 69 and "permits" in result.err, f"{wrong}: {result}")
        give_back(two)
        result = cluster.holdfast("lock", "pool", "--permits", "3", "--units", "2", "--", "echo", "in")
        expect(result.code == 0 and result.out == "in\n", f"{result}")
        give_back(one)


def test_forced_unlock_kills_the_command_at_once_and_is_in_the_audit_of_every_leader():
    with Cluster() as cluster:
        cluster.leader()
        path = os.path.join(cluster.folder, "stubborn")
        first = cluster.spawn_holdfast("lock", "forced", "--", sys.executable, "-c", STUBBORN, path)
        await_true(lambda: os.path.exists(path), 10, "the command under the lock to run")
        holder = show(cluster, "forced")["holders"][0]
        wrong = cluster.holdfast("unlock", "forced", "--force", "--token", str(holder["token"] + 1),
                                 "--reason", "guessing")
        expect(wrong.code == 69 and "token" in wrong.err, f"a wrong token: {wrong}")
        expect(show(cluster, "forced")["holders"][0]["token"] == holder["token"], "it was unlocked")
        started = time.monotonic()
        result = cluster.holdfast("unlock", "forced", "--force", "--token", str(holder["token"]),
                                  "--reason", "it hangs", "--owner", "the operator")
        expect(result.code == 0, f"unlock: {result}")
        expect(first.wait(timeout=10 * SLOW) == 76, "the holder must end with 76")
        dead_ms = (time.monotonic() - started) * 1000
        # Its grace of 1 s would be over only then.
        expect(dead_ms < 500 * SLOW, f"the command lived on for {dead_ms:.0f} ms")
        absent = cluster.holdfast("unlock", "forced", "--force", "--token", "1", "--reason", "again")
        expect(absent.code == 1, f"a lock that nobody holds: {absent}")
        cluster.leader().kill()
        cluster.leader()
        lines = cluster.holdfast("audit", "--json").out.splitlines()
        expect(len(lines) == 1, f"audit: {lines}")
        audit = json.loads(lines[0])
        expect(audit["name"] == "forced" and audit["token"] == holder["token"]
               and audit["session"] == holder["session"] and audit["owner"] == holder["owner"]
               and audit["by"] == "the operator" and audit["reason"] == "it hangs"
               and abs(audit["wall_ms"] / 1000 - time.time()) < 60, f"audit: {audit}")
        expect("it hangs" in cluster.holdfast("audit").out, "audit for people")


def test_delay_follows_a_loss_and_not_a_release():
    with Cluster() as cluster:
        cluster.leader()
        clean = cluster.holdfast("lock", "delayed", "--delay", "30s", "--", "true")
        expect(clean.code == 0, f"{clean}")
        holder = hold(cluster, "delayed", "--ttl", "2s", "--delay", "2s")
        token = token_of(holder)
        holder.kill()
        holder.wait()
        killed = time.monotonic()
        await_true(lambda: show(cluster, "delayed")["holders"][0]["lost"], 10,
                   "the session to expire")
        shown = show(cluster, "delayed")["holders"][0]
        expect(shown["token"] == token and shown["left_ms"] <= 2000, f"{shown}")
        result = cluster.holdfast("lock", "delayed", "--try", "--", "true")
        expect(result.code == 75, f"within the delay: {result}")
        result = cluster.holdfast("lock", "delayed", "--wait", "20s", "--", "true")
        waited = time.monotonic() - killed
        expect(result.code == 0, f"behind the delay: {result}")
        expect(waited > 2, f"the delay was over after {waited:.2f} s")
        return f"free {waited:.2f} s after the holder was killed, of a TTL and a delay of 2 s each"


def test_queues_permits_and_audit_survive_a_restart_of_all_nodes():
    with Cluster() as cluster:
        cluster.leader()
        holders = [hold(cluster, "kept", "--shared", "--ttl", "60s"),
                   hold(cluster, "pool", "--permits", "5", "--units", "3", "--ttl", "60s")]
        for holder in holders:
            token_of(holder)
        waiter = hold(cluster, "kept", "--ttl", "60s")
        await_waiters(cluster, "kept", 1)
        before = {name: show(cluster, name) for name in ("kept", "pool")}
        for node in cluster.nodes:
            node.stop()
        for node in cluster.nodes:
            node.start()
        cluster.leader()
        for name, old in before.items():
            new = show(cluster, name)
            for lock in (old, new):
                for one in lock["holders"]:
                    del one["age_ms"], one["left_ms"]
            expect(new == old, f"{name} was {old} and is {new}")
        cluster.equal_state()
        expect(alive(waiter.pid), "the waiter gave up")
        give_back(holders[0])
        token_of(waiter)
        give_back(waiter)
        give_back(holders[1])
