"""Each node's data on an ext4 file system of its own: power cuts and full disks. Needs root."""
import fcntl
import os
import random
import struct
import subprocess
import time

from harness import SOAK, Cluster, Folder, await_true, end, expect, run
from run import Skipped
from test_kill import Load, longest_gap
import history

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32)
NO_LOG_FLUSH = 2                # The journal in memory is lost, as with the power.
IMAGE_MB = 512


def call(*arguments):
    result = run(list(arguments))
    expect(result.code == 0, f"{arguments}: {result}")
    return result.out.strip()


class Disk:
    """An ext4 image, mounted at `path` through a loop device."""

    def __init__(self, path, size_mb=IMAGE_MB):
        self.path, self.image, self.device = path, path + ".image", None
        os.makedirs(path, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(size_mb << 20)
        call("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.device = call("losetup", "--find", "--show", self.image)
        self.mounted = False
        self.mount()

    def mount(self):
        call("mount", "-t", "ext4", self.device, self.path)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            call("umount", self.path)
            self.mounted = False

    def cut(self):
        """From now on nothing reaches the disk, and what was not flushed never will."""
        folder = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(folder)

    def free_bytes(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def balloon(self, leave_mb):
        """Takes all room but so much."""
        with open(os.path.join(self.path, "balloon"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, self.free_bytes() - (leave_mb << 20)))

    def burst(self):
        os.remove(os.path.join(self.path, "balloon"))

    def close(self):
        self.unmount()
        if self.device:
            run(["losetup", "--detach", self.device])


def skip_without_disks():
    if os.geteuid() != 0:
        raise Skipped("power cuts need root")
    if run(["losetup", "--find"]).code != 0:
        raise Skipped("there are no loop devices here")


class DiskCluster(Cluster):
    def __init__(self, size_mb=IMAGE_MB, extra=()):
        skip_without_disks()
        super().__init__(extra=extra, start=False)
        self.disks = []
        try:
            for node in self.nodes:
                self.disks.append(Disk(node.data, size_mb))
                os.rmdir(os.path.join(node.data, "lost+found"))
        except BaseException:
            self.release()
            raise
        for node in self.nodes:
            node.start()

    def release(self):
        for node in self.nodes:
            if node.process is not None:
                end(node.process)
        for disk in self.disks:
            disk.close()

    def __exit__(self, *rest):
        self.release()
        super().__exit__(*rest)

    def cut_power(self, nodes):
        """All of them at once; returns when they are up again."""
        for node in nodes:
            self.disks[node.number - 1].cut()
        for node in nodes:
            node.kill()
        for node in nodes:
            disk = self.disks[node.number - 1]
            disk.unmount()
            disk.mount()
            node.start()


def finish(cluster, load):
    operations = load.stop()
    cluster.equal_state()
    for node in cluster.nodes:
        expect(node.stop() == 0, f"{node.name} did not stop cleanly: {node.log()[-500:]}")
    return operations, history.check(operations, [node.dump() for node in cluster.nodes])


def test_a_cut_keeps_what_was_synced_and_nothing_else():
    """The instrument itself: without this the tests below would show nothing."""
    skip_without_disks()
    with Folder() as folder:
        disk = Disk(os.path.join(folder, "disk"), 64)
        try:
            for name, is_synced in (("synced", True), ("unsynced", False)):
                file = os.open(os.path.join(disk.path, name), os.O_CREAT | os.O_WRONLY)
                os.write(file, b"x" * 4096)
                if is_synced:
                    os.fsync(file)
                os.close(file)
            disk.cut()
            disk.unmount()
            disk.mount()
            sizes = {name: os.path.getsize(os.path.join(disk.path, name))
                     for name in os.listdir(disk.path)}
            expect(sizes.get("synced") == 4096, f"a synced file is gone: {sizes}")
            expect(not sizes.get("unsynced"), f"an unsynced file is there: {sizes}")
        finally:
            disk.close()


def test_power_cuts_lose_nothing_acknowledged():
    rounds = 60 if SOAK else 15
    with DiskCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        started = time.monotonic_ns() // 1000
        for number in range(rounds):
            load.await_acked(load.acked + random.randrange(200, 1000))
            # All, the leader, two of three.
            leader = cluster.leader()
            cluster.cut_power((cluster.nodes, [leader], cluster.nodes[:2])[number % 3])
            cluster.leader()
        load.await_acked(load.acked + 100)
        operations, counts = finish(cluster, load)
        for disk in cluster.disks:
            disk.unmount()
            call("e2fsck", "-n", "-f", disk.device)
        return (f"{rounds} power cuts, longest time without a write "
                f"{longest_gap(operations, started):.0f} ms, {counts}")


def test_a_node_whose_disk_fails_under_it_says_so_and_ends():
    with DiskCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        load.await_acked(200)
        leader = cluster.leader()
        cluster.disks[leader.number - 1].cut()
        await_true(lambda: not leader.is_alive(), 20, f"{leader.name} to end")
        last = leader.log().strip().split("\n")[-1]
        expect(leader.process.returncode == 1 and "event=fatal" in last and "check the disk" in last,
               f"exit code {leader.process.returncode}: {last}")
        load.await_acked(load.acked + 200)
        cluster.cut_power([leader])
        load.await_acked(load.acked + 200)
        finish(cluster, load)


def fill_until_end(cluster, nodes):
    """Values that are large enough let the tables grow until the disks are full."""
    bench = cluster.spawn_holdfast("bench", "put", "--value-size", "60000", "--clients", "4",
                                   "--keys", "200", "--seconds", "60", "--warmup", "0",
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for node in nodes:
        await_true(lambda: not node.is_alive(), 60, f"{node.name} to end: {node.log()[-300:]}")
    end(bench)
    for node in nodes:
        last = node.log().strip().split("\n")[-1]
        expect(node.process.returncode == 1 and "event=fatal" in last and "is full" in last and
               "make room" in last, f"exit code {node.process.returncode}: {last}")


def fill_disks(count):
    # Without the watermark: else writes are refused before two disks are full.
    with DiskCluster(extra=["--disk-low", "0"]) as cluster:
        leader = cluster.leader()
        load = Load(cluster)
        load.await_acked(200)
        full = [node for node in cluster.nodes if node is not leader][:count]
        disks = [cluster.disks[node.number - 1] for node in full]
        for disk in disks:
            await_true(lambda: segments_are_made(disk), 90, "the segments ahead")
            disk.balloon(1)
        fill_until_end(cluster, full)
        if count == 1:
            load.await_acked(load.acked + 200)
        else:
            put = cluster.holdfast("--timeout", "1s", "put", "k", "v")
            expect(put.code in (74, 77), f"a write without a majority: {put}")
        for disk, node in zip(disks, full):
            disk.burst()
            node.start()
        load.await_acked(load.acked + 200)
        operations, counts = finish(cluster, load)
        return str(counts)


def segments_are_made(disk):
    names = os.listdir(disk.path)
    return sum(name.endswith(".seg") for name in names) >= 3 and not any(
        name.endswith(".tmp") for name in names)


def test_a_full_disk_ends_its_node_with_a_clear_line_and_the_others_go_on():
    return fill_disks(1)


def test_two_full_disks_stop_writes_and_lose_nothing():
    return fill_disks(2)


def test_two_low_disks_refuse_writes_and_go_on_by_themselves_when_there_is_room():
    """No process ends or is started again: the room alone decides."""
    with DiskCluster() as cluster:
        leader = cluster.leader()
        load = Load(cluster)
        load.await_acked(200)
        low = [cluster.disks[node.number - 1] for node in cluster.nodes if node is not leader]
        for disk in low:
            await_true(lambda: segments_are_made(disk), 20, "the segments ahead")
            disk.balloon(64)

        def refuses():
            return next(n["refuses_writes"] for n in cluster.status()["nodes"] if n["name"] == leader.name)

        await_true(refuses, 20, "writes to be refused")
        put = cluster.holdfast("--timeout", "1s", "put", "k", "v")
        expect(put.code == 69 and "disk low on n" in put.err, f"a write beside two low disks: {put}")
        for disk in low:
            disk.burst()
        await_true(lambda: not refuses(), 20, "writes to be taken again")
        load.await_acked(load.acked + 200)
        expect(all(node.is_alive() for node in cluster.nodes), "a node ended")
        operations, counts = finish(cluster, load)
        return str(counts)
