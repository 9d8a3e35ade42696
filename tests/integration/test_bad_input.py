"""Whatever arrives at a port or stands in a folder: one clear line, and other clients go on."""
import os
import random
import shutil
import socket
import struct
import subprocess
import threading

from harness import HOLDFASTD, SLOW, SOAK, Cluster, await_true, expect, free_ports, run, spawn
from msgpack_lite import pack, request


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Polite(threading.Thread):
    """A well-behaved client beside the noise: puts and gets until told to stop."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.stopping, self.errors, self.count = cluster, threading.Event(), [], 0

    def run(self):
        while not self.stopping.is_set():
            value = str(self.count)
            put = self.cluster.holdfast("put", "polite", value)
            got = self.cluster.holdfast("get", "polite")
            if put.code != 0 or got.code != 0 or got.out.strip() != value:
                self.errors.append((put, got))
            self.count += 1

    def finish(self):
        self.stopping.set()
        self.join()
        expect(not self.errors, f"a polite client saw errors: {self.errors[:2]}")
        expect(self.count > 0, "the polite client did nothing")


def frames(rng):
    """Endless frames of the client protocol and of peers, most of them damaged."""
    seeds = [
        request(1, "hello", version=1, client="noise"),
        request(2, "put", key=b"noise", value=b"x" * 40),
        request(3, "get", key=b"noise"),
        request(4, "session_open", ttl_ms=2000, owner="noise"),
        request(5, "lock_acquire", session=1, sequence=1, name=b"noise", wait=True),
        request(6, "status"),
        struct.pack("<4sIQ", b"HFP1", 80, 0) + bytes(64),
        pack([0, 7, "put", [[[[[[[[[[[[1]]]]]]]]]]]]]),
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    hello = seeds[0]
    while True:
        frame = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((0, 1, 1, 2, 8))):
            what = rng.randrange(4)
            at = rng.randrange(len(frame))
            if what == 0:
                frame[at] = rng.randrange(256)
            elif what == 1:
                frame[at:at] = rng.randbytes(rng.randrange(1, 9))
            elif what == 2 and len(frame) > 1:
                del frame[at:at + rng.randrange(1, 5)]
                frame = frame or bytearray(b"\0")
            else:
                frame = bytearray(rng.randbytes(rng.randrange(1, 100)))
        yield hello + bytes(frame) if rng.random() < 0.7 else bytes(frame)


def resident_kb(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def send_noise(target, count, generator):
    """One frame a connection, so that each is looked at, and waits until the node has closed it or
    has answered what there was to answer."""
    for number in range(count):
        # Loopback has many addresses: sources differ, so that ports do not run out.
        source = f"127.0.{number % 200 + 1}.{number // 200 % 200 + 1}"
        with socket.create_connection(target, 5 * SLOW, (source, 0)) as link:
            link.settimeout(5 * SLOW)
            try:
                link.sendall(next(generator))
                link.shutdown(socket.SHUT_WR)
                while link.recv(65536):
                    pass
            except ConnectionError:
                pass  # Refused: that is what is wanted.


def test_random_and_mutated_frames_harm_nobody():
    count = int(os.environ.get("FRAMES", 1000000 if SOAK else 50000))
    rng = random.Random(7)
    os.environ.setdefault("ASAN_OPTIONS", "quarantine_size_mb=8")
    with Cluster() as cluster:
        leader = cluster.leader()
        polite = Polite(cluster)
        polite.start()
        generator = frames(rng)
        for target in (leader.client, leader.peer):
            send_noise(address(target), count // 20, generator)
        before = resident_kb(leader.process)
        for target in (leader.client, leader.peer):
            send_noise(address(target), count * 9 // 20, generator)
        grown = resident_kb(leader.process) - before
        polite.finish()
        expect(all(node.is_alive() for node in cluster.nodes), "a node died: " + leader.log()[-2000:])
        expect(grown < 8 * 1024, f"resident memory grew by {grown} kB")
        return f"{count} frames, memory grew by {grown} kB, {polite.count} polite rounds"


def test_client_on_the_peer_port_and_peer_on_the_client_port_are_told_apart():
    with Cluster() as cluster:
        leader = cluster.leader()
        with socket.create_connection(address(leader.peer), timeout=5 * SLOW) as link:
            link.sendall(request(1, "hello", version=1))
            link.settimeout(5 * SLOW)
            while link.recv(4096):
                pass
        await_true(lambda: "peer_refused" in leader.log(), 5, "a line about the client on the peer port")
        with socket.create_connection(address(leader.client), timeout=5 * SLOW) as link:
            link.sendall(struct.pack("<4sIQ", b"HFP1", 80, 0) + bytes(64))
            link.settimeout(5 * SLOW)
            while link.recv(4096):
                pass
        await_true(lambda: "client_dropped" in leader.log(), 5, "a line about the peer on the client port")


def test_oversized_value_is_refused_and_the_connection_lives():
    with Cluster() as cluster:
        cluster.leader()
        result = cluster.holdfast("put", "big", "x" * 100000)
        expect(result.code == 0, f"100 kB: {result.code}")
        result = run([cluster.nodes[0].arguments()[0], "--version"])
        expect(result.code == 0, "--version")
        huge = os.path.join(cluster.folder, "huge")
        with open(huge, "w") as file:
            file.write("x" * 600000)
        shell = f'"{os.path.dirname(HOLDFASTD)}/holdfast" put big "$(cat {huge} | head -c 120000)"'
        result = run(["sh", "-c", shell], env=cluster.environment())
        expect(result.code == 0, f"120 kB: {result}")


def start_fails(arguments, words, code=1):
    """The server must end with `code` and say all `words` in one line."""
    result = run(arguments, timeout=15)
    expect(result.code == code, f"expected exit status {code}: {result}")
    lines = [line for line in result.err.splitlines() if all(word in line for word in words)]
    expect(lines, f"no line with {words}: {result}")


def single(folder, ports, name="n1", **changes):
    flags = {"--name": name, "--data": os.path.join(folder, "data"),
             "--client": f"127.0.0.1:{ports[0]}", "--peer": f"127.0.0.1:{ports[1]}",
             "--cluster": f"{name}=127.0.0.1:{ports[1]}"}
    flags.update({"--" + key: value for key, value in changes.items()})
    return [HOLDFASTD] + [part for pair in flags.items() for part in pair]


def test_wrong_flags_and_keys_are_named():
    with Cluster(size=0, start=False) as cluster:
        ports = free_ports(2)
        start_fails(single(cluster.folder, ports) + ["--clinet", "x"], ["--clinet"], 64)
        ini = os.path.join(cluster.folder, "bad.ini")
        with open(ini, "w") as file:
            file.write("name = n1\nclinet = 127.0.0.1:1\n")
        start_fails(single(cluster.folder, ports) + ["--config", ini], ["clinet", "bad.ini"], 78)
        start_fails(single(cluster.folder, ports, name="n9", cluster="n1=127.0.0.1:1"), ["n9"], 78)


def test_port_in_use_and_folder_in_use_are_named():
    with Cluster(size=0, start=False) as cluster:
        ports = free_ports(4)
        first = spawn(single(cluster.folder, ports[:2]), stderr=subprocess.DEVNULL)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", ports[2]))
            taken.listen()
            other = os.path.join(cluster.folder, "other")
            start_fails(single(other, [ports[2], ports[3]]), [str(ports[2]), "in use"])

        def locked():
            result = run(single(cluster.folder, [ports[2], ports[3]]), timeout=15)
            return result.code == 1 and "in use" in result.err or "uses" in result.err
        await_true(locked, 10, "the second server to refuse the folder of the first")
        first.terminate()
        expect(first.wait(timeout=10 * SLOW) == 0, "SIGTERM must end the server with 0")


def test_folder_of_another_node_or_version_is_refused():
    with Cluster() as cluster:
        cluster.leader()
        for node in cluster.nodes:
            node.stop()
        first, second = cluster.nodes[0], cluster.nodes[1]
        shutil.rmtree(first.data)
        shutil.copytree(second.data, first.data)
        start_fails(first.arguments(), ["n2"])
        for name in os.listdir(second.data):
            path = os.path.join(second.data, name)
            if name.startswith("identity"):
                with open(path, "r+b") as file:
                    data = file.read()
                    file.seek(0)
                    file.write(data[:8] + bytes([data[8] ^ 0x40]) + data[9:])
        start_fails(second.arguments(), ["identity"])


def test_peer_of_another_cluster_is_refused_and_nothing_is_lost():
    with Cluster() as ours, Cluster() as theirs:
        ours.leader()
        theirs.leader()
        expect(ours.holdfast("put", "key", "ours").code == 0, "put")
        stranger, host = theirs.nodes[2], ours.nodes[2]
        stranger.stop()
        arguments = stranger.arguments()
        arguments += ["--dial", f"n1={ours.nodes[0].peer},n2={ours.nodes[1].peer}"]
        with open(stranger.log_path, "ab") as log:
            stranger.process = spawn(arguments, stdout=log, stderr=log)
        await_true(lambda: "another cluster" in ours.nodes[0].log() or
                   "another cluster" in stranger.log(), 10, "a line about the foreign cluster")
        expect(host.is_alive() and ours.holdfast("get", "key").out.strip() == "ours", "get")


def test_wiped_nodes_never_form_a_second_cluster():
    with Cluster() as cluster:
        cluster.leader()
        expect(cluster.holdfast("put", "key", "value").code == 0, "put")
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes[:2]:
            shutil.rmtree(node.data)
        for node in cluster.nodes:
            node.start()
        await_true(lambda: all("wait" in node.log() for node in cluster.nodes[:2]), 10,
                   "the wiped nodes to say what they wait for")
        result = cluster.holdfast("--timeout", "2s", "get", "key")
        expect(result.code == 77, f"two wiped nodes of three served: {result}")
