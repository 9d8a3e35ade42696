"""Members come, go and are replaced under load; leadership moves. Nothing acknowledged may be lost."""
import json
import os
import shutil
import statistics
import time

from harness import SOAK, SLOW, Cluster, Failure, Node, await_true, expect, free_dev_port, free_ports
from harness import Folder, HOLDFAST, end, run, spawn
from test_kill import Load, longest_gap
import history
import signal
import subprocess

STALL_WINDOW_US = 600_000


def acknowledged_writes(operations):
    return sorted(o["end"] for o in operations if o["op"] in ("put", "cas") and o["status"] == "OK")


def stall_ms(ends, moment_us):
    """The longest time without any acknowledged write around the moment."""
    near = [e for e in ends if moment_us - 20_000 <= e <= moment_us + STALL_WINDOW_US]
    return max(b - a for a, b in zip(near, near[1:])) / 1000


class GrowingCluster(Cluster):
    """A cluster that more nodes can be started for."""

    def __init__(self, size=3, spare=4):
        super().__init__(size, start=False)
        self.spare = free_ports(2 * spare)
        self.made = size  # Names are never used twice.
        for node in self.nodes:
            node.start()

    def add_node(self):
        """Starts one more node; it asks to join."""
        self.made += 1
        node = Node(self, self.made, (self.spare.pop(), self.spare.pop()))
        self.nodes.append(node)
        return node.start()

    def change(self, *arguments, timeout="20s"):
        result = self.holdfast(*arguments, "--timeout", timeout, timeout=40)
        expect(result.code == 0, f"{arguments}: {result}")

    def join(self, node):
        await_true(lambda: node.name in [m["name"] for m in self.members()], 20,
                   f"{node.name} to ask to join")
        self.change("member", "add", node.name)

    def members(self):
        result = self.holdfast("member", "ls", "--json")
        expect(result.code == 0, f"member ls: {result}")
        return [json.loads(line) for line in result.out.splitlines()]

    def voters(self):
        return {m["name"]: m["id"] for m in self.members() if m["member"] == "voter"}

    def remove(self, node):
        self.change("member", "remove", node.name)
        expect(node.process.wait(timeout=20 * SLOW) == 3, f"{node.name} was not told: {node.log()[-500:]}")
        expect("the cluster has removed this node" in node.log(), node.log()[-500:])


# What a program is told that is no failure: of a lock that others hold, of a key that is not there.
ANSWERS = {"acquire": ("OK", "HELD", "TIMEOUT"), "get": ("OK", "NOT_FOUND")}


def check_outcomes(operations):
    """Retries are the library's; what reaches the program is an answer."""
    strange = [o for o in operations if o["status"] not in ANSWERS.get(o["op"], ("OK",))]
    expect(not strange, f"{len(strange)} operations failed, such as {strange[:3]}")


def wiped_disk_returns(cluster, load):
    """A dead node comes back with an empty disk, and is taken back by itself."""
    dead = next(n for n in cluster.nodes if n is not cluster.leader())
    before = cluster.voters()[dead.name]
    dead.kill()
    load.await_acked(load.acked + 200)
    shutil.rmtree(dead.data)
    dead.start()
    await_true(lambda: cluster.voters().get(dead.name, before) != before and
               len(cluster.members()) == 5, 30, "the new disk to be a voter in place of the old one")


def dead_node_is_replaced(cluster, load):
    """A node that never comes back makes room for another, in one change."""
    dead = next(n for n in reversed(cluster.nodes) if n is not cluster.leader())
    dead.kill()
    load.await_acked(load.acked + 200)
    cluster.nodes.remove(dead)
    node = cluster.add_node()
    await_true(lambda: node.name in [m["name"] for m in cluster.members()], 20,
               f"{node.name} to ask to join")
    cluster.change("member", "add", node.name, "--learner")
    cluster.change("member", "promote", node.name, "--replace", dead.name)
    expect(set(cluster.voters()) == {n.name for n in cluster.nodes}, f"{cluster.members()}")


def grow_replace_remove_and_shrink():
    with GrowingCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        load.await_acked(500)
        started = time.monotonic_ns() // 1000
        for _ in range(2):
            cluster.join(cluster.add_node())
            load.await_acked(load.acked + 200)
        expect(len(cluster.voters()) == 5, f"not five voters: {cluster.members()}")
        for step in (wiped_disk_returns, dead_node_is_replaced):
            step(cluster, load)
            load.await_acked(load.acked + 200)
        # The leader goes, then one more; the load knows the first three only.
        gone = [cluster.leader()]
        cluster.remove(gone[0])
        load.await_acked(load.acked + 200)
        leader = cluster.leader()
        rest = [n for n in cluster.nodes if n not in gone and n is not leader]
        gone.append(max(rest, key=lambda n: n.number))
        cluster.remove(gone[1])
        load.await_acked(load.acked + 200)
        operations = load.stop()
        cluster.nodes = [n for n in cluster.nodes if n not in gone]
        expect(set(cluster.voters()) == {n.name for n in cluster.nodes}, f"{cluster.members()}")
        cluster.equal_state()
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name} did not stop cleanly: {node.log()[-500:]}")
        check_outcomes(operations)
        counts = history.check(operations, [node.dump() for node in cluster.nodes])
        return f"{counts}, longest time without a write {longest_gap(operations, started):.0f} ms"


def test_grow_replace_remove_and_shrink_under_load():
    return "; ".join(grow_replace_remove_and_shrink() for _ in range(3 if SOAK else 1))


