"""Transactions, and keys that are bound to a session, with real processes and killed leaders."""
import json
import signal
import subprocess
import threading

from harness import SLOW, Cluster, await_true, expect


def value_of(cluster, key):
    """What `get --json` says, or None."""
    result = cluster.holdfast("get", key, "--json")
    expect(result.code in (0, 1), f"get {key}: {result}")
    return json.loads(result.out) if result.code == 0 else None


def txn(cluster, *clauses, code=0, input=None):
    result = cluster.holdfast("txn", "--json", *clauses, input=input)
    expect(result.code == code, f"txn {clauses}: {result}")
    return json.loads(result.out)


def bind(cluster, key, value, *options):
    """A process that holds `key`, once it says so."""
    process = cluster.spawn_holdfast("put", key, value, "--session", *options,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    expect(line.startswith(f"{key} session="), f"put --session: {line!r}")
    return process, int(line.split("=")[1])


def test_transactions_by_hand():
    with Cluster() as cluster:
        cluster.leader()
        first = txn(cluster, "--if", "a absent", "--then", "put a 1", "--then", 'put b "two words"',
                    "--else", "get a")
        expect(first["branch"] == "then" and [o["found"] for o in first["operations"]] == [False] * 2,
               f"{first}")
        again = txn(cluster, "--if", "a absent", "--then", "put a 2", "--else", "get a",
                    "--else", "get missing", code=1)
        expect(again["branch"] == "else" and again["revision"] > first["revision"], f"{again}")
        got, missing = again["operations"]
        expect(got["value"] == "1" and got["revision"] == first["revision"], f"{again}")
        expect(missing["found"] is False and "value" not in missing, f"{again}")
        expect(value_of(cluster, "b")["value"] == "two words", "b")
        expect(value_of(cluster, "b")["revision"] == first["revision"], "one revision for both")
        moved = txn(cluster, input=f"# moves a to c\nif a = 1\nif a revision = {first['revision']}\n"
                    "then put c 1\nthen del a\nthen get c\n\nelse del a\n")
        expect([o["op"] for o in moved["operations"]] == ["put", "del", "get"], f"{moved}")
        expect(moved["operations"][2]["value"] == "1" and value_of(cluster, "a") is None, f"{moved}")
        shown = cluster.holdfast("txn", "--then", "get c", "--then", "del x")
        expect(shown.out.splitlines()[1:] == ["get\tc\t1", "del\tx\t(absent)"], f"{shown}")
        for wrong in (["--then", "put a"], ["--if", "a"], ["--if", "a exists"], ["--else", "go a"]):
            result = cluster.holdfast("txn", *wrong)
            expect(result.code == 65 and result.err and not result.out, f"{wrong}: {result}")
        expect(cluster.holdfast("txn", input="maybe a\n").code == 65, "a line that says nothing")
        expect(cluster.holdfast("txn", "x").code == 64, "no operands")


def test_a_transaction_of_large_values_is_whole_or_refused():
    with Cluster() as cluster:
        cluster.leader()
        large = "x" * 500_000
        lines = f"then put a {large}\nthen put b {large}\n"
        expect(len(txn(cluster, input=lines)["operations"]) == 2, "a megabyte in one transaction")
        both = txn(cluster, "--then", "get a", "--then", "get b")
        expect([o["value"] for o in both["operations"]] == [large, large], "and back")
        refused = cluster.holdfast("txn", input=lines + f"then put c {large}\n")
        expect(refused.code == 65 and "1 MiB" in refused.err, f"{refused}")
        txn(cluster, input=f"then put c {large}\n")
        refused = cluster.holdfast("txn", "--then", "put d 1", "--then", "get a", "--then", "get b",
                                   "--then", "get c")
        expect(refused.code == 69 and "does not fit one answer" in refused.err, f"{refused}")
        expect(value_of(cluster, "d") is None, "nothing of it was applied")


def test_a_bound_key_goes_with_its_process():
    with Cluster() as cluster:
        cluster.leader()
        process, session = bind(cluster, "k", "here", "--ttl", "30s", "--owner", "me")
        expect(value_of(cluster, "k")["session"] == session, "get names the session")
        rows = [json.loads(line) for line in cluster.holdfast("ls", "--json").out.splitlines()]
        expect([row["session"] for row in rows] == [session], f"ls does too: {rows}")
        process.send_signal(signal.SIGTERM)
        expect(process.wait(timeout=10 * SLOW) == 0, "a signal ends it well")
        expect(value_of(cluster, "k") is None, "the key went with it")

        process, session = bind(cluster, "k", "again", "--ttl", "30s")
        expect(cluster.holdfast("session", "end", str(session)).code == 0, "forced end")
        expect(value_of(cluster, "k") is None, "at once")
        expect(process.wait(timeout=10 * SLOW) == 76, "its process is told")
        expect("lost" in process.stderr.read(), "and says so")

        process, session = bind(cluster, "k", "third", "--ttl", "30s")
        cluster.holdfast("put", "k", "mine")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10 * SLOW)
        left = value_of(cluster, "k")
        expect(left["value"] == "mine" and "session" not in left, f"another write unbinds: {left}")


def test_a_bound_key_outlives_leaders_and_not_its_owner():
    with Cluster() as cluster:
        leader = cluster.leader()
        owner, session = bind(cluster, "alive", "1", "--ttl", "3s")
        leader.kill()
        leader.start()
        cluster.leader()
        # Longer than the TTL: the owner renews at the new leader.
        threading.Event().wait(4)
        expect(owner.poll() is None and value_of(cluster, "alive")["session"] == session,
               "a bound key outlives a leader while its owner lives")
        owner.kill()
        owner.wait()
        expect(value_of(cluster, "alive") is not None, "it is there until the TTL is over")
        cluster.leader().kill()
        await_true(lambda: value_of(cluster, "alive") is None, 15,
                   "the key to go with its session, at another leader")
        for node in cluster.nodes:
            if not node.is_alive():
                node.start()
        cluster.equal_state()


def test_two_keys_that_move_together_are_never_seen_apart():
    rounds, seen = 60, []
    with Cluster() as cluster:
        cluster.leader()
        stopped = threading.Event()

        def look():
            while not stopped.is_set():
                result = cluster.holdfast("txn", "--json", "--then", "get x", "--then", "get y")
                # While the leader is killed it may never be answered.
                if result.code == 0:
                    both = json.loads(result.out)["operations"]
                    seen.append([(o.get("value"), o.get("revision")) for o in both])

        reader = threading.Thread(target=look)
        reader.start()
        try:
            for number in range(rounds):
                clauses = ["--then", "del x", "--then", "del y"] if number % 5 == 4 else \
                    ["--then", f"put x {number}", "--then", f"put y {number}"]
                txn(cluster, *clauses)
                if number == rounds // 2:
                    leader = cluster.leader()
                    leader.kill()
                    leader.start()
                    cluster.leader()
        finally:
            stopped.set()
            reader.join()
        expect(len(seen) > 5 and all(x == y for x, y in seen), f"{seen}")
        cluster.equal_state()
        return f"{len(seen)} reads"
