"""Runs the integration tests: every test_* function of every test_*.py beside this file.

usage: run.py [PART-OF-A-NAME ...]     SOAK=1 for the long counts, KEEP=1 keeps the folders,
ROOT=1 runs what needs root instead: root_*.py
"""
import glob
import importlib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


class Skipped(Exception):
    pass


def main(wanted):
    passed = failed = skipped = 0
    pattern = "root_*.py" if os.environ.get("ROOT") else "test_*.py"
    for path in sorted(glob.glob(os.path.join(HERE, pattern))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        names = [name for name in vars(module) if name.startswith("test_")]
        for name in names:
            full = f"{module.__name__[5:]}.{name[5:]}"
            if wanted and not any(part in full for part in wanted):
                continue
            started = time.monotonic()
            try:
                note = getattr(module, name)()
            except Exception as problem:  # A failed test must not end the run.
                if type(problem).__name__ == "Skipped":
                    skipped += 1
                    print(f"skipped {full}: {problem}", flush=True)
                    continue
                failed += 1
                print(f"FAILED {full}", flush=True)
                traceback.print_exc()
                sys.stderr.flush()
                continue
            passed += 1
            tail = f": {note}" if note else ""
            print(f"ok {full} ({time.monotonic() - started:.1f} s){tail}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not (passed or skipped) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
