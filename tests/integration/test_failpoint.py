"""A server that fails on purpose: each persistence step, before it and behind it.

The points are those of server/failpoint.h, in a build of their own. One node of a cluster under
load meets each of them; a lone node meets those of the first start.
"""
import datetime
import os
import time
from concurrent.futures import ThreadPoolExecutor

from harness import (FAILPOINTD, HOLDFASTD, SANITIZED, SLOW, SOAK, Cluster, Folder, await_true,
                     expect, run)
from test_kill import Load, longest_gap
import history

EXIT_CODE = 99
ADVICE = ("start again", "check ", "bring the node back")
# No state file is ever removed, and no segment goes before 64 MiB were written. Snapshots have a
# test of their own below, allocations in test_memory.py.
UNREACHED = ("snapshot.", "log.remove", "hard.remove", "identity.remove", "memory.")
ELECTION_MS_MAX = 500  # Of the default settings.
# Steps of the first start in an empty folder, which a node of a cluster cannot repeat.
FIRST = ("identity.write", "identity.sync", "identity.rename", "format.", "log.fill", "log.sync",
         "log.rename", "hard.rename", "hard.sync")


def all_points(prefix=None):
    """Those with that prefix; without one, those that a cluster meets as it forms, serves, starts."""
    result = run([FAILPOINTD], env=dict(os.environ, HOLDFAST_FAILPOINTS="list"))
    expect(result.code == 0, f"the list of points: {result}")
    if prefix is not None:
        return [p for p in result.out.split() if p.startswith(prefix)]
    return [p for p in result.out.split() if not p.startswith(UNREACHED)]


class Plan:
    """What a node's failpoints do, changed while it runs."""

    def __init__(self, node):
        self.node = node
        self.path = os.path.join(node.folder, "failpoints")
        node.environment["HOLDFAST_FAILPOINTS_FILE"] = self.path
        self.set("")

    def set(self, text):
        with open(self.path + ".new", "w") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def has_fired(self, since):
        with open(self.node.log_path, errors="replace") as log:
            log.seek(since)
            return "failpoint=" in log.read()


def start_planned(cluster):
    plans = [Plan(node) for node in cluster.nodes]
    for node in cluster.nodes:
        node.start()
    cluster.leader()
    return plans


def await_end(node, timeout=20):
    await_true(lambda: not node.is_alive(), timeout, f"the end of {node.name}: {node.log()[-400:]}")
    return node.process.returncode


def check_end(node, point, action):
    """An ended node either left by the point, or said in its last line what is to be done."""
    code = await_end(node)
    last = node.log().strip().split("\n")[-1]
    if action == "exit":
        expect(code == EXIT_CODE, f"{point}={action}: exit code {code}, {last}")
        return
    expect(code == 1 and "event=fatal" in last and "problem=" in last,
           f"{point}={action}: exit code {code}, {last}")
    expect(any(text in last for text in ADVICE), f"{point}={action}: no advice in: {last}")


def meet(node, plan, point, action):
    """Arms the point and waits until it has fired: under load, at the stop or at the start."""
    since = os.path.getsize(node.log_path)
    plan.set(f"{point}={action}@1")
    if point.startswith("log.write"):
        await_true(lambda: plan.has_fired(since), 10, f"{point} is never reached")
        check_end(node, point, action)
        return "ended"
    code = node.stop()
    if not plan.has_fired(since):
        expect(code == 0, f"{node.name} did not stop: {code}")
        node.start()
        await_true(lambda: plan.has_fired(since), 10, f"{point} is never reached")
    elif code == 0:
        # A table that cannot be kept is built anew: no reason to end badly.
        return "tolerated"
    check_end(node, point, action)
    return "ended"


def await_back(cluster):
    await_true(lambda: all(n["reachable"] for n in cluster.status()["nodes"]), 20,
               "the node to be back")


