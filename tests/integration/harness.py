"""Runs real holdfastd and holdfast processes on loopback, for the integration tests.

Everything started here is stopped here, by pid; everything written is below one temporary folder
on a real disk (TMPDIR or /var/tmp). Nothing waits longer than its deadline.
"""
import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from ports import free_dev_port, free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, os.environ.get("BIN", "build"))
HOLDFASTD = os.path.join(BIN, "holdfastd")
HOLDFAST = os.path.join(BIN, "holdfast")
# A holdfastd that has the failpoints, and the fault proxy (docs/faults.md).
FAILPOINTD = os.path.join(ROOT, os.environ.get("FAILPOINTD", "build/failpoints/holdfastd"))
PROXY = os.path.join(ROOT, os.environ.get("PROXY", "build/plain/tests/proxy"))
LOAD = os.path.join(ROOT, os.environ.get("LOAD", "build/plain/tests/load"))
SOAK = bool(os.environ.get("SOAK"))
# Sanitizers make everything slower; deadlines that only guard against hanging are stretched.
SANITIZED = os.path.basename(BIN) != "build"
SLOW = 4 if SANITIZED else 1

os.environ.setdefault("TSAN_OPTIONS", f"suppressions={ROOT}/tests/tsan.supp")
# What a node never says unless there is a bug in it.
COMPLAINTS = ("assertion failed", "Sanitizer", "runtime error:")

_pause = threading.Event()
_processes = []


class Failure(AssertionError):
    """A broken expectation, with a text for people."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def await_true(condition, timeout, text):
    """Asks again every 10 ms until `condition` is true; other processes cannot be subscribed to."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout * SLOW:g} s: {text}")
        _pause.wait(0.01)


def memory_base():
    """Where files cost no disk, for tests that are not about disks but make thousands of segments."""
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if room.f_bavail * room.f_frsize > 2 << 30 else None


class Folder:
    """A temporary folder on a real disk, or below `base`, removed on close."""

    def __init__(self, base=None):
        base = base or os.environ.get("TMPDIR", "/var/tmp")
        self.path = tempfile.mkdtemp(prefix="holdfast-test-", dir=base)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        if os.environ.get("KEEP"):
            print("kept:", self.path)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def spawn(arguments, **options):
    """A child process that is killed when the test program ends, whatever happens."""
    process = subprocess.Popen(arguments, **options)
    _processes.append(process)
    return process


def end(process, number=signal.SIGKILL):
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
    process.wait(timeout=20 * SLOW)


@atexit.register
def end_all():
    for process in _processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}, stdout {self.out!r}, stderr {self.err!r}"


def run(arguments, timeout=30, input=None, env=None):
    process = spawn(arguments, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
    try:
        out, err = process.communicate(input, timeout=timeout * SLOW)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise Failure(f"{arguments} did not end within {timeout * SLOW} s; stderr: {err}")
    finally:
        if process in _processes:
            _processes.remove(process)
    return Result(process.returncode, out, err)


class Node:
    def __init__(self, cluster, number, ports=None):
        client, peer = ports or (cluster.ports[number - 1], cluster.ports[cluster.size + number - 1])
        self.cluster, self.number = cluster, number
        self.name = f"n{number}"
        self.folder = os.path.join(cluster.folder, self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.client = f"127.0.0.1:{client}"
        self.peer = f"127.0.0.1:{peer}"
        self.process = None
        self.extra = []         # Flags of this node alone.
        self.environment = {}   # Variables of this node alone.

    def arguments(self):
        members = ",".join(f"{n.name}={n.peer}" for n in self.cluster.nodes)
        return [self.cluster.program, "--name", self.name, "--data", self.data,
                "--client", self.client, "--peer", self.peer,
                "--cluster", members] + self.cluster.extra + self.extra

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = spawn(self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 env=dict(os.environ, **self.environment))
        return self

    def kill(self):
        end(self.process, signal.SIGKILL)

    def stop(self):
        end(self.process, signal.SIGTERM)
        return self.process.returncode

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def dump(self):
        """The log's records as holdfastd --dump prints them; the node must not run."""
        result = run([HOLDFASTD, "--dump", self.data], timeout=120)
        expect(result.code == 0, f"--dump of {self.name}: {result}")
        return [json.loads(line) for line in result.out.splitlines()]


class Cluster:
    """Three (or `size`) holdfastd processes. As a context manager it ends them and its folder."""

    def __init__(self, size=3, extra=(), start=True, program=HOLDFASTD, base=None):
        self.size, self.extra, self.program = size, list(extra), program
        self.keeper = Folder(base)
        self.folder = self.keeper.path
        self.ports = free_ports(2 * size)
        self.nodes = []
        self.nodes = [Node(self, i) for i in range(1, size + 1)] if size else []
        if start:
            for node in self.nodes:
                node.start()

    @property
    def endpoints(self):
        return ",".join(node.client for node in self.nodes)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for node in self.nodes:
            if node.is_alive():
                node.kill()
        complaints = [line for node in self.nodes if node.process for line in node.log().split("\n")
                      if any(word in line for word in COMPLAINTS)]
        self.keeper.__exit__()
        expect(kind is not None or not complaints, f"a node complained: {complaints[:3]}")

    def environment(self):
        return dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)

    def holdfast(self, *arguments, timeout=30, input=None):
        return run([HOLDFAST, *arguments], timeout, input, self.environment())

    def spawn_holdfast(self, *arguments, **options):
        options.setdefault("env", self.environment())
        options.setdefault("stdin", subprocess.DEVNULL)
        return spawn([HOLDFAST, *arguments], **options)

    def status(self):
        result = self.holdfast("status", "--json")
        expect(result.code in (0, 77), f"status: {result}")
        return json.loads(result.out)

    def leader(self, timeout=20):
        """The node that leads, as soon as it says so itself."""
        def ask():
            status = self.status()
            name = status["leader"]
            for node in status["nodes"]:
                if name is not None and node["name"] == name and node["role"] == "leader":
                    return next(n for n in self.nodes if n.name == name)
            return None
        return await_true(ask, timeout, "a leader")

    def equal_state(self, timeout=20):
        """Waits until every node has applied the same index and has the same state hash."""
        def ask():
            nodes = self.status()["nodes"]
            states = {(n["applied"], n["state_hash"]) for n in nodes if n["reachable"]}
            return states if len(states) == 1 and all(n["reachable"] for n in nodes) else None
        return await_true(ask, timeout, "equal state on all nodes")
