"""Ten times the load that the cluster can take, a hog, and clients that do not read.

The capacity is lowered by a failpoint that makes each write of the log 10 ms slower, so that the
generator (overload.c) needs little of the machine that it shares with the nodes.
"""
import json
import os
import socket
import statistics
import subprocess

from harness import (FAILPOINTD, LOAD, SANITIZED, SOAK, Cluster, await_true, end, expect,
                     memory_base, run, spawn)
from msgpack_lite import request
from test_failpoint import start_planned

GENERATOR = os.path.join(os.path.dirname(LOAD), "overload")
VALUE_SIZE, CONNECTIONS, TTL_MS = 16384, 16, 3000
SECONDS, SESSIONS = (60, 1000) if SOAK else (12, 200)


def slow_cluster(extra=()):
    cluster = Cluster(start=False, program=FAILPOINTD, base=memory_base(), extra=extra)
    for plan in start_planned(cluster):
        plan.set("log.write.before=stall(10)")
    return cluster


def arguments(leader, seconds, value_size=VALUE_SIZE, connections=CONNECTIONS, rate=0, window=0,
              sessions=0):
    return [GENERATOR, leader.client] + [str(a) for a in (seconds, value_size, connections, rate,
                                                          window, sessions, TTL_MS)]


def generate(*args, **named):
    result = run(arguments(*args, **named), timeout=named.get("seconds", SECONDS) + 60)
    expect(result.code == 0, f"the generator: {result}")
    return json.loads(result.out)


def bound_of(node):
    line = next(l for l in node.log().split("\n") if "event=process_start" in l)
    return int(line.split("memory_bound_bytes=")[1].split()[0])


def resident_max(node):
    with open(f"/proc/{node.process.pid}/status") as status:
        return next(int(l.split()[1]) * 1024 for l in status if l.startswith("VmHWM:"))


def test_ten_times_the_load_loses_no_session_and_little_goodput():
    if SANITIZED:
        return "not with sanitizers: the nodes need the processor that they lack"
    with slow_cluster() as cluster:
        leader = cluster.leader()
        peak = max(generate(leader, seconds=3, window=w)["ok_per_s"] for w in (4, 8))
        over = generate(leader, seconds=SECONDS, rate=int(10 * peak), sessions=SESSIONS)
        told = f"peak {peak:.0f}/s, then {over}"
        expect(over["sessions"] == SESSIONS and over["lost"] == 0, f"sessions were lost: {told}")
        expect(over["refused"] > over["ok"], f"that was no overload: {told}")
        expect(over["unhelpful"] == 0 and over["other"] == 0, f"refused without a time: {told}")
        expect(over["ok_per_s"] >= 0.9 * peak, f"goodput fell: {told}")
        told = {n["name"]: n["memory_bound_bytes"] for n in cluster.status()["nodes"]}
        for node in cluster.nodes:
            expect(told[node.name] == bound_of(node), f"status and start line differ: {told}")
            expect(resident_max(node) < bound_of(node),
                   f"{node.name}: {resident_max(node)} bytes resident of {bound_of(node)}")
        return (f"peak {peak:.0f}/s, goodput {over['ok_per_s']:.0f}/s, {over['refused']} refused, "
                f"largest wait {over['retry_max_ms']} ms, generator {over['cpu_s']:.1f} s of "
                f"{over['seconds']:.0f}, resident {max(map(resident_max, cluster.nodes)) >> 20} of "
                f"{bound_of(leader) >> 20} MiB")


def polite_p99(leader, with_hog):
    """Nine connections, each ten puts a second of 256 bytes; beside them one with ten times more
    than the cluster takes."""
    hog = None
    if with_hog:
        hog = spawn(arguments(leader, seconds=120, connections=1, rate=10000),
                    stdout=subprocess.DEVNULL)
    try:
        polite = generate(leader, seconds=8, value_size=256, connections=9, rate=90)
    finally:
        if hog is not None:
            end(hog)
    expect(polite["refused"] == 0 and polite["other"] == 0, f"polite clients: {polite}")
    return polite["p99_ms"]


def test_a_hog_costs_polite_clients_at_most_twice_their_time():
    if not SOAK:
        return "with SOAK=1"
    with slow_cluster() as cluster:
        leader = cluster.leader()
        pairs = [(polite_p99(leader, False), polite_p99(leader, True)) for _ in range(5)]
        ratio = statistics.median(with_hog / without for without, with_hog in pairs)
        told = ", ".join(f"{without:.0f} -> {with_hog:.0f} ms" for without, with_hog in pairs)
        expect(ratio <= 2, f"p99 rose {ratio:.2f} times: {told}")
        return f"p99 {told}: {ratio:.2f} times"


def dial(address):
    host, port = address.rsplit(":", 1)
    client = socket.create_connection((host, int(port)), 10)
    client.sendall(request(1, "hello", version=1))
    return client


def test_a_client_that_never_reads_is_closed_and_one_that_trickles_too():
    if not SOAK:
        return "with SOAK=1; tests/unit/server/patience_test.c has it with shorter times"
    with Cluster(base=memory_base()) as cluster:
        leader = cluster.leader()
        expect(cluster.holdfast("put", "big", "v" * 100000).code == 0, "a put")
        deaf, slow = dial(leader.client), dial(leader.client)
        deaf.setblocking(False)
        slow.sendall(request(2, "put", key=b"k", value=b"v" * 1000)[:-1])
        number = 2

        def is_closed():
            nonlocal number
            try:
                deaf.send(request(number, "get", key=b"big"))
                number += 1
            except BlockingIOError:
                pass
            except OSError:
                pass
            log = leader.log()
            return "does not read what it is sent" in log and "did not become whole in time" in log
        await_true(is_closed, 60, "both closed")
        for node in cluster.nodes:
            expect(resident_max(node) < bound_of(node), f"{node.name} is beyond its bound")
        deaf.close()
        slow.close()
