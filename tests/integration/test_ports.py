"""Ports of runs beside each other."""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import ports
from harness import expect

# Says which ports it has, and keeps them until its input ends.
TAKES = ("import sys; sys.path.insert(0, sys.argv[1]); import ports; "
         "print(*ports.free_ports(ports.BLOCK)); print(ports.free_dev_port(5), flush=True); sys.stdin.read()")


def begin_run():
    return subprocess.Popen([sys.executable, "-c", TAKES, sys.path[0]], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_runs_beside_each_other_never_share_a_port():
    runs = [begin_run() for _ in range(4)]
    try:
        taken = []
        for run in runs:
            taken += [int(port) for port in run.stdout.readline().split()]
            first = int(run.stdout.readline())
            taken += range(first, first + 16)
    finally:
        for run in runs:
            run.communicate()
    expect(len(taken) == 4 * (ports.BLOCK + 16), f"{len(taken)} ports")
    expect(len(set(taken)) == len(taken), "two runs have the same port")


def test_a_block_has_one_owner_and_is_free_when_that_has_ended():
    numbers = range((ports.END - ports.FIRST) // ports.BLOCK)
    number, first = next((n, file) for n, file in ((n, ports.own(n)) for n in numbers) if file is not None)
    second = ports.own(number)
    expect(second is None, "a block has two owners")

    os.close(first)
    third = ports.own(number)
    expect(third is not None, "the block of an owner that has ended is not free")
    os.close(third)


def test_threads_of_one_run_never_share_a_port():
    with ThreadPoolExecutor(8) as pool:
        taken = [port for drawn in pool.map(lambda _: ports.free_ports(20), range(16)) for port in drawn]
    expect(len(set(taken)) == len(taken), f"{len(taken) - len(set(taken))} ports were drawn twice")
