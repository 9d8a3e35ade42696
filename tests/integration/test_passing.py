"""Any node takes any request: clients that reach one node only, and that one does not lead."""
import json
import os
import threading
import time

from harness import HOLDFAST, Cluster, await_true, end, expect, run
from msgpack_lite import unpack
from rpc import Gone, Rpc, ask
from test_lock import Holder, stamps

TTL_MS = 5000
NOT_LEADER, OVERLOADED, UNKNOWN_OUTCOME, SEQUENCE_GAP = 3, 6, 20, 15


class LonelyCluster(Cluster):
    """Every node names an address for clients at which nobody listens; they know one that works."""

    def __init__(self):
        super().__init__(3, start=False)
        for node in self.nodes:
            node.extra = ["--advertise-client", "127.0.0.1:1"]
            node.start()

    def leads(self):
        """The node that says that it leads; None."""
        for node in self.nodes:
            status = ask(node.client, "status") if node.is_alive() else None
            if status is not None and status["role"] == "leader":
                return node
        return None

    def await_leader(self):
        return await_true(self.leads, 20, "a leader")

    def follower(self):
        leader = self.await_leader()
        return next(node for node in self.nodes if node is not leader and node.is_alive())

    def at(self, node):
        """The environment of a client that knows that node."""
        return dict(os.environ, HOLDFAST_ENDPOINTS=node.client)


class Listener(Rpc):
    """Keeps the notices."""

    def __init__(self, address):
        self.notices = []
        super().__init__(address)

    def receive(self):
        while True:
            try:
                message, size = unpack(self.inbox)
            except IndexError:
                data = self.socket.recv(1 << 18)
                if not data:
                    raise Gone("hung up")
                self.inbox += data
                continue
            del self.inbox[:size]
            if len(message) == 4:
                return message
            self.notices.append((message[1], message[2]))
            return [message[0], None, None, None]

    def await_notice(self, name):
        while not any(notice[0] == name for notice in self.notices):
            self.receive()
        return next(notice[1] for notice in self.notices if notice[0] == name)


def pause(error):
    """What docs/protocol.md asks of a client that is refused: no event tells it that it may come back."""
    time.sleep(error.get("retry_after_ms", 20) / 1000)


def settle(rpc, method, **params):
    """The result, however often it has to be asked for."""
    deadline = time.monotonic() + 20
    while True:
        error, result = rpc.call(method, **params)
        if error is None:
            return result
        expect(error["code"] in (NOT_LEADER, OVERLOADED, UNKNOWN_OUTCOME), f"{method}: {error}")
        expect(time.monotonic() < deadline, f"{method} for 20 s: {error}")
        pause(error)


def put_all(rpc, session, count, done):
    """`count` keys in one session, 32 at a time; each is asked for until it is answered."""
    waiting = [(i + 1, f"k{i}") for i in range(count)]
    revisions = {}
    while waiting:
        batch = waiting[:32]
        answers = rpc.call_all([("put", dict(session=session, sequence=number, key=key.encode(),
                                             value=str(number).encode())) for number, key in batch])
        again = []
        for (number, key), (error, result) in zip(batch, answers):
            if error is None:
                revisions[number] = result["revision"]
            else:
                expect(error["code"] in (NOT_LEADER, OVERLOADED, UNKNOWN_OUTCOME, SEQUENCE_GAP),
                       f"put {number}: {error}")
                again.append((number, key))
                refusal = error
        waiting = again + waiting[32:]
        done(count - len(waiting))
        if again:
            pause(refusal)
    return revisions


def renew_until(address, session, stop, missed):
    """Renewals on a connection of their own; `missed` collects the longest time without one."""
    attempt, last = 1, time.monotonic()
    with Rpc(address) as rpc:
        while not stop.is_set():
            attempt += 1
            sent = time.monotonic()
            error, result = rpc.call("session_renew", session=session, attempt=attempt)
            if error is None:
                expect(result["attempt"] == attempt, f"attempt {attempt}: {result}")
                last = sent
            missed.append(time.monotonic() - last)
            stop.wait(0.1)


