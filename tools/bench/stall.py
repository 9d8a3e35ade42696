"""The worst write while a snapshot of a large state is taken, beside the worst without one.

usage: stall.py BUILD     STATE_MB=1024 WINDOW=5 CLIENTS=64 VALUE_SIZE=1700

One long run of puts fills a cluster until the newest snapshot of every node has STATE_MB. Then
puts are measured in windows of some seconds, until every node has begun and finished a snapshot
within them. A window counts as one with a snapshot when any node had such a file in the making, or
finished one. Ends with 1 when there was none: then nothing was measured.
"""
import glob
import os
import sys
import threading
import time

from dev import Dev

ASKED_MS = 250
FILL_KEYS = 100_000_000       # So many that hardly any is written twice.
FILL_SECONDS_MAX = 1800
FILL_SECONDS_IDLE_MAX = 240   # Without a larger snapshot.
WINDOWS_SECONDS_MAX = 300
QUIET_COUNT_MIN = 2           # To compare with.


class Watch:
    """Whether a snapshot is being written on any node, asked 50 times a second."""

    def __init__(self, dev):
        self.dev, self.seen = dev, False
        self.is_over = threading.Event()
        threading.Thread(target=self.look, daemon=True).start()

    def is_writing(self):
        return any(glob.glob(os.path.join(node, "data", "snap-*.new")) for node in self.dev.nodes())

    def look(self):
        while not self.is_over.wait(0.02):
            self.seen = self.seen or self.is_writing()


def newest_mb(dev):
    """The smallest over the nodes of what their newest whole snapshots have."""
    sizes = []
    for node in dev.nodes():
        files = [f for f in glob.glob(os.path.join(node, "data", "snap-*")) if "." not in os.path.basename(f)]
        sizes.append(max((size_of(file) for file in files), default=0))
    return min(sizes) >> 20


def size_of(file):
    try:
        return os.path.getsize(file)
    except FileNotFoundError:
        return 0  # Removed since it was listed.


def fill(dev, wanted, clients, value_size):
    """One run, not several: each begins with the same keys again."""
    writer = dev.start("bench", "put", "--clients", clients, "--seconds", FILL_SECONDS_MAX, "--warmup", 0,
                       "--value-size", value_size, "--keys", FILL_KEYS, "--timeout", "30s")
    begun = grown = told = time.monotonic()
    largest = newest = 0
    try:
        while newest < wanted:
            now, newest = time.monotonic(), newest_mb(dev)
            if newest > largest:
                largest, grown = newest, now
            if now - told >= 10:
                told = now
                print(f"filling: after {now - begun:.0f} s the newest snapshots have at least {newest} of "
                      f"{wanted} MiB", flush=True)
            if writer.poll() is not None or now - grown > FILL_SECONDS_IDLE_MAX:
                raise SystemExit(f"the newest snapshots stay at {newest} of {wanted} MiB: see the logs of the nodes "
                                 "(or the disk is too slow: ask for a smaller STATE_MB)")
            time.sleep(0.2)
    finally:
        writer.terminate()
        writer.wait()
    print(f"filled: {newest} MiB in {time.monotonic() - begun:.0f} s", flush=True)


def measure(dev, window, clients, value_size):
    """Rows of the windows with a snapshot, and of those without."""
    watch = Watch(dev)
    windows = {True: [], False: []}
    before = {node: dev.snapshots_of(node) for node in dev.nodes()}
    begun = time.monotonic()
    while time.monotonic() - begun < WINDOWS_SECONDS_MAX:
        watch.seen = watch.is_writing()
        taken = dev.snapshots()
        row = dev.bench("put", "--clients", clients, "--seconds", window, "--warmup", 0,
                        "--value-size", value_size, "--timeout", "30s")
        has_snapshot = watch.seen or dev.snapshots() > taken
        windows[has_snapshot].append(row)
        print(f"window: snapshot {'yes' if has_snapshot else 'no'}, {row['ops_per_s']:.0f} a second, "
              f"p99.9 {row['p999_us'] / 1000:.1f} ms, worst {row['max_us'] / 1000:.1f} ms", flush=True)
        all_have = all(dev.snapshots_of(node) > count for node, count in before.items())
        if all_have and windows[True] and len(windows[False]) >= QUIET_COUNT_MIN:
            break
    watch.is_over.set()
    return windows, [os.path.basename(node) for node, count in before.items() if dev.snapshots_of(node) == count]


def worst_ms(rows):
    return max(row["max_us"] for row in rows) / 1000


def main(build):
    wanted, window = int(os.environ.get("STATE_MB", 1024)), os.environ.get("WINDOW", "5")
    clients, value_size = os.environ.get("CLIENTS", "64"), os.environ.get("VALUE_SIZE", "1700")
    dev = Dev(build)
    try:
        fill(dev, wanted, clients, value_size)
        windows, without = measure(dev, window, clients, value_size)
        if not windows[True]:
            raise SystemExit(f"NO SNAPSHOT was taken during {len(windows[False])} windows of {window} s: there is no "
                             "figure. A node takes one when its log has grown by a quarter of the last.")
        if without:
            print(f"no snapshot was finished meanwhile by {', '.join(without)}")
        quiet = f"{worst_ms(windows[False]):.1f} ms" if windows[False] else "(no such window)"
        worst = worst_ms(windows[True])
        print(f"{newest_mb(dev)} MiB of state, windows of {window} s: worst write {worst:.1f} ms in "
              f"{len(windows[True])} with a snapshot, {quiet} in {len(windows[False])} without one; asked are less than "
              f"{ASKED_MS} ms: {'kept' if worst < ASKED_MS else 'MISSED'}")
    finally:
        dev.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: stall.py BUILD, a folder that has holdfastd and holdfast")
    main(os.path.abspath(sys.argv[1]))
