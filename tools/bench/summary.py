"""Medians and ratios of a bench run, as the table of docs/performance.md."""
import json
import statistics
import sys

runs, floors, memory, failover = {}, {}, [], None
for line in open(sys.argv[1]):
    if not line.startswith("{"):
        continue
    row = json.loads(line)
    if "workload" in row:
        runs.setdefault((row["workload"], row["clients"]), {}).setdefault(row["peer"], []).append(row)
    elif "floor" in row:
        floors.setdefault(row["floor"], []).append(row["p50_us"])
    elif "memory" in row:
        memory.append(row["peak_mb"])
    elif "failover" in row:
        failover = row


def median(rows, field):
    return statistics.median(row[field] for row in rows)


print("\n| workload | clients | Holdfast ops/s | p50 us | p99 us | etcd ops/s | ratio |")
print("|---|---|---|---|---|---|---|")
for (workload, clients), peers in runs.items():
    ours, etcd = peers.get("holdfast", []), peers.get("etcd", [])
    if not ours:
        continue
    ops = median(ours, "ops_per_s")
    other = median(etcd, "ops_per_s") if etcd else None
    print(f"| {workload} | {clients} | {ops:.0f} | {median(ours, 'p50_us'):.0f} | "
          f"{median(ours, 'p99_us'):.0f} | {'%.0f' % other if other else '-'} | "
          f"{'%.1f' % (ops / other) if other else '-'} |")
for name, values in floors.items():
    print(f"\n{name}: p50 {statistics.median(values):.0f} us")
disk = next((v for k, v in floors.items() if "append" in k), None)
if disk and ("put", 1) in runs:
    ratio = median(runs[("put", 1)]["holdfast"], "p50_us") / statistics.median(disk)
    print(f"put with one client: p50 is {ratio:.2f} x the durable append of three writers")
if memory:
    print(f"peak resident memory of a node: {max(memory):.1f} MB")
if failover:
    print(f"kill -9 of the leader to the next write: median {failover['median_ms']:.0f} ms "
          f"of {failover['failover']} kills, worst {failover['worst_ms']:.0f} ms")
