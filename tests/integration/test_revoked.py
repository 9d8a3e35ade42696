"""A forced unlock whose notice is lost with its connection."""
import json
import select
import socket
import threading
import time

from harness import SLOW, Cluster, expect, free_ports
from test_lock import Holder

NOTICE = b"\x93\x02\xa7revoked"


class Scissors:
    """Passes bytes between clients and one node; instead of a `revoked` notice both sides are cut."""

    def __init__(self, port, target):
        self.target = target
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        host, port = self.target.rsplit(":", 1)
        try:
            with client, socket.create_connection((host, int(port)), 5) as node:
                while True:
                    for source in select.select([client, node], [], [])[0]:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        if source is node and NOTICE in data:
                            self.cuts += 1
                            return
                        (node if source is client else client).sendall(data)
        except OSError:
            return

    def close(self):
        self.listener.close()


def test_a_holder_learns_of_a_forced_unlock_though_its_notice_was_lost():
    with Cluster(start=False) as cluster:
        ports = free_ports(3)
        scissors = [Scissors(port, node.client) for port, node in zip(ports, cluster.nodes)]
        for port, node in zip(ports, cluster.nodes):
            node.extra = ["--advertise-client", f"127.0.0.1:{port}"]
            node.start()
        cluster.leader()
        direct = cluster.endpoints
        for port, node in zip(ports, cluster.nodes):
            node.client = f"127.0.0.1:{port}"
        holder = Holder(cluster, "cut", "6s")
        shown = json.loads(cluster.holdfast("locks", "show", "cut", "--json").out)
        token = str(shown["holders"][0]["token"])
        broken = time.monotonic()
        result = cluster.holdfast("unlock", "cut", "--force", "--token", token, "--reason", "law")
        expect(result.code == 0, f"unlock: {result}")
        code = holder.process.wait(timeout=12 * SLOW)
        elapsed = time.monotonic() - broken
        for one in scissors:
            one.close()
        expect(code == 76, f"exit status {code}, not 76")
        expect(holder.all_dead(), "the command outlived the lock")
        expect(sum(one.cuts for one in scissors) == 1, "no notice was cut off: this test shows nothing")
        expect(elapsed < 6, f"the session lived on, yet it took {elapsed:.1f} s: more than a renewal")
        return f"{elapsed:.1f} s with a TTL of 6 s, through {direct}"