def test_a_python_client_stays_at_a_follower_through_a_change_of_leader():
    with LonelyCluster() as cluster:
        node = cluster.follower()
        leader = cluster.leads()
        killed = threading.Event()

        def kill_at_half(count):
            if count >= 500 and not killed.is_set():
                killed.set()
                leader.kill()

        with Listener(node.client) as rpc:
            session = settle(rpc, "session_open", ttl_ms=TTL_MS, attempt=1)["session"]
            told = rpc.await_notice("leader_is")
            expect(told["leader"] == leader.name, f"{told}, {leader.name} leads")
            stop, missed = threading.Event(), []
            renewer = threading.Thread(target=renew_until,
                                       args=(node.client, session, stop, missed))
            renewer.start()
            revisions = put_all(rpc, session, 1000, kill_at_half)
            expect(killed.is_set(), "the leader was not killed")
            expect(len(set(revisions.values())) == 1000, "two puts have one revision")
            for i in range(1000):
                result = settle(rpc, "get", key=f"k{i}".encode())
                expect(result == {"value": str(i + 1).encode(), "revision": revisions[i + 1]},
                       f"k{i}: {result}, put at {revisions[i + 1]}")
            stop.set()
            renewer.join()
            settle(rpc, "session_end", session=session)
            status = ask(node.client, "status")
            expect(status["forwarded_total"] > 500, f"{status}")
        longest = max(missed)
        expect(longest < TTL_MS / 1000, f"no renewal for {longest:.1f} s")
        cluster.await_leader()
        return f"longest time without a renewal {longest * 1000:.0f} ms"


def test_a_waiter_at_a_follower_is_told_of_its_grant_there():
    with LonelyCluster() as cluster:
        node = cluster.follower()
        with Listener(node.client) as holder, Listener(node.client) as waiter:
            first = settle(holder, "session_open", ttl_ms=TTL_MS)["session"]
            second = settle(waiter, "session_open", ttl_ms=TTL_MS)["session"]
            held = settle(holder, "lock_acquire", session=first, sequence=1, name=b"l", wait=True)
            queued = settle(waiter, "lock_acquire", session=second, sequence=1, name=b"l",
                            wait=True)
            expect(held["token"] > 0 and queued == {"token": 0, "position": 1},
                   f"{held}, {queued}")
            started = time.monotonic()
            settle(holder, "lock_release", session=first, sequence=2, name=b"l")
            granted = waiter.await_notice("granted")
            elapsed = time.monotonic() - started
            expect(granted["session"] == second and granted["token"] > held["token"], f"{granted}")
        return f"told {elapsed * 1000:.0f} ms after the release was sent"


def test_the_library_works_through_the_one_node_that_it_reaches():
    with LonelyCluster() as cluster:
        node = cluster.follower()
        environment = cluster.at(node)

        def holdfast(*arguments):
            return run([HOLDFAST, *arguments], env=environment)

        expect(holdfast("put", "a", "1").code == 0, "put through a follower")
        expect(holdfast("get", "a").out == "1\n", "get through a follower")
        shown = json.loads(holdfast("status", "--json").out)["nodes"]
        counts = next(n for n in shown if n["name"] == node.name)
        expect(counts["forwarded_total"] >= 2 and counts["taken_total"] == 0, f"{counts}")
        cluster.environment = lambda: environment
        holder = Holder(cluster, "job", "5s")
        cluster.leads().kill()
        leader = cluster.await_leader()
        if leader is node:      # So that it goes on as a follower.
            other = next(n for n in cluster.nodes if n is not node and n.is_alive())
            expect(holdfast("leader", "move", other.name).code == 0, "leadership does not move")
        held = len(stamps(holder.path))
        await_true(lambda: len(stamps(holder.path)) > held + 50, 20, "the holder to go on")
        until = time.monotonic() + 6        # Longer than its TTL.
        await_true(lambda: time.monotonic() > until or holder.process.poll() is not None, 10, "time")
        expect(holder.process.poll() is None, f"the lock was lost: {holder.process.poll()}")
        expect(holdfast("lock", "job", "--try", "--", "true").code != 0, "two hold the lock")
        end(holder.process)
        expect(holdfast("lock", "job", "--ttl", "5s", "--", "true").code == 0,
               "the lock of a holder that is gone was not given on")
        expect(holdfast("lock", "job", "--ttl", "5s", "--try", "--", "true").code == 0,
               "the lock was not released")
        expect(holdfast("get", "a").out == "1\n", "what was put is lost")
