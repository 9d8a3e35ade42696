"""Ports of loopback that surely nobody else's tests use, below the range that the kernel gives to clients.

The ports are cut into blocks. A run owns a block as long as it holds the lock on the block's file,
which ends with the process, however it ends. So runs beside each other, also of other trees and
users, never draw the same port, and a node that is stopped for a while finds its own one free.
"""
import fcntl
import os
import random
import socket
import threading

FIRST, END, BLOCK = 10000, 30000, 40
FOLDER = "/tmp/holdfast-test-ports"  # Not below TMPDIR: runs with another one share the ports.

_owned = []  # Files of the blocks, open and locked until the process ends.
_left = []   # Ports of the newest block that were not given out.
_drawing = threading.Lock()


def own(number):
    """The file of that block, locked; None when another run has it, or when it may not be opened."""
    path = os.path.join(FOLDER, str(number))
    try:
        file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _own_block():
    """Takes over all ports of a block that nobody has."""
    try:
        os.mkdir(FOLDER)
        os.chmod(FOLDER, 0o1777)
    except FileExistsError:
        pass
    numbers = list(range((END - FIRST) // BLOCK))
    random.shuffle(numbers)
    for number in numbers:
        file = own(number)
        if file is not None:
            _owned.append(file)
            return list(range(FIRST + number * BLOCK, FIRST + (number + 1) * BLOCK))
    raise RuntimeError(f"other runs hold all blocks of ports (locks in {FOLDER})")


def _is_free(port, host):
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_run(count, host="127.0.0.1"):
    """The first of `count` ports in a row that are ours, and that no other program listens on."""
    global _left
    if count > BLOCK:
        raise ValueError(f"{count} ports in a row: a block has {BLOCK}")
    with _drawing:
        while True:
            for at in range(len(_left) - count + 1):
                run = _left[at:at + count]
                if run[-1] - run[0] == count - 1 and all(_is_free(port, host) for port in run):
                    del _left[at:at + count]
                    return run[0]
            _left = _own_block()


def free_ports(count, host="127.0.0.1"):
    return [free_run(1, host) for _ in range(count)]


def free_dev_port(nodes=3):
    """A port P such that P+1.. and P+11.. are free, for `holdfast dev`."""
    return free_run(11 + nodes)
