"""Nodes are killed with SIGKILL under load; nothing acknowledged may be missing."""
import os
import random
import statistics
import subprocess
import threading
import time

from harness import LOAD, SOAK, SLOW, Cluster, await_true, expect, spawn
import history


class Load:
    """The `load` program, and how many operations it has acknowledged so far."""

    def __init__(self, cluster, clients=8):
        self.folder = os.path.join(cluster.folder, "load")
        os.makedirs(self.folder, exist_ok=True)
        self.process = spawn([LOAD, cluster.endpoints, str(clients), self.folder],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.acked = 0
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.acked = int(line)
                self.changed.notify_all()

    def await_acked(self, count, timeout=60):
        with self.changed:
            done = self.changed.wait_for(lambda: self.acked >= count, timeout * SLOW)
        expect(done, f"only {self.acked} of {count} operations were acknowledged")

    def stop(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=60 * SLOW)
        expect(code == 0, f"load ended with {code}")
        self.reader.join()
        return history.read_histories(self.folder)


def gap_after(operations, kill_us):
    """Milliseconds from the kill to the end of the first write that began after it."""
    ends = [o["end"] for o in operations
            if o["op"] == "put" and o["status"] == "OK" and o["start"] > kill_us]
    return (min(ends) - kill_us) / 1000 if ends else None


def longest_gap(operations, since_us):
    """Milliseconds: the longest time after `since_us` in which no acknowledged write ended."""
    ends = sorted(o["end"] for o in operations
                  if o["op"] == "put" and o["status"] == "OK" and o["end"] > since_us)
    expect(ends, "no write was acknowledged afterwards")
    return max(b - a for a, b in zip([since_us] + ends, ends)) / 1000


def kill_leaders(cluster, load, rounds):
    """Kills and restarts the leader `rounds` times under load; the moments of the kills."""
    kills = []
    for _ in range(rounds):
        load.await_acked(load.acked + 500)
        leader = cluster.leader()
        kills.append(time.monotonic_ns() // 1000)
        leader.kill()
        load.await_acked(load.acked + 50)
        leader.start()
        await_true(lambda: all(n["reachable"] for n in cluster.status()["nodes"]), 20,
                   "the killed node to be back")
    return kills


def test_leader_killed_again_and_again_loses_nothing():
    with Cluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        kills = kill_leaders(cluster, load, 20 if SOAK else 5)
        load.await_acked(load.acked + 500)
        operations = load.stop()
        cluster.equal_state()
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name} did not stop cleanly: {node.log()[-500:]}")
        counts = history.check(operations, [node.dump() for node in cluster.nodes])
        gaps = [gap_after(operations, kill) for kill in kills]
        return (f"{counts}, kill to next write: median {statistics.median(gaps):.0f} ms, "
                f"worst {max(gaps):.0f} ms")


def test_all_nodes_killed_again_and_again_lose_nothing():
    rounds = 50 if SOAK else 5
    with Cluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        for _ in range(rounds):
            load.await_acked(load.acked + random.randrange(500, 1500))
            for node in cluster.nodes:
                node.process.kill()
            for node in cluster.nodes:
                node.process.wait()
            for node in cluster.nodes:
                node.start()
            cluster.leader()
        load.await_acked(load.acked + 100)
        operations = load.stop()
        cluster.equal_state()
        for node in cluster.nodes:
            node.stop()
        return str(history.check(operations, [node.dump() for node in cluster.nodes]))
