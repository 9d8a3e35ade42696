"""Kills the leader N times under load; prints the time to the next successful write as JSON.

usage: failover.py N
"""
import json
import statistics
import sys

from harness import Cluster
from test_kill import Load, gap_after, kill_leaders


def main(rounds):
    with Cluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        kills = kill_leaders(cluster, load, rounds)
        operations = load.stop()
        gaps = [gap_after(operations, kill) for kill in kills]
        print(json.dumps({"failover": rounds, "median_ms": statistics.median(gaps),
                          "worst_ms": max(gaps)}))


main(int(sys.argv[1]))
