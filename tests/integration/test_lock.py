"""`holdfast lock` with real processes."""
import json
import os
import signal
import subprocess
import sys
import time

from harness import HOLDFAST, LOAD, SLOW, Cluster, await_true, end, expect, run, spawn

STAMPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stamper.py")


def stamps(path):
    """(nanoseconds, "parent" or "child", pid) of each complete line."""
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        rows = [line.split() for line in lines.read().split("\n")[:-1]]
    return [(int(r[0]), r[1], int(r[2])) for r in rows if len(r) == 3]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Holder:
    """`holdfast lock NAME --ttl T -- stamper`, started and holding."""

    def __init__(self, cluster, name, ttl):
        self.path = os.path.join(cluster.folder, f"stamps-{name}")
        self.process = cluster.spawn_holdfast("lock", name, "--ttl", ttl, "--", sys.executable,
                                              STAMPER, self.path)
        await_true(lambda: {s[1] for s in stamps(self.path)} == {"parent", "child"}, 10,
                   "the command under the lock to run")
        self.pids = {s[2] for s in stamps(self.path)}

    def all_dead(self):
        return not any(alive(pid) for pid in self.pids)


NOW = "import time; print(time.monotonic_ns(), flush=True)"


def test_second_taker_gets_the_lock_within_three_puts():
    program = os.path.join(os.path.dirname(LOAD), "handover")
    with Cluster() as cluster:
        cluster.leader()
        result = run([program, cluster.endpoints, "200"], timeout=60)
        expect(result.code == 0, f"handover: {result}")
        times = json.loads(result.out)
        ratio = times["handover_p50_us"] / times["put_p50_us"]
        expect(ratio <= 3, f"the hand-over takes {ratio:.2f} puts: {times}")
        return f"{ratio:.2f} x a put of {times['put_p50_us']} us"


def test_command_is_dead_before_the_lock_is_granted_though_its_keeper_is_frozen():
    with Cluster() as cluster:
        cluster.leader()
        holder = Holder(cluster, "frozen", "2s")
        frozen_ns = time.monotonic_ns()
        holder.process.send_signal(signal.SIGSTOP)
        second = cluster.holdfast("lock", "frozen", "--wait", "20s", "--", sys.executable, "-c", NOW)
        expect(second.code == 0, f"second taker: {second}")
        granted_ns = int(second.out)
        last_ns = max(s[0] for s in stamps(holder.path))
        expect(last_ns < granted_ns, "the first command lived when the second was granted the lock")
        expect(holder.all_dead(), "a process of the first command's group still lives")
        holder.process.send_signal(signal.SIGCONT)
        code = holder.process.wait(timeout=10 * SLOW)
        expect(code == 76, f"the frozen keeper woke up and ended with {code}, not 76")
        return (f"dead {(granted_ns - last_ns) / 1e6:.0f} ms before the grant, "
                f"{(granted_ns - frozen_ns) / 1e6:.0f} ms after the freeze")


def test_command_dies_at_once_when_its_keeper_is_killed_and_the_lock_is_free_in_time():
    with Cluster() as cluster:
        cluster.leader()
        holder = Holder(cluster, "killed", "2s")
        killed_ns = time.monotonic_ns()
        holder.process.kill()
        holder.process.wait()
        await_true(holder.all_dead, 1, "the command's group to die with its keeper")
        dead_ms = (time.monotonic_ns() - killed_ns) / 1e6
        second = cluster.holdfast("lock", "killed", "--wait", "20s", "--", sys.executable, "-c", NOW)
        expect(second.code == 0, f"second taker: {second}")
        free_s = (int(second.out) - killed_ns) / 1e9
        expect(free_s <= 2 + 1 * SLOW, f"the lock was free only after {free_s:.2f} s with a TTL of 2 s")
        return f"group dead after {dead_ms:.0f} ms, lock free after {free_s:.2f} s"


def test_lost_majority_kills_the_command_and_ends_with_76():
    with Cluster() as cluster:
        cluster.leader()
        holder = Holder(cluster, "minority", "2s")
        for node in cluster.nodes[:2]:
            node.kill()
        cluster.nodes[2].kill()
        started = time.monotonic()
        code = holder.process.wait(timeout=20 * SLOW)
        expect(code == 76, f"exit status {code}, not 76")
        expect(holder.all_dead(), "the command outlived the lock")
        expect(time.monotonic() - started <= 2 + 1 * SLOW, "the loss was noticed too late")