def test_every_step_fails_under_load_and_nothing_acknowledged_is_lost():
    tolerated = []
    points = [p for p in all_points() if not p.startswith(FIRST)]
    expect(len(points) >= 16, f"only {points}")
    with Cluster(program=FAILPOINTD, start=False) as cluster:
        plans = start_planned(cluster)
        load = Load(cluster)
        for number, point in enumerate(points):
            for action in ("exit", "error"):
                load.await_acked(load.acked + 50)
                # A new hard state is sure for who was deposed; else in turn the leader and each.
                leads = number % 2 or point.startswith("hard.write")
                node = cluster.leader() if leads else cluster.nodes[number // 2 % 3]
                plan = plans[node.number - 1]
                if meet(node, plan, point, action) == "tolerated":
                    tolerated.append(point)
                plan.set("")
                node.start()
                await_back(cluster)
        load.await_acked(load.acked + 100)
        operations = load.stop()
        cluster.equal_state()
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name} did not stop: {node.log()[-300:]}")
        counts = history.check(operations, [node.dump() for node in cluster.nodes])
    expect(set(tolerated) <= {p for p in points if p.startswith(("marker.", "env.", "folder."))},
           f"ended well though it failed: {tolerated}")
    return f"{2 * len(points)} failures, {counts}"


def meet_first(point, action):
    """A lone node fails in its first start; healed, it starts and serves."""
    with Cluster(size=1, start=False, program=FAILPOINTD) as cluster:
        node = cluster.nodes[0]
        plan = Plan(node)
        plan.set(f"{point}={action}@1")
        node.start()
        check_end(node, point, action)
        expect(plan.has_fired(0), f"{point} is never reached")
        plan.set("")
        node.start()
        for _ in range(2 if SOAK else 1):
            put = cluster.holdfast("put", "k", "v", timeout=10)
            expect(put.code == 0, f"after {point}={action}: {put}, {node.log()[-300:]}")
            node.kill()
            node.start()
        got = cluster.holdfast("get", "k", timeout=10)
        expect(got.code == 0 and got.out == "v\n", f"after {point}={action}: {got}")


