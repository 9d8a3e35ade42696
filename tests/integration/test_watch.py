"""Watches with real processes: the command over failovers, slow readers, what is too old."""
import json
import os
import signal

from harness import HOLDFAST, SANITIZED, Cluster, await_true, end, expect, free_ports, run
from rpc import Rpc


class Watcher:
    """`holdfast watch --json` with its output in a file."""

    def __init__(self, cluster, *arguments):
        self.path = os.path.join(cluster.folder, f"watch{free_ports(1)[0]}")
        with open(self.path, "wb") as out:
            self.process = cluster.spawn_holdfast("watch", "--json", *arguments, stdout=out)

    def changes(self):
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def await_change(self, key):
        await_true(lambda: any(c.get("key") == key for c in self.changes()), 20,
                   f"the watch to tell of {key}")

    def stop(self):
        end(self.process, signal.SIGTERM)
        return self.process.returncode


def put(cluster, key, value):
    """The revision, or None when nobody knows."""
    result = cluster.holdfast("put", "--json", key, value)
    expect(result.code in (0, 74, 77), f"put: {result}")
    return json.loads(result.out)["revision"] if result.code == 0 else None


def begin(cluster, *arguments):
    """A watcher that is known to be there: it has told of a change."""
    watcher = Watcher(cluster, *arguments)

    def told():
        put(cluster, "k-begin", "x")
        return watcher.changes()
    await_true(told, 20, "the watch to begin")
    return watcher


def test_watch_over_kills_of_the_leader_tells_each_change_once_and_in_order():
    with Cluster() as cluster:
        cluster.leader()
        watcher = begin(cluster, "k")
        acked = {}
        for i in range(48):
            if i % 12 == 6:
                leader = cluster.leader()
                leader.kill()
                killed = leader
            if i % 12 == 11:
                killed.start()
            revision = put(cluster, f"k{i}", str(i))
            if revision is not None:
                acked[f"k{i}"] = revision
            put(cluster, f"other{i}", "not watched")
        expect(put(cluster, "k-last", "x") is not None, "the last put")
        watcher.await_change("k-last")
        expect(watcher.stop() == 0, "a signal ends a watch with 0")
        told = watcher.changes()
        places = [(c["revision"], c["number"]) for c in told]
        expect(places == sorted(set(places)), f"out of order, or twice: {places}")
        for key, revision in acked.items():
            expect([c["revision"] for c in told if c["key"] == key].count(revision) == 1,
                   f"{key} at {revision} is not told once")
        for node in cluster.nodes:
            node.stop()
        first = told[0]["revision"]
        logs = [[(e["index"], e["params"]["key"]) for e in node.dump()
                 if e.get("method") == "put" and e["params"]["key"].startswith("k")
                 and first <= e["index"] <= told[-1]["revision"]] for node in cluster.nodes]
        log = max(logs, key=len)
        expect([(c["revision"], c["key"]) for c in told] == log, "the log tells something else")
        return f"{len(told)} changes over 4 kills, {len(acked)} acknowledged"


def test_watch_of_locks_tells_who_has_them():
    with Cluster(size=1) as cluster:
        cluster.leader()
        watcher = Watcher(cluster, "--locks", "l")

        def told():
            cluster.holdfast("lock", "l0", "--", "true")
            return watcher.changes()
        await_true(told, 20, "the watch to begin")
        seen = len(watcher.changes())
        expect(cluster.holdfast("lock", "l1", "--meta", "vote me", "--owner", "me", "--",
                                "true").code == 0, "lock")
        await_true(lambda: len(watcher.changes()) >= seen + 2, 10, "two changes of the lock")
        granted, released = watcher.changes()[-2:]
        expect(granted["kind"] == "granted" and released["kind"] == "released", f"{granted}")
        expect(granted["metadata"] == "vote me" and granted["owner"] == "me", f"{granted}")
        expect(granted["token"] == released["token"] and not granted["kept"], f"{released}")
        expect(watcher.stop() == 0, "a signal ends it with 0")


def fill(address, count):
    with Rpc(address) as rpc:
        for _ in range(0, count, 500):
            for error, _result in rpc.call_all([("put", {"key": b"k", "value": b"v" * 100})] * 500):
                expect(error is None, f"put: {error}")


def test_watch_from_before_the_feed_is_69_and_says_what_to_do():
    with Cluster(size=1, extra=["--watch-memory", "2MiB"]) as cluster:
        leader = cluster.leader()
        first = put(cluster, "k", "first")
        fill(leader.client, 9000)
        result = cluster.holdfast("watch", "k", "--from", str(first))
        expect(result.code == 69 and "--from" in result.err and "holdfast ls" in result.err,
               f"{result}")
        with Rpc(leader.client) as rpc:
            error, _result = rpc.call("watch", watch=1, revision=first)
            expect(error["name"] == "COMPACTED" and error["oldest_revision"] > first, f"{error}")
            error, listed = rpc.call("list", prefix=b"k")
            error, _result = rpc.call("watch", watch=1, revision=listed["revision"])
            expect(error is None, f"a watch from the list's revision: {error}")


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_watchers_that_never_read_cost_nothing_and_delay_nobody():
    with Cluster(size=1, extra=["--watch-memory", "2MiB"]) as cluster:
        leader = cluster.leader()
        polite = begin(cluster, "k")
        fill(leader.client, 9000)
        deaf = [Rpc(leader.client) for _ in range(8)]
        for rpc in deaf:
            for number in range(50):
                error, _result = rpc.call("watch", watch=number + 1, prefix=b"k",
                                          credit=1 << 31 if number == 0 else 0)
                expect(error is None, f"watch: {error}")
        before = rss_kib(leader.process.pid)
        fill(leader.client, 40000)
        expect(put(cluster, "k-end", "x") is not None, "put")
        polite.await_change("k-end")
        told = [c["revision"] for c in polite.changes()]
        expect(told == sorted(set(told)) and len(told) >= 49000, f"{len(told)} were told")
        grown = rss_kib(leader.process.pid) - before
        # The output of eight connections is bounded, and holds 4 MiB at most; the log's window and
        # the table take their own.
        expect(SANITIZED or grown < 140 << 10, f"the node has grown by {grown} KiB")
        for rpc in deaf:
            rpc.socket.close()
        expect(polite.stop() == 0, "a signal ends it with 0")
        return f"400 watches without credit or reader, 40000 changes: {grown} KiB more"


def test_watch_without_a_cluster_is_77_and_bad_input_is_told():
    port = free_ports(1)[0]
    result = run([HOLDFAST, "--endpoints", f"127.0.0.1:{port}", "--timeout", "300ms", "watch", "k"])
    expect(result.code == 77, f"{result}")
    with Cluster(size=1) as cluster:
        cluster.leader()
        expect(cluster.holdfast("watch", "k" * 481).code == 65, "a prefix that is too long")
        expect(cluster.holdfast("watch", "k", "--from", "x").code in (64, 65), "--from x")
        expect(cluster.holdfast("get", "k", "--locks").code == 64, "--locks of another command")