def test_exit_statuses_are_those_of_the_contract():
    with Cluster() as cluster:
        cluster.leader()
        rows = [
            (0, ["lock", "a", "--", "true"]),
            (3, ["lock", "a", "--", "sh", "-c", "exit 3"]),
            (128 + 15, ["lock", "a", "--", "sh", "-c", "kill -TERM $$"]),
            (128 + 9, ["lock", "a", "--", "sh", "-c", "kill -KILL $$"]),
            (127, ["lock", "a", "--", "/no/such/command"]),
            (64, ["lock"]),
            (64, ["lock", "a", "--no-such-option"]),
            (64, ["lock", "a", "--ttl", "soon", "--", "true"]),
            (69, ["lock", "a", "--ttl", "100ms", "--", "true"]),
        ]
        for code, arguments in rows:
            result = cluster.holdfast(*arguments)
            expect(result.code == code, f"{arguments}: expected {code}, got {result}")
            if code in (64, 69):
                expect(result.err.strip(), f"{arguments}: no word of why")
        holder = cluster.spawn_holdfast("lock", "held", stdout=subprocess.PIPE, text=True)
        line = holder.stdout.readline()
        expect(line.startswith("held token="), f"without a command: {line!r}")
        for arguments in (["--try"], ["--wait", "200ms"]):
            result = cluster.holdfast("lock", "held", *arguments, "--", "true")
            expect(result.code == 75, f"{arguments}: expected 75, got {result}")
        shown = json.loads(cluster.holdfast("locks", "show", "held", "--json").out)
        expect(shown["mode"] == "exclusive" and len(shown["holders"]) == 1 and shown["queue"] == [],
               f"locks show: {shown}")
        expect(f"held token={shown['holders'][0]['token']}" == line.strip(), f"token: {shown}")
        holder.send_signal(signal.SIGTERM)
        expect(holder.wait(timeout=10 * SLOW) == 0, "a lock given up by SIGTERM must end with 0")
        result = cluster.holdfast("lock", "held", "--try", "--", "true")
        expect(result.code == 0, f"the released lock: {result}")
    # Nobody answers any more.
    result = run([HOLDFAST, "--endpoints", "127.0.0.1:1", "--timeout", "500ms", "lock", "a", "--try",
                  "--", "true"])
    expect(result.code == 77, f"without a cluster: expected 77, got {result}")


def test_tokens_grow_and_the_environment_names_the_lock():
    with Cluster() as cluster:
        cluster.leader()
        before = 0
        for _ in range(5):
            result = cluster.holdfast(
                "lock", "grow", "--", "sh", "-c",
                'echo "$HOLDFAST_LOCK $HOLDFAST_TOKEN $HOLDFAST_DEADLINE_MS"')
            name, token, deadline = result.out.split()
            expect(name == "grow", f"HOLDFAST_LOCK: {result}")
            expect(int(token) > before, f"token {token} after {before}")
            expect(int(deadline) > 0, f"HOLDFAST_DEADLINE_MS: {result}")
            before = int(token)


def test_lock_of_a_killed_leader_stays_with_its_holder():
    with Cluster() as cluster:
        leader = cluster.leader()
        holder = Holder(cluster, "stays", "3s")
        leader.kill()
        result = cluster.holdfast("--timeout", "10s", "put", "key", "value")
        expect(result.code == 0, f"put after the kill: {result}")
        result = cluster.holdfast("lock", "stays", "--try", "--", "true")
        expect(result.code == 75, f"expected 75, got {result}")
        expect(holder.process.poll() is None and not holder.all_dead(), "the holder was lost")
        end(holder.process)


def test_what_the_command_left_in_its_group_is_dead_before_the_lock_is_granted():
    with Cluster() as cluster:
        cluster.leader()
        path = os.path.join(cluster.folder, "stamps-left")
        # The command leaves two processes behind that do not heed SIGTERM, and waits for the word.
        script = f"{sys.executable} {STAMPER} {path} & read word; exit 3"
        first = cluster.spawn_holdfast("lock", "left", "--ttl", "3s", "--", "sh", "-c", script,
                                       stdin=subprocess.PIPE, text=True)
        await_true(lambda: {s[1] for s in stamps(path)} == {"parent", "child"}, 10,
                   "what the command leaves behind to run")
        second = cluster.spawn_holdfast("lock", "left", "--", sys.executable, "-c", NOW,
                                        stdout=subprocess.PIPE, text=True)
        await_true(lambda: json.loads(cluster.holdfast("locks", "show", "left", "--json").out)["queue"],
                   10, "the second taker to wait")
        first.communicate("go\n", timeout=10 * SLOW)
        expect(first.returncode == 3, f"the command's own status is 3, not {first.returncode}")
        out, _ = second.communicate(timeout=10 * SLOW)
        granted_ns = int(out)
        rows = stamps(path)
        last_ns = max(s[0] for s in rows)
        left = {s[2] for s in rows if alive(s[2])}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        expect(not left, "a process of the group still lives")
        expect(last_ns < granted_ns, "the group lived when the lock was granted to another")
        return f"dead {(granted_ns - last_ns) / 1e6:.0f} ms before the grant"


