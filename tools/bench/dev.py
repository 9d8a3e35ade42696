"""A cluster of three nodes on loopback, started by a build's own `holdfast dev`, for measurements."""
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "integration"))
from ports import free_dev_port

TICKS = os.sysconf("SC_CLK_TCK")


class Dev:
    def __init__(self, build, settings=None):
        """`settings` are settings of holdfastd; those that this build does not know are left out."""
        self.holdfast = os.path.join(build, "holdfast")
        known = subprocess.run([os.path.join(build, "holdfastd"), "--help"], text=True,
                               capture_output=True, check=True).stdout
        variables = {f"HOLDFAST_{name.upper().replace('-', '_')}": value
                     for name, value in (settings or {}).items() if f"--{name}" in known}
        self.folder = tempfile.mkdtemp(prefix="holdfast-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        atexit.register(self.close)
        self.process = subprocess.Popen(
            [self.holdfast, "dev", "--dir", self.folder, "--port", str(free_dev_port())],
            env=dict(os.environ, **variables), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True)
        for line in self.process.stdout:
            if line == "ready\n":
                break
        else:
            raise SystemExit(f"{self.holdfast} dev did not become ready")
        with open(os.path.join(self.folder, "endpoints")) as file:
            self.endpoints = file.read().strip()

    def nodes(self):
        return [os.path.join(self.folder, f"n{number}") for number in (1, 2, 3)]

    def cpu_seconds(self):
        """Of all nodes until now, user and system."""
        total = 0
        for node in self.nodes():
            with open(os.path.join(node, "pid")) as file:
                pid = file.read().strip()
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def snapshots(self):
        """How many were finished, on all nodes."""
        return sum(self.snapshots_of(node) for node in self.nodes())

    @staticmethod
    def snapshots_of(node):
        with open(os.path.join(node, "log"), errors="replace") as file:
            return file.read().count("event=snapshot_saved ")

    def start(self, *arguments):
        """Somebody waits for it, or ends it."""
        return subprocess.Popen([self.holdfast, "--endpoints", self.endpoints, *map(str, arguments)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def bench(self, workload, *options):
        result = subprocess.run(
            [self.holdfast, "--endpoints", self.endpoints, "bench", workload, "--json", *map(str, options)],
            text=True, capture_output=True, check=True)
        return json.loads(result.stdout)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
