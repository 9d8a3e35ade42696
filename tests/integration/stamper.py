"""Under a lock: says every millisecond that it lives, and so does its child; neither heeds SIGTERM.

usage: stamper.py FILE     appends CLOCK_MONOTONIC nanoseconds, one number a line
"""
import os
import signal
import sys
import threading
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
who = "parent" if os.fork() else "child"
pause = threading.Event()
with open(sys.argv[1], "a", buffering=1) as stamps:
    while True:
        stamps.write(f"{time.monotonic_ns()} {who} {os.getpid()}\n")
        pause.wait(0.001)