def test_what_heeds_sigterm_in_the_commands_group_may_end_by_it():
    with Cluster() as cluster:
        cluster.leader()
        path = os.path.join(cluster.folder, "said")
        script = (f"(trap 'echo ended >{path}; exit' TERM; echo ready >{path}; while :; do read w; done) "
                  f"<&3 & until [ -s {path} ]; do :; done; exit 0")
        result = cluster.holdfast("lock", "heeds", "--", "sh", "-c",
                                  f"mkfifo {path}.pipe; exec 3<>{path}.pipe; {script}")
        expect(result.code == 0 and "process group" in result.err, f"{result}")
        with open(path) as said:
            expect(said.read() == "ended\n", "SIGTERM did not come before SIGKILL")
        shown = cluster.holdfast("locks", "show", "heeds")
        expect(shown.code == 1, f"the lock is not free: {shown}")


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    with open(sys.argv[1], 'a') as file:
        file.write(f'{time.monotonic_ns()}\\n')
"""


def test_command_is_killed_at_once_when_its_session_is_ended():
    with Cluster() as cluster:
        cluster.leader()
        path = os.path.join(cluster.folder, "stubborn")
        first = cluster.spawn_holdfast("lock", "ended", "--ttl", "10s", "--", sys.executable, "-c",
                                       STUBBORN, path)
        await_true(lambda: os.path.exists(path), 10, "the command under the lock to run")
        shown = json.loads(cluster.holdfast("locks", "show", "ended", "--json").out)
        ended_ns = time.monotonic_ns()
        result = cluster.holdfast("session", "end", str(shown["holders"][0]["session"]))
        expect(result.code == 0, f"session end: {result}")
        code = first.wait(timeout=10 * SLOW)
        dead_ms = (time.monotonic_ns() - ended_ns) / 1e6
        expect(code == 76, f"the holder ended with {code}, not 76")
        with open(path) as file:
            last_ns = int(file.read().split()[-1])
        # Its grace of 1 s would be over only then.
        expect(dead_ms < 500 * SLOW, f"the command lived on for {dead_ms:.0f} ms")
        return f"last sign {(last_ns - ended_ns) / 1e6:.0f} ms after the end was asked for"


def test_signals_end_a_stopped_command():
    with Cluster() as cluster:
        cluster.leader()
        for number in (signal.SIGTERM, signal.SIGINT):
            path = os.path.join(cluster.folder, f"stopped-{number}")
            holder = cluster.spawn_holdfast("lock", "stopped", "--", "sh", "-c",
                                            f"echo $$ >{path}; kill -STOP $$; sleep 60")

            def is_stopped():
                if not os.path.exists(path):
                    return False
                with open(path) as file:
                    pid = file.read().strip()
                if not pid:
                    return False
                with open(f"/proc/{pid}/stat") as stat:
                    return stat.read().rsplit(")", 1)[1].split()[0] == "T"

            await_true(is_stopped, 10, "the command to stop")
            holder.send_signal(number)
            code = holder.wait(timeout=10 * SLOW)
            expect(code == 128 + number, f"signal {number}: exit status {code}")


def test_closed_standard_descriptors_are_no_harm():
    with Cluster() as cluster:
        cluster.leader()
        held = os.path.join(cluster.folder, "held")
        for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
            for arguments in (f"lock closed -- touch {held}", "put key value", "get key", "status"):
                result = run(["sh", "-c", f"exec {HOLDFAST} {arguments} {closed}"],
                             env=cluster.environment())
                # What could not be printed is said to be so.
                silent = ">&-" in closed.split() and arguments in ("get key", "status")
                expect(result.code == (69 if silent else 0), f"{arguments} {closed}: {result}")
            expect(os.path.exists(held), f"with {closed} the command did not run")
            os.unlink(held)
