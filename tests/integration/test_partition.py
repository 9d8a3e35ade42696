"""Links break under load; a majority can always talk, so writes go on, and nothing is lost."""
import select
import socket
import threading
import time

from faults import FaultyCluster, Proxy
from harness import HOLDFAST, SLOW, SOAK, await_true, expect, free_ports, run
from test_kill import Load, longest_gap
import history

HEAL_S = 5          # Within this after the last fault all nodes follow and writes go on.
HOLD_S = 8 if SOAK else 0.5


def hold(load, seconds):
    """Lets the fault stand for so long, as long as writes are acknowledged."""
    until = time.monotonic() + seconds
    while True:
        load.await_acked(load.acked + 50, 10)
        if time.monotonic() > until:
            return


def have_caught_up(cluster, load):
    """All nodes speak, and have applied what was acknowledged when this was called."""
    nodes = cluster.status()["nodes"]
    if not all(n["reachable"] for n in nodes):
        return None
    return nodes if min(n["applied"] for n in nodes) >= cluster.goal else None


def await_healed(cluster, load):
    """Milliseconds from the healing until every node has what was there before it."""
    status = cluster.status()
    cluster.goal = max(n["commit"] for n in status["nodes"] if n["reachable"])
    started = time.monotonic()
    cluster.heal()
    load.await_acked(load.acked + 50, HEAL_S)
    await_true(lambda: have_caught_up(cluster, load), HEAL_S, "all nodes to catch up")
    return (time.monotonic() - started) * 1000


def finish(cluster, load):
    operations = load.stop()
    cluster.equal_state()
    for node in cluster.nodes:
        expect(node.stop() == 0, f"{node.name} did not stop cleanly: {node.log()[-500:]}")
    return operations, history.check(operations, [node.dump() for node in cluster.nodes])


def run_faults(faults):
    """Each fault in turn under one load; the longest stop of writes and healing, in ms."""
    with FaultyCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        started = time.monotonic_ns() // 1000
        healed = []
        for fault in faults:
            load.await_acked(load.acked + 100)
            fault(cluster)
            hold(load, HOLD_S)
            healed.append(await_healed(cluster, load))
        operations, counts = finish(cluster, load)
        return (f"{len(faults)} faults, longest time without a write "
                f"{longest_gap(operations, started):.0f} ms, healed within {max(healed):.0f} ms, "
                f"{counts}")


def follower(cluster):
    leader = cluster.leader()
    return next(node for node in cluster.nodes if node is not leader)


def cut_all_of_leader(cluster):
    """From its peers and from its clients."""
    leader = cluster.leader()
    cluster.isolate(leader)
    cluster.proxy.ask("cut", f"client>{leader.name}")


def cut_between_leader_and_one(cluster):
    """Both see the third node: a partition that no side sees whole."""
    leader = cluster.leader()
    one = follower(cluster)
    cluster.silence(leader, one)
    cluster.silence(one, leader)


def test_a_follower_without_links_is_missed_by_nobody():
    return run_faults([lambda c: c.isolate(follower(c)),
                       lambda c: c.deafen(follower(c)),
                       lambda c: c.mute(follower(c))])


def test_a_leader_without_links_is_replaced():
    return run_faults([lambda c: c.isolate(c.leader()),
                       lambda c: c.deafen(c.leader()),
                       lambda c: c.mute(c.leader()),
                       lambda c: c.isolate(c.leader(), "stall"),
                       cut_all_of_leader])


def test_a_partition_between_two_of_three_stops_nothing_for_long():
    return run_faults([cut_between_leader_and_one,
                       lambda c: c.silence(c.leader(), follower(c)),
                       lambda c: c.silence(follower(c), c.leader())])


def test_flapping_links_lose_nothing():
    rounds = 100 if SOAK else 4
    with FaultyCluster() as cluster:
        cluster.leader()
        load = Load(cluster)
        started = time.monotonic_ns() // 1000
        for number in range(rounds):
            node = cluster.nodes[number % 3]
            cluster.isolate(node)
            # The next flap comes as soon as some writes got through, or half a second later.
            wait_acked(load, 20, 0.5)
            cluster.heal()
            wait_acked(load, 20, 0.5)
        cluster.proxy.ask("reset", "*")
        cluster.proxy.ask("delay", "*", 20)
        hold(load, HOLD_S)
        healed = await_healed(cluster, load)
        operations, counts = finish(cluster, load)
        return (f"{rounds} flaps, longest time without a write "
                f"{longest_gap(operations, started):.0f} ms, healed within {healed:.0f} ms, "
                f"{counts}")


def wait_acked(load, count, seconds):
    goal = load.acked + count
    with load.changed:
        load.changed.wait_for(lambda: load.acked >= goal, seconds)


