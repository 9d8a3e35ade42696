"""Checks the histories of `load` against the log that the nodes kept.

The log is replayed by a small model of the state machine, written apart from the product's: keys,
sessions that end in cluster time, locks with their queues, the counter of grants.
"""
import glob
import json
import os

from harness import expect
from rpc import Rpc


def read_histories(folder):
    operations = []
    for path in sorted(glob.glob(os.path.join(folder, "history-*"))):
        with open(path) as lines:
            operations += [json.loads(line) for line in lines if line.endswith("\n")]
    return operations


class Session:
    def __init__(self, opened, ttl, deadline):
        self.opened, self.ttl, self.deadline, self.last = opened, ttl, deadline, 0


class Model:
    """What the entries of one log lead to."""

    def __init__(self):
        self.log_ms = 0
        self.sessions = {}
        self.holder = {}   # Lock name: (session, token).
        self.queues = {}   # Lock name: sessions, first come first.
        self.grants = {}   # (lock name, token): session.
        self.token = 0
        self.values = {}   # Key: (value, revision).
        self.changes = {}  # Revision: (key, value).

    def alive(self, session):
        found = self.sessions.get(session)
        return found is not None and found.deadline > self.log_ms

    def grant(self, name, session):
        self.token += 1
        self.holder[name] = (session, self.token)
        self.grants[(name, self.token)] = session

    def pass_on(self, name):
        """The holder is gone: the first waiter that lives is next."""
        del self.holder[name]
        queue = self.queues.get(name, [])
        while queue:
            session = queue.pop(0)
            if self.alive(session):
                self.grant(name, session)
                return

    def drop(self, session):
        for queue in self.queues.values():
            if session in queue:
                queue.remove(session)
        for name in sorted(n for n, (s, _) in self.holder.items() if s == session):
            self.pass_on(name)
        self.sessions.pop(session, None)

    def advance(self, log_ms):
        expect(log_ms >= self.log_ms, f"cluster time ran back from {self.log_ms} to {log_ms}")
        self.log_ms = log_ms
        due = [(s.deadline, i) for i, s in self.sessions.items() if s.deadline <= log_ms]
        for _, session in sorted(due):
            self.drop(session)

    def apply(self, entry):
        if "method" not in entry:
            return
        self.advance(entry["log_ms"])
        session, params = entry["session"], entry.get("params") or {}
        if session:
            if not self.alive(session) or entry["sequence"] != self.sessions[session].last + 1:
                return
            self.sessions[session].last += 1
        getattr(self, "apply_" + entry["method"], lambda *_: None)(entry, session, params)

    def apply_put(self, entry, _, params):
        self.values[params["key"]] = (params["value"], entry["index"])
        self.changes[entry["index"]] = (params["key"], params["value"])

    def apply_cas(self, entry, _, params):
        present = self.values.get(params["key"])
        wanted = None if params.get("absent") else params.get("expected", "")
        if (present[0] if present else None) == wanted:
            self.apply_put(entry, 0, params)

    def apply_session_open(self, entry, _, params):
        ttl = params["ttl_ms"]
        self.sessions[entry["index"]] = Session(self.log_ms, ttl, self.log_ms + ttl)

    def apply_session_end(self, _, __, params):
        if self.alive(params["session"]):
            self.drop(params["session"])

    def apply_renew(self, entry, _, __):
        for session in entry["sessions"]:
            if self.alive(session):
                found = self.sessions[session]
                found.deadline = max(found.deadline, self.log_ms + found.ttl)

    def apply_lock_acquire(self, _, session, params):
        name = params["name"]
        holder = self.holder.get(name)
        queue = self.queues.setdefault(name, [])
        if holder is None:
            self.grant(name, session)
        elif holder[0] != session:
            if params.get("wait"):
                if session not in queue:
                    queue.append(session)
            elif session in queue:
                queue.remove(session)

    def apply_lock_release(self, _, session, params):
        name = params["name"]
        holder = self.holder.get(name)
        if holder is not None and holder[0] == session:
            if params.get("token", 0) in (0, holder[1]):
                self.pass_on(name)
        elif session in self.queues.get(name, []):
            if params.get("token", 0) == 0:
                self.queues[name].remove(session)


