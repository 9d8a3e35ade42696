"""The command line as SURFACE-reading scripts use it: outputs, exit statuses, JSON."""
import json
import os
import signal
import subprocess

from harness import HOLDFAST, HOLDFASTD, SLOW, Cluster, Folder, await_true, end, expect, \
    free_dev_port, run, spawn
from rpc import Rpc


def test_keys_by_hand():
    with Cluster() as cluster:
        cluster.leader()
        hold = cluster.holdfast
        expect(hold("get", "k").code == 1, "an absent key is 1")
        expect(hold("put", "k", "one").code == 0, "put")
        got = hold("get", "k")
        expect((got.code, got.out) == (0, "one\n"), f"get: {got}")
        first = json.loads(hold("get", "k", "--json").out)
        expect((first["key"], first["value"]) == ("k", "one"), f"get --json: {first}")
        expect(hold("cas", "k", "wrong", "two").code == 1, "cas mismatch is 1")
        expect(hold("cas", "k", "one", "two").code == 0, "cas")
        second = json.loads(hold("get", "k", "--json").out)
        expect(second["value"] == "two" and second["revision"] > first["revision"], f"{second}")
        for key in ("a/1", "a/2", "b/1"):
            hold("put", key, key.upper())
        listed = [json.loads(line) for line in hold("ls", "a/", "--json").out.splitlines()]
        expect([row["key"] for row in listed] == ["a/1", "a/2"], f"ls: {listed}")
        expect(hold("del", "k").code == 0 and hold("del", "k").code == 1, "del")
        expect(hold("put", "--x", "k", "v").code == 64, "an unknown option is 64")
        expect(hold("--json", "get", "a/1").code == 0, "options stand before the command too")
        expect(hold("put", "n", "-5").code == 0 and hold("get", "n").out == "-5\n", "a value may be -5")


def test_unknown_commands_and_options_are_64():
    for arguments in (["frobnicate"], ["elect", "a"], ["counter", "ls"],
                      ["member", "grow"], ["lock", "a", "--shared", "--permits", "2"], ["bench", "counter"], [],
                      ["put", "a"], ["dev", "add"], ["--endpoints", "nonsense", "status"]):
        result = run([HOLDFAST, *arguments],
                     env=dict(os.environ, HOLDFAST_ENDPOINTS="127.0.0.1:1"))
        expect(result.code == 64 and result.err.strip(), f"{arguments}: {result}")


def test_status_with_and_without_a_leader():
    with Cluster() as cluster:
        leader = cluster.leader()
        status = cluster.status()
        expect(status["leader"] == leader.name and len(status["nodes"]) == 3, f"{status}")
        for number, node in enumerate(status["nodes"]):
            expect(node["name"] == f"n{number + 1}" and node["phi"] is None, f"{node}")
            expect(node["client"] == cluster.nodes[number].client, f"{node}")
        expect(cluster.holdfast("status").code == 0, "status for people")
        others = [node for node in cluster.nodes if node is not leader]
        for node in (leader, others[0]):
            node.kill()

        def leaderless():
            result = cluster.holdfast("status", "--json")
            return result.code == 77 and json.loads(result.out)
        status = await_true(leaderless, 10, "status to say that there is no leader")
        expect(status["leader"] is None, f"{status}")
        down = [node for node in status["nodes"] if not node["reachable"]]
        expect(len(down) == 2 and all(node["role"] is None and node["commit"] is None
                                      for node in down), f"{status}")
        result = cluster.holdfast("--timeout", "1s", "put", "k", "v")
        expect(result.code == 77, f"a write without a quorum: {result}")


def test_sessions_are_listed_and_ended():
    with Cluster() as cluster:
        cluster.leader()
        holder = cluster.spawn_holdfast("lock", "s", "--owner", "me", stdout=subprocess.PIPE,
                                        text=True)
        expect(holder.stdout.readline().startswith("s token="), "the lock")
        rows = [json.loads(line) for line in
                cluster.holdfast("session", "ls", "--json").out.splitlines()]
        expect(len(rows) == 1, f"session ls: {rows}")
        locks = cluster.holdfast("locks", "--json").out.splitlines()
        expect(len(locks) == 1 and json.loads(locks[0])["owner"] == "me", f"locks: {locks}")
        expect(cluster.holdfast("session", "end", str(rows[0]["session"])).code == 0, "session end")
        expect(holder.wait(timeout=10 * SLOW) == 76, "the holder of an ended session ends with 76")
        expect(cluster.holdfast("locks", "--json").out == "", "the lock is free")


class Dev:
    def __init__(self, folder=None):
        self.port = free_dev_port()
        arguments = [HOLDFAST, "dev", "--port", str(self.port)]
        if folder:
            arguments += ["--dir", folder]
        self.process = spawn(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        while "ready" not in self.lines:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"dev ended: {self.lines} {self.process.stderr.read()}")
            self.lines.append(line.strip())
        self.endpoints = ",".join(f"127.0.0.1:{self.port + i}" for i in (1, 2, 3))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20 * SLOW)