def test_an_isolated_leader_serves_no_stale_read():
    with FaultyCluster() as cluster:
        leader = cluster.leader()
        expect(cluster.holdfast("put", "k", "old").code == 0, "put")
        cluster.isolate(leader)
        rest = ",".join(cluster.doors[node.name] for node in cluster.others(leader))
        # Before anybody has noticed: only what a majority confirms may be answered.
        answers = [ask(leader.client, "get", "k")]
        put = await_true(lambda: ask(rest, "put", "k", "new").code == 0, 10, "a new leader")
        expect(put, "put at the other side")
        answers.append(ask(leader.client, "get", "k"))
        for answer in answers:
            expect(answer.code in (69, 74, 77) and answer.out == "",
                   f"the isolated leader answered: {answer}")
        written = ask(leader.client, "put", "k", "lost")
        expect(written.code in (69, 74, 77), f"the isolated leader acknowledged: {written}")
        cluster.heal()
        value = await_true(lambda: cluster.holdfast("get", "k").out.strip(), HEAL_S, "a read")
        expect(value in ("new", "lost") and (value == "new" or written.code == 74),
               f"{value!r} after {written}")
        cluster.equal_state(HEAL_S)


def ask(endpoints, *arguments):
    return run([HOLDFAST, "--endpoints", endpoints, "--timeout", f"{SLOW}s", *arguments])


def test_the_proxy_does_what_it_is_told():
    """The instrument itself, over one connection to a listener of ours."""
    proxy = Proxy()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        door = ("127.0.0.1", free_ports(1)[0])
        proxy.ask("add", "a", "%s:%d" % door, "127.0.0.1:%d" % listener.getsockname()[1])
        source, target = connect(door, listener)

        proxy.ask("delay", "a", 200)
        started = time.monotonic()
        source.sendall(b"late")
        expect(target.recv(9) == b"late" and time.monotonic() - started > 0.19, "delay")
        proxy.ask("delay", "a", 0)

        proxy.ask("stall", "a", "ahead")
        source.sendall(b"waits")
        target.sendall(b"passes")
        expect(source.recv(9) == b"passes" and is_silent(target), "stall ahead")
        proxy.ask("heal", "a")
        expect(target.recv(9) == b"waits", "what was stalled arrives")

        proxy.ask("cut", "a", "ahead")
        source.sendall(b"lost")
        target.sendall(b"passes")
        expect(source.recv(9) == b"passes" and is_silent(target), "cut ahead")
        await_true(lambda: "ahead_lost=4" in proxy.ask("list")[0], 5, "the loss to be counted")
        expect(not was_reset(source, 0), "a cut link is silent")
        proxy.ask("heal", "a")
        expect(was_reset(source, 5) and was_reset(target, 5), "what has lost bytes is reset")

        source, target = connect(door, listener)
        proxy.ask("cut", "a")
        source.close()
        expect(is_silent(target), "the news of an end must not pass a cut")
        proxy.ask("reset", "a")
        expect(was_reset(target, 5), "reset")

        proxy.ask("heal", "a")
        source, target = connect(door, listener)
        sender = threading.Thread(target=send_all, args=(source, 4 << 20), daemon=True)
        sender.start()
        expect(read_all(target) == 4 << 20, "everything arrives, then the end")
        sender.join()
        target.close()
        expect(read_all(source) == 0, "the end of the other direction")
        await_true(lambda: "connections=0" in proxy.ask("list")[0], 5, "closed pairs to go")
    expect(proxy.close() == 0, "the proxy did not end cleanly")


def connect(door, listener):
    source = socket.create_connection(door, 5)
    target, _ = listener.accept()
    target.settimeout(5)
    return source, target


def send_all(source, size):
    source.sendall(b"x" * size)
    source.shutdown(socket.SHUT_WR)


def is_silent(peer):
    return not select.select([peer], [], [], 0.1)[0]


def was_reset(peer, seconds):
    if not select.select([peer], [], [], seconds)[0]:
        return False
    try:
        return peer.recv(1) is None
    except ConnectionResetError:
        return True


def read_all(peer):
    size = 0
    while True:
        data = peer.recv(1 << 16)
        if not data:
            return size
        size += len(data)


def test_the_proxy_refuses_nonsense_with_advice():
    proxy = Proxy()
    for line in ("", "cut", "cut nothing", "nonsense *", "add a 127.0.0.1:1 nowhere", "a b c d e"):
        proxy.process.stdin.write(line + "\n")
        proxy.process.stdin.flush()
        answer = proxy.process.stdout.readline()
        expect(answer.startswith("error: "), f"{line!r}: {answer!r}")
    port = free_ports(1)[0]
    proxy.ask("add", "a", f"127.0.0.1:{port}", "127.0.0.1:9")
    for line in ("cut a sideways", "delay a -1", "delay a 99999999"):
        proxy.process.stdin.write(line + "\n")
        proxy.process.stdin.flush()
        answer = proxy.process.stdout.readline()
        expect(answer.startswith("error: "), f"{line!r}: {answer!r}")
    expect("ahead=open" in proxy.ask("list")[0], "list")
    expect(proxy.close() == 0, "the proxy did not end cleanly")
