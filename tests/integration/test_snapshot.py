"""Snapshots in the life of real nodes: catching up, restarting, damage, and the size of the folder."""
import os
import random

from harness import SOAK, Cluster, await_true, expect

# The log is cut often, so that a short test sees it.
OFTEN = ["--snapshot-log", "2MiB"]
BLOCK = 4096


def write(cluster, seconds, value_size=4000, keys=500):
    result = cluster.holdfast("bench", "put", "--seconds", str(seconds), "--warmup", "0",
                              "--value-size", str(value_size), "--keys", str(keys), timeout=120)
    expect(result.code == 0, f"bench: {result}")


def applied(cluster):
    return max(n["applied"] or 0 for n in cluster.status()["nodes"] if n["reachable"])


def said(node, event):
    return sum(f"event={event} " in line for line in node.log().split("\n"))


def follower(cluster):
    leader = cluster.leader()
    return next(node for node in cluster.nodes if node is not leader)


def folder_size(node):
    size = 0
    for path, _, names in os.walk(node.data):
        for name in names:
            try:
                size += os.stat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # Removed while we look.
    return size


def test_killed_follower_catches_up_by_snapshot():
    with Cluster(extra=OFTEN) as cluster:
        away = follower(cluster)
        write(cluster, 1)
        away.kill()
        # More than the memory of a leader holds (32 MiB), so that the log alone does not do.
        before = applied(cluster)
        while applied(cluster) < before + 12000:
            write(cluster, 2)
        cluster.holdfast("put", "last", "value")
        away.start()
        cluster.equal_state(60)
        expect(said(away, "snapshot_installed") > 0, "no snapshot was installed")
        result = cluster.holdfast("get", "last")
        expect(result.out.strip() == "value", f"get: {result}")


def test_all_killed_restart_from_their_snapshots():
    with Cluster(extra=OFTEN) as cluster:
        cluster.leader()
        write(cluster, 2)
        cluster.holdfast("put", "last", "value")
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        cluster.equal_state(60)
        expect(cluster.holdfast("get", "last").out.strip() == "value", "the last write is lost")
        for node in cluster.nodes:
            bases = [int(line.split(" base=")[1].split()[0]) for line in node.log().split("\n")
                     if "event=recovered " in line]
            expect(bases[-1] > 0, f"{node.name} did not begin at a snapshot: {bases}")


def test_endless_writes_keep_the_folder_bounded():
    with Cluster(extra=OFTEN) as cluster:
        cluster.leader()
        most = 0
        size, keys = 4000, 500
        # docs/node.md, with what the log keeps for a member that lags; S is what the keys hold.
        bound = 512 * 2**20 + 4 * keys * size
        # A folder that kept its log would pass the bound by half.
        entries = (4 if SOAK else 1.5) * bound / size
        while applied(cluster) < entries:
            write(cluster, 2, size, keys)
            most = max([most] + [folder_size(node) for node in cluster.nodes])
            expect(most < bound, f"a folder had {most} bytes, more than {bound}")
        return f"at most {most >> 20} MiB after {applied(cluster) * size >> 20} MiB were written"


def used_blocks(path):
    with open(path, "rb") as file:
        data = file.read()
    return [i for i in range(len(data) // BLOCK) if data[i * BLOCK:(i + 1) * BLOCK].strip(b"\0")]


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_rot_in_log_or_snapshot_is_repaired_from_the_others():
    with Cluster(extra=OFTEN) as cluster:
        cluster.leader()
        write(cluster, 2)
        chooser = random.Random(1)
        restored = 0
        for turn in range(250 if SOAK else 4):
            node = follower(cluster)
            node.stop() if turn % 2 else node.kill()
            prefix, suffix = ("snap-", "") if turn % 4 == 3 else ("raft-", ".seg")
            paths = [os.path.join(node.data, name) for name in sorted(os.listdir(node.data))
                     if name.startswith(prefix) and name.endswith(suffix) and "state" not in name]
            path = next(p for p in reversed(paths) if used_blocks(p))
            block = chooser.choice(used_blocks(path))
            flip(path, block * BLOCK + chooser.randrange(256))
            cluster.holdfast("put", "turn", str(turn))
            node.start()
            await_true(lambda: not node.is_alive() or cluster.equal_state(60), 90, "its return")
            expect(node.is_alive(), f"it ended: {node.log()[-400:]}")
            expect(cluster.holdfast("get", "turn").out.strip() == str(turn), "a write is lost")
        restored = sum(said(node, "restored") for node in cluster.nodes)
        expect(restored > 0, "nothing had to be restored")
        return f"{restored} times restored"