def pid_of(folder, node):
    with open(os.path.join(folder, node, "pid")) as file:
        return int(file.read())


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_dev_keeps_its_promises_to_scripts():
    with Folder() as folder:
        dev = Dev(folder)
        with open(os.path.join(folder, "endpoints")) as file:
            expect(file.read().strip() == dev.endpoints, "DIR/endpoints")
        environment = dict(os.environ, HOLDFAST_ENDPOINTS=dev.endpoints)
        expect(run([HOLDFAST, "put", "k", "v"], env=environment).code == 0, "put")
        victim = pid_of(folder, "n2")
        os.kill(victim, signal.SIGKILL)
        await_true(lambda: not running(victim), 5, "n2 to be reaped")
        expect(not running(pid_of(folder, "n2")), "a node that dies stays dead")
        result = run([HOLDFAST, "dev", "restart", "2", "--dir", folder])
        expect(result.code == 0, f"dev restart: {result}")
        expect(running(pid_of(folder, "n2")) and pid_of(folder, "n2") != victim, "n2 runs again")
        pids = [pid_of(folder, f"n{i}") for i in (1, 2, 3)]
        expect(dev.stop() == 0, "SIGTERM ends dev with 0")
        expect(not any(map(running, pids)), "dev stops its nodes")
        result = run([HOLDFAST, "dev", "restart", "2", "--dir", folder])
        expect(result.code == 69, f"dev restart without a dev: {result}")

        again = Dev(folder)
        environment["HOLDFAST_ENDPOINTS"] = again.endpoints
        result = run([HOLDFAST, "get", "k"], env=environment)
        expect(result.out == "v\n", f"a kept folder keeps its data: {result}")
        pids = [pid_of(folder, f"n{i}") for i in (1, 2, 3)]
        again.process.kill()
        again.process.wait()
        await_true(lambda: not any(map(running, pids)), 5, "the nodes to end with a killed dev")


