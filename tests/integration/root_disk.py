"""Each node's data on an ext4 file system of its own: power cuts and full disks. Needs root."""
import fcntl
import os
import random
import struct
import subprocess
import time

from harness import SOAK, Cluster, await_true, end, expect, run
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
        expect(leader.process.returncode == 1 and "event=fatal" in last and "start again" in last,
               f"exit code {leader.process.returncode}: {last}")
        load.await_acked(load.acked + 200)
        cluster.cut_power([leader])
        load.await_acked(load.acked + 200)
        finish(cluster, load)
