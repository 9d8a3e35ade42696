"""A cluster of three nodes on loopback, started by a build's own `holdfast dev`, for measurements."""
import atexit
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile

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
            [self.holdfast, "dev", "--dir", self.folder, "--port", str(random.randrange(20000, 28000))],
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
        count = 0
        for node in self.nodes():
            with open(os.path.join(node, "log"), errors="replace") as file:
                count += file.read().count("event=snapshot_saved ")
        return count

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
