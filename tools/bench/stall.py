"""The worst write while a snapshot of a large state is taken, beside the worst without one.

usage: stall.py BUILD     STATE_MB=1024 WINDOW=5 CLIENTS=64

Fills a cluster until its newest snapshot has STATE_MB, then writes in windows of some seconds until
a snapshot has been begun and finished within them. A window counts as one with a snapshot when any
node had such a file in the making.
"""
import glob
import os
import sys
import threading

from dev import Dev

VALUE_SIZE = 1700
FILL_COUNT_MAX = 60  # Rounds of 10 s.
WINDOW_COUNT_MAX = 60
QUIET_COUNT_MIN = 2  # To compare with.


class Watch:
    """Whether a snapshot is being written on any node, asked 50 times a second."""

    def __init__(self, dev):
        self.dev, self.seen = dev, False
        self.is_over = threading.Event()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while not self.is_over.wait(0.02):
            for node in self.dev.nodes():
                self.seen = self.seen or bool(glob.glob(os.path.join(node, "data", "snap-*.new")))


def newest_mb(dev):
    """The smallest over the nodes of what their newest whole snapshots have."""
    sizes = []
    for node in dev.nodes():
        files = [f for f in glob.glob(os.path.join(node, "data", "snap-*")) if "." not in os.path.basename(f)]
        sizes.append(max((os.path.getsize(file) for file in files), default=0))
    return min(sizes) >> 20


def main(build):
    wanted = int(os.environ.get("STATE_MB", 1024))
    window, clients = os.environ.get("WINDOW", "5"), os.environ.get("CLIENTS", "64")
    keys = wanted * 1000
    dev = Dev(build)
    try:
        for _ in range(FILL_COUNT_MAX):
            if newest_mb(dev) >= wanted:
                break
            dev.bench("put", "--clients", clients, "--seconds", 10, "--warmup", 0,
                      "--value-size", VALUE_SIZE, "--keys", keys)
            print(f"filling: the newest snapshots have at least {newest_mb(dev)} of {wanted} MiB", flush=True)
        if newest_mb(dev) < wanted:
            raise SystemExit(f"the newest snapshots have {newest_mb(dev)} of {wanted} MiB after "
                             f"{FILL_COUNT_MAX} rounds: see the nodes' logs, or ask for a smaller STATE_MB")
        watch = Watch(dev)
        windows = {True: [], False: []}
        taken = dev.snapshots()
        for _ in range(WINDOW_COUNT_MAX):
            watch.seen = False
            row = dev.bench("put", "--clients", clients, "--seconds", window, "--warmup", 0)
            windows[watch.seen].append(row)
            print(f"window: snapshot {'yes' if watch.seen else 'no'}, {row['ops_per_s']:.0f} a second, "
                  f"p99.9 {row['p999_us'] / 1000:.1f} ms, worst {row['max_us'] / 1000:.1f} ms", flush=True)
            if (dev.snapshots() >= taken + 3 and not watch.seen and windows[True] and
                    len(windows[False]) >= QUIET_COUNT_MIN):
                break
        watch.is_over.set()
        for seen, rows in windows.items():
            worst = max((row["max_us"] for row in rows), default=0) / 1000
            print(f"{newest_mb(dev)} MiB of state, {'with' if seen else 'without'} a snapshot: {len(rows)} "
                  f"windows of {window} s, worst write {worst:.1f} ms")
    finally:
        dev.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: stall.py BUILD, a folder that has holdfastd and holdfast")
    main(os.path.abspath(sys.argv[1]))