def test_leadership_moves_and_sigterm_hands_over():
    rounds = 10
    with GrowingCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        load.await_acked(500)
        quiet, moves, stops = [], [], []
        for i in range(rounds):
            quiet.append(time.monotonic_ns() // 1000)
            load.await_acked(load.acked + 200)
        for i in range(rounds):
            leader = cluster.leader()
            target = next(n for n in cluster.nodes if n is not leader)
            moves.append(time.monotonic_ns() // 1000)
            cluster.change("leader", "move", target.name)
            load.await_acked(load.acked + 200)
        for i in range(rounds):
            leader = cluster.leader()
            stops.append(time.monotonic_ns() // 1000)
            expect(leader.stop() == 0, f"{leader.name} did not stop cleanly")
            load.await_acked(load.acked + 200)
            leader.start()
            await_true(lambda: all(n["reachable"] for n in cluster.status()["nodes"]), 20,
                       "the stopped node to be back")
            load.await_acked(load.acked + 200)
        operations = load.stop()
        cluster.equal_state()
        for node in cluster.nodes:
            node.stop()
        check_outcomes(operations)
        counts = history.check(operations, [node.dump() for node in cluster.nodes])
        ends = acknowledged_writes(operations)
        move = statistics.median(stall_ms(ends, t) for t in moves)
        stop = statistics.median(stall_ms(ends, t) for t in stops)
        calm = statistics.median(stall_ms(ends, t) for t in quiet)
        text = (f"longest pause of writes, median of {rounds}: leader move {move:.0f} ms, SIGTERM {stop:.0f} ms, "
                f"neither {calm:.0f} ms")
        # Beyond what the machine does to them anyway.
        expect(SLOW > 1 or (move - calm < 100 and stop - calm < 100), text)
        return f"{counts}, {text}"


def test_two_wiped_nodes_of_three_form_no_new_cluster():
    with GrowingCluster() as cluster:
        leader = cluster.leader()
        before = cluster.status()["cluster"]
        wiped = [n for n in cluster.nodes if n is not leader]
        for node in wiped:
            node.kill()
            shutil.rmtree(node.data)
        for node in wiped:
            node.start()
        for node in wiped:
            await_true(lambda: "waiting_to_join" in node.log(), 20, f"{node.name} to say that it waits")
        leader.stop()
        leader.start()
        result = cluster.holdfast("put", "a", "1", "--timeout", "3s")
        expect(result.code == 77, f"a write was taken: {result}")
        for node in wiped:
            expect("event=formed" not in node.log().split("waiting_to_join")[-1], node.log()[-500:])
        expect(cluster.status()["cluster"] == before, "another cluster was formed")


def test_refusals_say_what_to_do():
    with GrowingCluster() as cluster:
        cluster.leader()
        result = cluster.holdfast("member", "add", "n9")
        expect(result.code == 69 and "asks to join" in result.err, f"{result}")
        result = cluster.holdfast("member", "remove", "n9")
        expect(result.code == 1 and "member ls" in result.err, f"{result}")
        result = cluster.holdfast("leader", "move", "n9")
        expect(result.code == 69 and "member ls" in result.err, f"{result}")
        result = cluster.holdfast("member", "promote", "n1", "--replace", "")
        expect(result.code == 65, f"{result}")


def test_learner_is_promoted_in_place_of_another():
    with GrowingCluster() as cluster:
        leader = cluster.leader()
        node = cluster.add_node()
        await_true(lambda: node.name in [m["name"] for m in cluster.members()], 20, "it to ask")
        cluster.change("member", "add", node.name, "--learner")
        part = {m["name"]: m["member"] for m in cluster.members()}
        expect(part[node.name] == "learner", f"{part}")
        expect(next(n for n in cluster.status()["nodes"] if n["name"] == node.name)["member"] == "learner",
               "status does not say learner")
        old = next(n for n in cluster.nodes if n is not leader and n is not node)
        cluster.change("member", "promote", node.name, "--replace", old.name)
        expect(set(cluster.voters()) == {n.name for n in cluster.nodes if n is not old}, f"{cluster.members()}")
        expect(old.process.wait(timeout=20 * SLOW) == 3, "the replaced node was not told")


def test_dev_add_starts_a_node_that_joins():
    with Folder() as folder:
        port = free_dev_port(5)
        directory = os.path.join(folder, "dev")
        dev = spawn([HOLDFAST, "dev", "--dir", directory, "--port", str(port)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in dev.stdout:
            if line == "ready\n":
                break
        result = run([HOLDFAST, "dev", "add", "--dir", directory], timeout=40)
        expect(result.code == 0 and result.out == "n4\n", f"{result}")
        with open(os.path.join(directory, "endpoints")) as file:
            endpoints = file.read().strip()
        expect(endpoints.split(",") == [f"127.0.0.1:{port + i}" for i in range(1, 5)], endpoints)
        expect(os.path.exists(os.path.join(directory, "n4", "pid")), "no pid file")
        result = run([HOLDFAST, "--endpoints", endpoints, "member", "ls", "--json"])
        voters = [m["name"] for m in map(json.loads, result.out.splitlines()) if m["member"] == "voter"]
        expect(voters == ["n1", "n2", "n3", "n4"], f"{result}")
        result = run([HOLDFAST, "dev", "restart", "4", "--dir", directory])
        expect(result.code == 0, f"{result}")
        result = run([HOLDFAST, "--endpoints", endpoints, "member", "remove", "n2"])
        expect(result.code == 0, f"{result}")
        end(dev, signal.SIGTERM)
        # What was removed does not keep the rest from being ready.
        dev = spawn([HOLDFAST, "dev", "--dir", directory, "--port", str(port)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if line == "ready\n":
                break
        expect(lines[-1:] == ["ready\n"], f"{lines}")
        end(dev, signal.SIGTERM)