def test_every_step_of_the_first_start_fails_and_the_next_start_serves():
    points = [p for p in all_points() if p.startswith(FIRST) or p.startswith("folder.")]
    cases = [(point, action) for point in points for action in ("exit", "error")]
    expect(len(cases) >= 48, f"only {cases}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda case: meet_first(*case), cases))
    return f"{len(cases)} failures"


def test_every_step_finds_a_full_disk_and_says_so():
    def meet_full(point):
        with Cluster(size=1, start=False, program=FAILPOINTD) as cluster:
            node = cluster.nodes[0]
            Plan(node).set(f"{point}=nospace@1")
            node.start()
            check_end(node, point, "nospace")
            expect("is full" in node.log() or "No space left" in node.log(),
                   f"{point}: {node.log()[-300:]}")

    points = [p for p in all_points() if p.startswith(FIRST) and p.endswith(".before")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(meet_full, points))
    return f"{len(points)} points"


def test_an_unknown_point_is_refused_with_advice():
    for text in ("nonsense=exit", "log.write.before=explode", "log.write.before=exit@0",
                 "log.write.before=stall(x)"):
        result = run([FAILPOINTD], env=dict(os.environ, HOLDFAST_FAILPOINTS=text))
        expect(result.code == 78 and "HOLDFAST_FAILPOINTS=list" in result.err, f"{text}: {result}")


def test_the_product_knows_no_failpoints():
    result = run([HOLDFASTD], env=dict(os.environ, HOLDFAST_FAILPOINTS="log.write.before=exit"))
    expect(result.code == 78 and "no such setting" in result.err, str(result))
    if not SANITIZED:
        # Debug information keeps the names of macros; what runs must not.
        with Folder() as folder:
            stripped = os.path.join(folder, "holdfastd")
            expect(run(["strip", "-o", stripped, HOLDFASTD]).code == 0, "strip")
            with open(stripped, "rb") as file:
                expect(b"failpoint" not in file.read().lower(), "the product has failpoints")
        symbols = run(["nm", HOLDFASTD]).out
        expect("main" in symbols and "failpoint" not in symbols, "nm shows failpoints")


def meet_snapshot(cluster, load, node, plan, point, action):
    """Arms the point and waits until it has fired, while the node runs or as it starts."""
    since = os.path.getsize(node.log_path)
    plan.set(f"{point}={action}@1")
    if ".read." in point:
        # Without its table the node reads its snapshot.
        node.kill()
        node.start()
    await_true(lambda: plan.has_fired(since), 20, f"{point} is never reached")
    if action == "exit":
        check_end(node, point, action)
        return "ended"
    load.await_acked(load.acked + 100)
    if not node.is_alive():
        check_end(node, point, action)
        return "ended"
    return "tolerated"


def snapshots_saved(node):
    return node.log().count("event=snapshot_saved ")


def test_every_step_of_a_snapshot_fails_under_load_and_a_later_one_succeeds():
    points = all_points("snapshot.")
    expect(len(points) >= 12, f"only {points}")
    actions = ("error", "exit", "nospace")
    cases = [(point, action) for point in points for action in actions]
    if not SOAK:
        cases = [(point, actions[number // 2 % 3]) for number, point in enumerate(points)]
    counts = {}
    with Cluster(program=FAILPOINTD, start=False, extra=["--snapshot-log", "1MiB"]) as cluster:
        plans = start_planned(cluster)
        load = Load(cluster)
        for number, (point, action) in enumerate(cases):
            node = cluster.nodes[number % 3]
            await_true(lambda: snapshots_saved(node) >= 2, 60, f"snapshots of {node.name}")
            outcome = meet_snapshot(cluster, load, node, plans[node.number - 1], point, action)
            counts[outcome] = counts.get(outcome, 0) + 1
            plans[node.number - 1].set("")
            before = snapshots_saved(node)
            if outcome == "ended":
                node.start()
                await_back(cluster)
            await_true(lambda: snapshots_saved(node) > before, 60,
                       f"a snapshot after {point}={action}")
        operations = load.stop()
        cluster.equal_state()
        checked = history.check_kept(operations, cluster.leader())
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name} did not stop: {node.log()[-300:]}")
    return f"{len(cases)} failures, {counts}, {checked}"


def moment_of(line):
    """Microseconds of the clock of the log's lines."""
    text = line.split("time=")[1].split()[0]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6


def next_leader_us(cluster, old, since_us):
    """When another node said that it leads, after that moment."""
    moments = [moment_of(line) for node in cluster.nodes if node is not old
               for line in node.log().split("\n") if " event=role role=leader " in line]
    later = [moment for moment in moments if moment > since_us]
    return min(later) if later else None


def test_a_stalled_disk_of_the_leader_is_handed_over_from_within_two_election_timeouts():
    stall_ms = 10000 if SOAK else 2500
    rounds = 3 if SOAK else 1
    handovers, gaps = [], []
    with Cluster(program=FAILPOINTD, start=False) as cluster:
        plans = start_planned(cluster)
        load = Load(cluster)
        for _ in range(rounds):
            load.await_acked(load.acked + 500)
            leader = cluster.leader()
            plan = plans[leader.number - 1]
            since = os.path.getsize(leader.log_path)
            wall_us, moment = time.time_ns() // 1000, time.monotonic_ns() // 1000
            plan.set(f"log.write.before=stall({stall_ms})@1")
            await_true(lambda: plan.has_fired(since), 10, "the stall")
            taken = await_true(lambda: next_leader_us(cluster, leader, wall_us), stall_ms / 1000,
                               "another leader while the disk stalls")
            handovers.append((taken - wall_us) / 1000)
            await_true(lambda: "stall=over" in leader.log()[since:], stall_ms / 1000 + 5, "its end")
            load.await_acked(load.acked + 500)
            gaps.append((moment, time.monotonic_ns() // 1000))
            plan.set("")
        operations = load.stop()
        cluster.equal_state()
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name} did not stop: {node.log()[-300:]}")
        counts = history.check(operations, [node.dump() for node in cluster.nodes])
    pauses = [longest_gap([o for o in operations if o["end"] < until], since) for since, until in gaps]
    text = (f"stall {stall_ms} ms, another leads after {[round(ms) for ms in handovers]} ms, longest "
            f"time without a write {[round(ms) for ms in pauses]} ms, {counts}")
    bound = 2 * ELECTION_MS_MAX * SLOW
    expect(max(handovers) < bound and max(pauses) < bound, text)
    return text
