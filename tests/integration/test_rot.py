"""Every block that a stopped node uses is damaged in turn; real processes repair it or say what to do.

Three nodes are stopped: the third one before the last writes, so that the majority for those was
the first and the victim. Each turn begins with exactly these folders, but one block of the victim
is other than it was written. Then the victim and the third are started alone: what the victim
was counted for must not be voted away. After that the first joins them.
"""
import os
import random
import shutil

from harness import SOAK, Cluster, Failure, await_true, expect, memory_base
from rpc import Gone, Rpc, ask

BLOCK = 4096
SECTOR = 512
KEY_COUNT = 350        # More than --snapshot-log, also where several go into one block of the log.
LATE_COUNT = 20         # Writes that only the first node and the victim have.
OPTIONS = ["--snapshot-log", "1MiB", "--election-min", "100ms", "--election-max", "200ms",
           "--heartbeat", "20ms"]
NOT_FOUND = 13         # docs/protocol.md.
SMALL_FILES = ("identity", "format", "env/clean", "env/lock.mdb")


class Folder:
    """What a stopped node has on its disk; it can be put there again."""

    def __init__(self, path):
        self.path = path
        self.files = {}  # Name: bytes without the zeros at the end, and the size.
        for place, _, names in os.walk(path):
            for name in names:
                full = os.path.join(place, name)
                with open(full, "rb") as file:
                    data = file.read()
                if data.strip(b"\0") or not data:
                    self.files[os.path.relpath(full, path)] = (data.rstrip(b"\0"), len(data))

    def named(self, *parts):
        return [name for name in sorted(self.files) if any(part in name for part in parts)]

    def used_blocks(self, name):
        data = self.files[name][0]
        return [i for i in range(-(-len(data) // BLOCK))
                if data[i * BLOCK:(i + 1) * BLOCK].strip(b"\0")]

    def put_back(self):
        shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(os.path.join(self.path, "env"))
        for name, (data, size) in self.files.items():
            with open(os.path.join(self.path, name), "wb") as file:
                file.write(data)
                file.truncate(size)


class Case:
    def __init__(self, name, block, kind, keeps_table):
        self.name, self.block, self.kind, self.keeps_table = name, block, kind, keeps_table

    def __repr__(self):
        return f"{self.kind} in block {self.block} of {self.name}"

    def damage(self, folder):
        chooser = random.Random(repr(self))
        data, size = folder.files[self.name]
        held = bytearray(data[self.block * BLOCK:(self.block + 1) * BLOCK])
        if self.kind == "bit":
            # Where there is something: a flipped zero may be padding that nobody reads.
            at = chooser.choice([i for i, byte in enumerate(held) if byte])
            held[at] ^= 1 << chooser.randrange(8)
        elif self.kind == "sector":
            at = chooser.randrange(-(-len(held) // SECTOR)) * SECTOR
            held[at:at + SECTOR] = chooser.randbytes(min(SECTOR, len(held) - at))
        else:
            held = bytes(min(BLOCK, size - self.block * BLOCK))
        with open(os.path.join(folder.path, self.name), "r+b") as file:
            file.seek(self.block * BLOCK)
            file.write(held)


class Sweep:
    def __init__(self, cluster):
        self.cluster = cluster
        self.expected = {}
        self.outcomes = {}
        self.prepare()

    # --- The folders -------------------------------------------------------------------------------

    def prepare(self):
        cluster = self.cluster
        first = cluster.leader()
        self.first = first
        self.victim, self.third = [n for n in cluster.nodes if n is not first]
        with Rpc(first.client) as rpc:
            for number in range(KEY_COUNT):
                self.write(rpc, f"key{number:03}", f"early {number} " + "e" * 900)
            await_true(lambda: "event=snapshot_saved" in self.victim.log(), 30, "a snapshot")
            for number in range(0, KEY_COUNT, 7):
                self.write(rpc, f"key{number:03}", f"later {number} " + "l" * 900)
            cluster.equal_state()
            self.third.kill()
            for number in range(LATE_COUNT):
                self.write(rpc, f"late{number:03}", f"late {number}")
        for node in (self.victim, first):
            expect(node.stop() == 0, f"{node.name} did not stop: {node.log()[-300:]}")
        self.folders = {node: Folder(node.data) for node in cluster.nodes}

    def write(self, rpc, key, value):
        error, _ = rpc.call("put", key=key.encode(), value=value.encode())
        expect(error is None, f"put: {error}")
        self.expected[key.encode()] = value.encode()

    def cases(self):
        """Every used block of the victim, by the part of the node that it belongs to."""
        folder = self.folders[self.victim]
        log = [(name, block) for name in folder.named("raft-") for block in folder.used_blocks(name)]
        files = [(name, block) for name in folder.named("snap-") for block in folder.used_blocks(name)]
        table = [("env/data.mdb", block) for block in folder.used_blocks("env/data.mdb")]
        small = [(name, 0) for name in SMALL_FILES if folder.files[name][0]]
        # In the log zeros at the end are what a write leaves that was under way when the power
        # failed (docs/log.md), so nothing is zeroed there.
        return {
            "log": [Case(*at, ("bit", "sector")[i % 2], i % 4 < 2) for i, at in enumerate(log)],
            "snapshot": [Case(*at, ("bit", "sector", "zero")[i % 3], False)
                         for i, at in enumerate(files)],
            "table": [Case(*at, ("bit", "sector", "zero")[i % 3], True)
                      for i, at in enumerate(table)],
            "others": [Case(*at, kind, True) for at in small for kind in ("bit", "zero")],
        }

    # --- One turn ----------------------------------------------------------------------------------

    def run(self, part, case):
        for node, folder in self.folders.items():
            folder.put_back()
            open(node.log_path, "w").close()
        if not case.keeps_table:
            os.remove(os.path.join(self.victim.data, "env/clean"))
        case.damage(self.folders[self.victim])
        self.outcome = "used"
        try:
            self.turn()
        except Failure as problem:
            raise Failure(f"{case}: {problem}\n{self.victim.log()[-1500:]}")
        finally:
            for node in self.cluster.nodes:
                if node.is_alive():
                    node.kill()
        key = (part, self.outcome)
        self.outcomes[key] = self.outcomes.get(key, 0) + 1

    def turn(self):
        self.victim.start()
        self.third.start()
        pair = (self.victim, self.third)
        if await_true(lambda: self.verdict(pair), 20, "a verdict") == "leads":
            self.check_reads(pair)
        self.first.start()
        self.obey()
        self.check_reads(self.cluster.nodes)
        await_true(self.all_equal, 30, "equal states")
        # What the victim says itself, not only what it lets others say.
        self.make_lead()
        self.check_reads([self.victim])
        log = self.victim.log()
        if "event=restored" in log and self.outcome == "used":
            self.outcome = "restored"
        if "table=rebuilt" in log and self.outcome == "used":
            self.outcome = "rebuilt"

    def verdict(self, nodes):
        if not self.victim.is_alive():
            return "ended"
        if "event=restoring" in self.victim.log():
            return "restoring"
        return "leads" if self.leader(nodes) else None

    def leader(self, nodes):
        for node in nodes:
            status = ask(node.client, "status") if node.is_alive() else None
            if status and status["role"] == "leader":
                return node
        return None

    def all_equal(self):
        self.obey()
        states = [ask(node.client, "status") for node in self.cluster.nodes]
        return None not in states and len({(s["applied"], s["state_hash"]) for s in states}) == 1

    def obey(self):
        """A victim that has ended said what to do; that is done."""
        if self.victim.is_alive():
            return
        last = self.victim.log().strip().split("\n")[-1]
        expect(self.victim.process.returncode == 1 and "event=fatal" in last,
               f"it ended with {self.victim.process.returncode}: {last}")
        expect(self.outcome not in ("told, started again", "told, came with an empty folder"),
               f"it ended again: {last}")
        if "empty one" in last or "empty folder" in last:
            shutil.rmtree(self.victim.data)
            self.outcome = "told, came with an empty folder"
        else:
            expect("start again" in last, f"no advice: {last}")
            self.outcome = "told, started again"
        self.victim.start()

    def make_lead(self):
        def moved():
            self.obey()
            leader = self.leader(self.cluster.nodes)
            if leader is not None and leader is not self.victim:
                ask(leader.client, "leader_move", name=self.victim.name)
            return leader is self.victim
        await_true(moved, 20, f"{self.victim.name} to lead")

    # --- What is read ------------------------------------------------------------------------------

    def check_reads(self, nodes):
        """Reads every key from whoever of these leads, until all of them were answered."""
        def read():
            self.obey()
            leader = self.leader(nodes)
            if leader is None:
                if nodes == [self.victim]:
                    self.make_lead()
                return False
            try:
                return self.read_from(leader)
            except Gone:
                return False
        await_true(read, 20, "all reads")

    def read_from(self, node):
        keys = sorted(self.expected)
        with Rpc(node.client) as rpc:
            answers = rpc.call_all([("get", {"key": key}) for key in keys])
            error, listed = rpc.call("list", prefix=b"")
        for key, (wrong, result) in zip(keys, answers):
            if wrong is None:
                expect(result["value"] == self.expected[key],
                       f"wrong answer of {node.name}: {key} is {result['value'][:60]}")
            elif wrong["code"] == NOT_FOUND:
                raise Failure(f"wrong answer of {node.name}: {key} is absent")
        if any(wrong for wrong, _ in answers) or error is not None:
            return False
        found = {item["key"]: item["value"] for item in listed["items"]}
        expect(found == self.expected, f"wrong list of {node.name}: {len(found)} keys")
        return True


def sample(cases, count):
    """Some of them, from the first to the last."""
    if SOAK or len(cases) <= count:
        return cases
    return [cases[i * (len(cases) - 1) // (count - 1)] for i in range(count)]


def test_every_used_block_damaged_in_turn_is_repaired_or_told():
    with Cluster(extra=OPTIONS, base=memory_base()) as cluster:
        sweep = Sweep(cluster)
        cases = sweep.cases()
        counts = {part: len(found) for part, found in cases.items()}
        expect(counts["log"] >= 200 and counts["snapshot"] >= 50, f"too few blocks: {counts}")
        for part, found in cases.items():
            for case in sample(found, {"log": 5, "others": 4}.get(part, 3)):
                sweep.run(part, case)
        # Damage that changes nothing anywhere would mean that it was done in the wrong place.
        expect(sweep.outcomes.get(("log", "restored"), 0) > 0, f"{sweep.outcomes}")
        outcomes = ", ".join(f"{part} {outcome} {count}"
                             for (part, outcome), count in sorted(sweep.outcomes.items()))
        return f"used blocks {counts}; {outcomes}"