def committed_entries(dumps):
    """Entries by index on which a majority of the logs agree; the logs must not contradict."""
    logs = []
    for dump in dumps:
        log = {}
        for entry in dump:
            if "index" in entry:
                # A later record replaces an earlier one and all behind it.
                for index in [i for i in (entry["index"],) if i in log]:
                    for later in range(index, max(log) + 1):
                        log.pop(later, None)
                log[entry["index"]] = entry
        logs.append(log)
    entries, index = [], 1
    while True:
        found = [log[index] for log in logs if index in log]
        votes = [sum(1 for other in found if other == one) for one in found]
        if not found or max(votes) <= len(dumps) // 2:
            return entries
        entries.append(found[votes.index(max(votes))])
        index += 1


def check(operations, dumps):
    """Raises Failure unless every acknowledged operation is what the log says. Returns counts."""
    entries = committed_entries(dumps)
    model = Model()
    for entry in entries:
        model.apply(entry)
    acked = [o for o in operations if o["status"] == "OK"]
    check_writes(acked, model)
    check_cas(operations)
    check_revisions(acked, model)
    check_locks(acked, model)
    return {"operations": len(operations), "acknowledged": len(acked), "entries": len(entries)}


def newest_writes(operations):
    """Of each key the acknowledged write of the highest revision."""
    newest = {}
    for operation in operations:
        if operation["status"] == "OK" and operation["op"] in ("put", "cas"):
            last = newest.get(operation["key"])
            if last is None or operation["number"] > last["number"]:
                newest[operation["key"]] = operation
    return newest


def check_values(newest, found):
    """`found`, by key: (revision, value). The newest acknowledged write is there, or a later one."""
    for key, last in newest.items():
        revision, value = found.get(key, (0, None))
        expect(revision >= last["number"],
               f"acknowledged write is missing: {last}; there is {revision}")
        expect(revision > last["number"] or value == last["value"],
               f"another value than the acknowledged one: {last}; there is {value}")


def check_kept(operations, leader):
    """For logs that were cut: compares with what `leader` answers. Returns counts."""
    newest = newest_writes(operations)
    with Rpc(leader.client) as rpc:
        answers = rpc.call_all([("get", {"key": key.encode()}) for key in newest])
    found = {key: (result["revision"], result["value"].decode())
             for key, (error, result) in zip(newest, answers) if error is None}
    check_values(newest, found)
    return {"operations": len(operations), "keys": len(newest)}


def check_writes(acked, model):
    for operation in acked:
        if operation["op"] in ("put", "cas"):
            found = model.changes.get(operation["number"])
            expect(found == (operation["key"], operation["value"]),
                   f"acknowledged write is missing: {operation}; the log has {found}")


def check_cas(operations):
    for operation in operations:
        if operation["op"] == "cas":
            expect(operation["status"] not in ("MISMATCH", "NOT_FOUND"),
                   f"a lone writer's value is not there: {operation}")


def check_revisions(acked, model):
    """Real time: what begins after another operation on the key ended sees no older revision."""
    by_key = {}
    for operation in acked:
        if operation["op"] in ("put", "cas", "get"):
            by_key.setdefault(operation["key"], []).append(operation)
    for key, operations in by_key.items():
        events = sorted([(o["end"], 0, o) for o in operations] +
                        [(o["start"], 1, o) for o in operations], key=lambda e: e[:2])
        newest, floors = 0, {}
        for _, kind, operation in events:
            if kind == 1:
                floors[id(operation)] = newest
            else:
                newest = max(newest, operation["number"])
        for operation in operations:
            floor = floors[id(operation)]
            if operation["op"] == "get":
                expect(operation["number"] >= floor, f"stale read of {key}: {operation} < {floor}")
                change = model.changes.get(operation["number"])
                expect(change == (key, operation["value"]),
                       f"read of a value that the log does not have: {operation}, {change}")
            else:
                expect(operation["number"] > floor, f"revision of {key} went back: {operation}")


def check_locks(acked, model):
    windows = {}
    releases = {(o["key"], o["number"]): o for o in acked if o["op"] == "release"}
    for operation in acked:
        if operation["op"] != "acquire":
            continue
        name, token = operation["key"], operation["number"]
        expect((name, token) in model.grants, f"the log never granted {operation}")
        release = releases.get((name, token))
        if release is not None:
            windows.setdefault(name, []).append((token, operation["end"], release["start"]))
    for name, held in windows.items():
        held.sort()
        for (token, _, until), (after, since, _) in zip(held, held[1:]):
            expect(after > token, f"{name}: token {token} was given twice")
            expect(since >= until, f"{name}: tokens {token} and {after} were held at once")
