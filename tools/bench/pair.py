"""Two builds beside each other: CPU seconds of the servers per 1,000 operations, and throughput.

usage: pair.py OLD NEW     PAIRS=10 SECONDS_EACH=4 SNAPSHOT_LOG=2MiB CLIENTS=64

OLD and NEW are folders with holdfastd and holdfast. In each pair both run each workload, on a fresh
cluster, one directly after the other, and the order alternates: so a machine that drifts hits
both. Snapshots are taken meanwhile, where a build knows how.
"""
import os
import statistics
import sys

from dev import Dev

WORKLOADS = ("put", "lock")


def measure(build, workload, seconds, clients, snapshot_log):
    dev = Dev(build, {"snapshot-log": snapshot_log})
    try:
        # Without warm-up, so that operations and CPU are those of the same time.
        before = dev.cpu_seconds()
        row = dev.bench(workload, "--clients", clients, "--seconds", seconds, "--warmup", 0)
        cpu = dev.cpu_seconds() - before
        if row["errors"] or not row["ops"]:
            raise SystemExit(f"{build}: {workload}: {row}")
        return {"cpu": 1000 * cpu / row["ops"], "rate": row["ops_per_s"], "snapshots": dev.snapshots()}
    finally:
        dev.close()


def main(builds):
    pairs, seconds = int(os.environ.get("PAIRS", 10)), float(os.environ.get("SECONDS_EACH", 4))
    clients, snapshot_log = os.environ.get("CLIENTS", "64"), os.environ.get("SNAPSHOT_LOG", "2MiB")
    rows = {workload: [] for workload in WORKLOADS}
    for number in range(pairs):
        for workload in WORKLOADS:
            order = (0, 1) if number % 2 == 0 else (1, 0)
            pair = {i: measure(builds[i], workload, seconds, clients, snapshot_log) for i in order}
            rows[workload].append((pair[0], pair[1]))
            print(f"pair {number + 1} {workload}: "
                  f"CPU s per 1,000: old {pair[0]['cpu']:.4f} new {pair[1]['cpu']:.4f}, "
                  f"operations a second: old {pair[0]['rate']:.0f} new {pair[1]['rate']:.0f}, "
                  f"snapshots: old {pair[0]['snapshots']} new {pair[1]['snapshots']}", flush=True)
    for workload, found in rows.items():
        cpu = statistics.median(new["cpu"] / old["cpu"] for old, new in found)
        rate = statistics.median(new["rate"] / old["rate"] for old, new in found)
        print(f"{workload}, {clients} clients, median of {pairs} pairs: CPU per operation new/old "
              f"{cpu:.3f}, throughput new/old {rate:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not all(os.access(os.path.join(b, "holdfastd"), os.X_OK) for b in sys.argv[1:]):
        raise SystemExit("usage: pair.py OLD NEW: folders that have holdfastd and holdfast; "
                         "`make bench-pair OLD=FOLDER`")
    main([os.path.abspath(build) for build in sys.argv[1:]])
