"""Every allocation fails in turn, once and from then on: in a server, and in a client.

Allocations of the program, of LMDB and msgpack (linked statically for this) and of libuv count.
libuv itself aborts where it cannot grow its list of descriptors: that end is told apart from an
assertion of ours by its silence.
"""
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from harness import FAILPOINTD, SLOW, SOAK, Cluster, await_true, expect, run

CLIENT = os.path.join(os.path.dirname(FAILPOINTD), "holdfast")
CLIENT_CODES = (0, 69, 74, 77)
# Of a life of about 60 allocations; the long run goes on until one life meets no failure.
SERVER_COUNT, CLIENT_COUNT = (1000, 1000) if SOAK else (32, 40)


def plan(nth, goes_on):
    return {"HOLDFAST_FAILPOINTS": f"memory.get.before=error@{nth}{'+' if goes_on else ''}"}


def check_output(text, what):
    expect("assertion failed" not in text and "Sanitizer" not in text, f"{what}: {text[-600:]}")


def serve_once(nth, goes_on):
    """True when the allocation was reached in the life of a lone node: start, a put, the stop."""
    what = f"server, allocation {nth}{' and all later' if goes_on else ''}"
    with Cluster(size=1, start=False, program=FAILPOINTD) as cluster:
        node = cluster.nodes[0]
        node.environment = plan(nth, goes_on)
        node.start()
        put = None
        while node.is_alive():
            put = cluster.holdfast("--timeout", f"{SLOW}s", "put", "k", "v")
            expect(put.code in CLIENT_CODES, f"{what}: {put}")
            if put.code == 0 or goes_on:
                break
        code = node.stop()
        log = node.log()
        check_output(log, what)
        if code == -signal.SIGABRT:
            # Its last line is the failpoint's: libuv, which says nothing.
            expect(log.strip().split("\n")[-1].startswith("failpoint="), f"{what}: {log[-400:]}")
        else:
            # The signal may meet a process that is ending already.
            expect(code == 0 or (code in (1, -signal.SIGTERM) and "event=fatal" in log),
                   f"{what}: {code}, {log[-400:]}")
        if put is not None and put.code == 0:
            node.environment = {}
            node.start()
            got = await_true(lambda: cluster.holdfast("get", "k").out, 20, f"{what}: the value")
            expect(got == "v\n", f"{what}: an acknowledged write is gone: {got!r}")
        return "failpoint=" in log


def test_every_allocation_of_a_server_fails_and_it_ends_clearly_or_goes_on():
    cases = [(nth, goes_on) for nth in range(1, SERVER_COUNT + 1) for goes_on in (False, True)
             if SOAK or not goes_on or nth % 5 == 0]
    return run_until_unhit(serve_once, cases, 24)


def run_until_unhit(once, cases, least):
    hits = 0
    with ThreadPoolExecutor(4) as pool:
        for at in range(0, len(cases), 8):
            done = list(pool.map(lambda case: once(*case), cases[at:at + 8]))
            hits += sum(done)
            if not any(done):
                break
    expect(hits >= least, f"only {hits} failures")
    return f"{hits} failures"


def test_every_allocation_of_a_client_fails_and_it_ends_with_a_reason():
    with Cluster(size=1) as cluster:
        cluster.leader()

        def ask_once(nth, goes_on):
            what = f"client, allocation {nth}{' and all later' if goes_on else ''}"
            hit = False
            for arguments in (["put", "k", "v"], ["get", "k"], ["lock", f"l{nth}{goes_on}", "--try", "--",
                               "true"]):
                result = run([CLIENT, "--endpoints", cluster.endpoints, "--timeout", f"{SLOW}s",
                              *arguments], env=dict(os.environ, **plan(nth, goes_on)))
                check_output(result.err, what)
                hit = hit or "failpoint=" in result.err
                said = [line for line in result.err.split("\n")
                        if line and not line.startswith("failpoint=")]
                expect(result.code in CLIENT_CODES or result.code == -signal.SIGABRT or
                       (result.code == 1 and said), f"{what}: {arguments}: {result}")
                expect(result.code in (0, -signal.SIGABRT) or said,
                       f"{what}: {arguments}: no reason given: {result}")
            return hit

        return run_until_unhit(ask_once, [(nth, goes_on) for nth in range(1, CLIENT_COUNT + 1)
                                          for goes_on in (False, True)], 16)
