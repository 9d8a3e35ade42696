"""Disks that are nearly full: one stops nothing; a majority refuses what needs room, and says so.

A watermark above any disk makes a node low; what really fills disks is in root_disk.py.
"""
from harness import Cluster, await_true, expect

ALWAYS_LOW = ["--disk-low", "1000000GiB"]


def by_name(cluster, key):
    return {node["name"]: node[key] for node in cluster.status()["nodes"]}


def restart(node, extra):
    expect(node.stop() == 0, f"{node.name} did not stop cleanly: {node.log()[-500:]}")
    node.extra = extra
    node.start()


def put(cluster, value, timeout="10s"):
    return cluster.holdfast("--timeout", timeout, "put", "k", value)


def test_a_low_disk_stops_nothing_and_a_low_majority_refuses_writes_until_there_is_room():
    with Cluster(start=False) as cluster:
        low = cluster.nodes[1:]
        low[1].extra = ALWAYS_LOW
        for node in cluster.nodes:
            node.start()
        cluster.leader()
        await_true(lambda: by_name(cluster, "disk_low") == {"n1": False, "n2": False, "n3": True}, 20,
                   "one low disk in status")
        expect(put(cluster, "1").code == 0, "a write beside one low disk")
        holder = cluster.spawn_holdfast("lock", "L", "--", "sleep", "4")
        await_true(lambda: cluster.holdfast("locks", "show", "L").code == 0, 20, "the lock to be held")

        restart(low[0], ALWAYS_LOW)
        cluster.leader()
        await_true(lambda: by_name(cluster, "refuses_writes")[cluster.leader().name], 20,
                   "writes to be refused")
        refused = put(cluster, "2", timeout="1s")
        expect(refused.code == 69 and "disk low on n2, n3" in refused.err, f"a refused write: {refused}")
        expect("writes are refused" in cluster.holdfast("status").out, "status says nothing")
        expect(cluster.holdfast("get", "k").out.strip() == "1", "a read beside low disks")
        expect(cluster.holdfast("del", "k").code == 0, "a deletion beside low disks")
        expect(holder.wait(timeout=60) == 0, "the lock was not given back")
        await_true(lambda: cluster.holdfast("locks", "show", "L").code == 1, 20, "the lock to be free")

        restart(low[0], [])
        cluster.leader()
        await_true(lambda: put(cluster, "3", timeout="1s").code == 0, 20, "writes to be taken again")
        lines = [line for node in cluster.nodes for line in node.log().split("\n")]
        expect(sum("event=disk_low" in line for line in lines) == 2, "disk_low is told once by each")
        expect(any("event=writes_taken" in line for line in lines), "the end of it was not told")