def test_dev_without_a_folder_leaves_none():
    with Folder() as folder:
        os.environ["TMPDIR"], before = folder, os.environ.get("TMPDIR")
        try:
            dev = Dev()
            expect(os.listdir(folder) != [], "the nodes' data is somewhere")
            expect(dev.stop() == 0, "SIGTERM ends dev with 0")
            expect(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def test_bench_prints_one_object():
    with Cluster() as cluster:
        cluster.leader()
        for workload in ("put", "get", "lock", "handoff"):
            result = cluster.holdfast("bench", workload, "--clients", "8", "--keys", "100",
                                      "--seconds", "1", "--warmup", "0",
                                      "--json")
            expect(result.code == 0, f"bench {workload}: {result}")
            row = json.loads(result.out)
            expect(row["workload"] == workload and row["ops"] > 0 and row["errors"] == 0, f"{row}")
            expect(row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["max_us"], f"{row}")


def test_stopped_and_restarted_cluster_keeps_everything():
    with Cluster() as cluster:
        cluster.leader()
        for number in range(20):
            cluster.holdfast("put", f"k{number}", str(number))
        for node in cluster.nodes:
            expect(node.stop() == 0, f"{node.name}: {node.log()[-500:]}")
        for node in cluster.nodes:
            node.start()
        cluster.leader()
        for number in range(20):
            got = cluster.holdfast("get", f"k{number}")
            expect(got.out == f"{number}\n", f"k{number}: {got}")
        cluster.equal_state()


def test_cluster_forms_only_when_all_are_there():
    with Cluster(start=False) as cluster:
        for node in cluster.nodes[:2]:
            node.start()
        await_true(lambda: "n3" in cluster.nodes[0].log(), 10, "a line that names the silent node")
        result = cluster.holdfast("--timeout", "1s", "put", "k", "v")
        expect(result.code == 77, f"a write before the cluster is formed: {result}")
        cluster.nodes[2].start()
        cluster.leader()
        expect(cluster.holdfast("put", "k", "v").code == 0, "put")


def test_one_node_is_a_cluster_too():
    with Cluster(size=1) as cluster:
        cluster.leader()
        expect(cluster.holdfast("put", "k", "v").code == 0, "put")
        cluster.nodes[0].kill()
        cluster.nodes[0].start()
        cluster.leader()
        expect(cluster.holdfast("get", "k").out == "v\n", "get")


def test_version_and_help():
    for program in (HOLDFAST, HOLDFASTD):
        for option in ("--version", "--help"):
            result = run([program, option])
            expect(result.code == 0 and result.out.strip(), f"{program} {option}: {result}")


def test_write_that_was_sent_and_never_answered_is_74():
    """The leader takes the write, and both followers are frozen."""
    for arguments in (["put", "k", "new"], ["cas", "k", "old", "new"], ["del", "k"]):
        with Cluster() as cluster:
            leader = cluster.leader()
            expect(cluster.holdfast("put", "k", "old").code == 0, "put")
            for node in cluster.nodes:
                if node is not leader:
                    node.process.send_signal(signal.SIGSTOP)
            result = run([HOLDFAST, "--endpoints", leader.client, "--timeout", "300ms", *arguments])
            expect(result.code == 74, f"{arguments}: expected 74, got {result}")
            result = run([HOLDFAST, "--endpoints", leader.client, "--timeout", "1s", "lock", "l",
                          "--wait", "500ms", "--", "true"])
            expect(result.code in (75, 77), f"lock: expected 75 or 77, got {result}")


def test_top_draws_nodes_rates_and_locks():
    with Cluster() as cluster:
        cluster.leader()
        holder = cluster.spawn_holdfast("lock", "busy", "--owner", "me", stdout=subprocess.PIPE, text=True)
        expect(holder.stdout.readline().startswith("busy token="), "the lock is held")
        shown = cluster.holdfast("top", "--frames", "2", "--interval", "0.2", "--json")
        expect(shown.code == 0, f"top: {shown}")
        frames = [json.loads(line) for line in shown.out.splitlines()]
        expect(len(frames) == 2 and frames[1]["has_leader"] and frames[1]["sessions"] == 1, f"{frames}")
        expect([node["name"] for node in frames[1]["nodes"]] == ["n1", "n2", "n3"], f"{frames}")
        expect(sum(node["role"] == "leader" for node in frames[1]["nodes"]) == 1, f"{frames}")
        expect([lock["owner"] for lock in frames[1]["locks"]] == ["me"], f"{frames}")
        text = cluster.holdfast("top", "--frames", "1")
        expect(text.code == 0 and "busy" in text.out and "\033" not in text.out, f"{text}")
        end(holder)
        for node in cluster.nodes[:2]:
            node.kill()
        # A leader that has lost its majority goes on leading for an election timeout.
        await_true(lambda: cluster.holdfast("top", "--frames", "1").code == 77, 10,
                   "top to say that nobody leads")


def test_top_ends_by_a_signal_in_the_middle_of_a_look():
    """One node is frozen, another is only known by what the first says: there is more to ask when all is given up."""
    with Cluster() as cluster:
        cluster.leader()
        frozen = cluster.nodes[1]
        environment = dict(os.environ, HOLDFAST_ENDPOINTS=f"{cluster.nodes[0].client},{frozen.client}")
        os.kill(frozen.process.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                top = cluster.spawn_holdfast("top", "--interval", "0.1", "--json", env=environment,
                                             stdout=subprocess.PIPE, text=True)
                expect(json.loads(top.stdout.readline())["nodes"], "a first picture")
                # The next look has begun, and lasts for the second given to the frozen node. When our own questions,
                # which came later, are answered, so is its to the first.
                for _ in range(3):
                    with Rpc(cluster.nodes[0].client) as rpc:
                        expect(rpc.call("status")[0] is None, "a status")
                top.send_signal(signal.SIGINT)
                expect(top.wait(timeout=10 * SLOW) == 0, f"top ended with {top.returncode}")
        finally:
            os.kill(frozen.process.pid, signal.SIGCONT)


def test_doctor_measures_and_says_what_is_wrong():
    with Cluster() as cluster, Folder() as folder:
        cluster.leader()
        well = cluster.holdfast("doctor", "--seconds", "1", "--dir", folder, "--json")
        found = json.loads(well.out)
        expect(well.code == 0 and found["advice"] == [], f"doctor: {well}")
        expect(len(found["nodes"]) == 3 and all(node["answers"]["count"] > 0 for node in found["nodes"]),
               f"{found}")
        expect(found["commits"]["count"] > 0 and found["disk"]["count"] > 0, f"{found}")
        expect(found["ttl_safe_ms"] >= found["ttl_floor_ms"] > 0, f"{found}")
        expect(os.listdir(folder) == [], "the disk's file is gone")
        expect(json.loads(cluster.holdfast("session", "ls", "--json").out or "null") is None,
               "no session is left")
        absent = cluster.holdfast("doctor", "--seconds", "1", "--dir", f"{folder}/absent")
        expect(absent.code == 1 and f"{folder}/absent" in absent.out, f"a folder that is not there: {absent}")
        leader = cluster.leader()
        victim = next(node for node in cluster.nodes if node is not leader)
        victim.kill()
        ill = cluster.holdfast("doctor", "--seconds", "1")
        expect(ill.code == 1 and f"! {victim.name} " in ill.out, f"doctor: {ill}")
