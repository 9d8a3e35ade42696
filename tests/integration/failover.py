"""Kills the leader N times under load; prints the time to the next successful write as JSON.

usage: failover.py N
"""
import json
import statistics
import sys
import time

from harness import Cluster, await_true
from test_kill import Load, gap_after


def main(rounds):
    with Cluster() as cluster:
        cluster.leader()
        load, kills = Load(cluster), []
        for _ in range(rounds):
            load.await_acked(load.acked + 500)
            leader = cluster.leader()
            kills.append(time.monotonic_ns() // 1000)
            leader.kill()
            load.await_acked(load.acked + 50)
            leader.start()
            await_true(lambda: all(n["reachable"] for n in cluster.status()["nodes"]), 20,
                       "the killed node to be back")
        operations = load.stop()
        gaps = [gap_after(operations, kill) for kill in kills]
        print(json.dumps({"failover": rounds, "median_ms": statistics.median(gaps),
                          "worst_ms": max(gaps)}))


main(int(sys.argv[1]))
