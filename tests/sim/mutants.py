#!/usr/bin/env python3
"""make sim-mutants: planted bugs against the simulator.

Each row of mutant_list.py is one small edit of the sources. The edited copies alone are compiled, and
linked before the simulator's own libraries. The mutant must pass QUIET seeds without faults, unless
its row says why it cannot, and one of at most SEEDS seeds with faults must break a law of tests/sim,
a checker of histories or a numbered invariant of a check.c. A seed in which the mutant merely runs
into another assertion, a signal or the time limit is counted as a crash, and the search goes on.

usage: mutants.py [NAME...]   CC, CFLAGS, MAIN, LIBS, LDFLAGS, CORE, SIM and FOLDER
come from the Makefile.

With --check no seed is run: every edit must find its place, and the edited sources must compile."""
import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import mutant_list

SEEDS = int(os.environ.get("SEEDS", "2000"))
QUIET = int(os.environ.get("QUIET", "100"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(os.environ.get("FOLDER", tempfile.gettempdir()), f"mutants-{os.getpid()}")
STEP = 50  # Seeds between two lines of progress.


class Trouble(Exception):
    """The mutant could not be tried."""


def words(name):
    return shlex.split(os.environ[name])


def run(arguments):
    return subprocess.run(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)


def must_run(arguments):
    done = run(arguments)
    if done.returncode != 0:
        raise Trouble("does not build: " + done.stdout[-400:])


# --- Building -------------------------------------------------------------------------------------

def edited(mutant):
    """The texts of the files that the mutant changes, by path."""
    texts = {}
    for path, old, new in mutant.edits:
        if path not in texts:
            with open(os.path.join(ROOT, path), encoding="utf-8") as source:
                texts[path] = source.read()
        if texts[path].count(old) != 1:
            raise Trouble(f"the place is found {texts[path].count(old)} times in {path}: {old}")
        texts[path] = texts[path].replace(old, new)
    return texts


def build_core(targets):
    """The client's core is linked into one object, of which only core_*() is seen."""
    core = os.path.join(FOLDER, "core.o")
    objects = words("CORE")
    for path, target in targets.items():
        unedited = [name for name in objects if name.endswith("/" + path[:-2] + ".o")]
        if len(unedited) != 1:
            raise Trouble(path + " is not an object of the core")
        objects = [target if name == unedited[0] else name for name in objects]
    must_run(["ld", "-r", "-o", core, *objects])
    must_run(["objcopy", "--wildcard", "--keep-global-symbol=core_*", core])
    return core


def written(mutant):
    """Where the edited copies are, by path."""
    sources = {}
    for path, text in edited(mutant).items():
        sources[path] = os.path.join(FOLDER, mutant.name, path)
        os.makedirs(os.path.dirname(sources[path]), exist_ok=True)
        with open(sources[path], "w", encoding="utf-8") as file:
            file.write(text)
    return sources


def check(mutant):
    """What is wrong with its row; None: nothing."""
    try:
        must_run([os.environ.get("CC", "cc"), "-std=c11", "-I.", "-w", "-fsyntax-only", *written(mutant).values()])
    except Trouble as trouble:
        return f"{mutant.name}: {trouble}"
    return None


def build(mutant):
    """The archives still hold the unedited objects; no symbol is left that would pull them in."""
    program = os.path.join(FOLDER, mutant.name + ".program")
    libraries = words("LIBS")
    targets = {}
    for path, source in written(mutant).items():
        targets[path] = source[:-2] + ".o"
        must_run([os.environ["CC"], *words("CFLAGS"), "-w", "-c", "-o", targets[path], source])
    of_core = {path: target for path, target in targets.items() if path.startswith("client/core")}
    if of_core:
        core = build_core(of_core)
        libraries = [core if name.endswith("/client-core.o") else name for name in libraries]
    own = [target for path, target in targets.items() if path not in of_core]
    must_run([os.environ["CC"], "-o", program, *words("MAIN"), *own, "-Wl,--start-group",
              *libraries, "-Wl,--end-group", *words("LDFLAGS")])
    return program


# --- Seeds ----------------------------------------------------------------------------------------

def invariant_of(path, line):
    """The number in the comment before an assertion of a check.c."""
    number = None
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        for text in file.read().split("\n")[:line]:
            comment = re.match(r"\s*/\* (\w+)\. ", text)
            if comment:
                number = comment.group(1)
    return f"invariant {number} of {path.split('/')[0]}/" if number else None


def breaker_of(text):
    law = re.search(r"law (\w+) is broken", text)
    if law:
        return f"`{law.group(1)}`"
    assertion = re.search(r"(\w+/check\.c):(\d+): assertion failed", text)
    if assertion:
        return invariant_of(assertion.group(1), int(assertion.group(2)))
    return None


def crash_of(text):
    assertion = re.search(r"(\w+/\w+\.c:\d+): assertion failed: ([^\n;]*)", text)
    return f"{assertion.group(1)} {assertion.group(2)}"[:90] if assertion else "no assertion"


def failures_of(output):
    """(seed, what it printed) of each seed that failed, by seed."""
    parts = re.split(r"seed (\d+) failed \([^)]*\):", output)[1:]
    return sorted((int(seed), text) for seed, text in zip(parts[::2], parts[1::2]))


def first_failure(program, first, last, options):
    """Of seeds first..last. Lower seeds have all run when a failure is told."""
    while first <= last:
        count = min(STEP, last - first + 1)
        done = run([program, "--many", str(count), "--from", str(first), "--brief", "--stop",
                    *options])
        failures = failures_of(done.stdout)
        if failures:
            return failures[0]
        if done.returncode != 0:
            raise Trouble("the program fails: " + done.stdout[-200:])
        first += count
        show(f"{first - 1} seeds {' '.join(options)}")
    return None


class Outcome:
    def __init__(self):
        self.law = None
        self.seed = None
        self.crashes = []
        self.quiet = None
        self.problems = []


def fails_unedited(seed):
    """Then that seed says nothing about a mutant."""
    return first_failure(words("SIM")[0], seed, seed, []) is not None


def search(program, outcome):
    first = 1
    while first <= SEEDS:
        failure = first_failure(program, first, SEEDS, [])
        if failure is None:
            break
        seed, text = failure
        first = seed + 1
        law = breaker_of(text)
        if law is None:
            outcome.crashes.append(crash_of(text))
        elif fails_unedited(seed):
            outcome.problems.append(f"seed {seed} fails without the mutant too")
        else:
            outcome.law = law
            outcome.seed = seed
            return
    outcome.problems.append("SURVIVED" if not outcome.crashes else
                            "NO LAW: " + outcome.crashes[0])


def judge(mutant):
    outcome = Outcome()
    try:
        program = build(mutant)
        quiet = first_failure(program, 1, QUIET, ["--no-faults"])
        outcome.quiet = quiet is None
        if quiet is not None and not mutant.why_not_quiet:
            outcome.problems.append(f"FAILS WITHOUT FAULTS at {quiet[0]}: "
                                    f"{breaker_of(quiet[1]) or crash_of(quiet[1])}")
        if quiet is None and mutant.why_not_quiet:
            outcome.problems.append("PASSES WITHOUT FAULTS: take the reason out of its row")
        search(program, outcome)
        os.remove(program)
    except Trouble as trouble:
        outcome.problems.append(str(trouble))
    return outcome


# --- What is printed ------------------------------------------------------------------------------

progress = ""


def show(text):
    if sys.stdout.isatty():
        print(f"\r\033[K{progress}: {text}", end="", flush=True)


def print_row(mutant, outcome, seconds):
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    crashes = len(outcome.crashes)
    print(f"| `{mutant.name}` | {mutant.breaks} | {outcome.law or '-'} | {outcome.seed or '-'} | "
          f"{crashes or ''} | {'passes' if outcome.quiet else 'fails'} | {seconds:.0f} |", flush=True)
    for problem in outcome.problems:
        print(f"  {mutant.name}: {problem}", flush=True)


def check_all():
    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            problems = [text for text in pool.map(check, mutant_list.MUTANTS) if text]
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    print("\n".join([*problems, f"{len(mutant_list.MUTANTS)} mutants, {len(problems)} do not apply"]))
    sys.exit(1 if problems else 0)


def main():
    global progress
    names = sys.argv[1:]
    if names == ["--check"]:
        check_all()
    mutants = [mutant for mutant in mutant_list.MUTANTS if not names or mutant.name in names]
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        sys.exit("mutants: no such mutant: " + ", ".join(sorted(unknown)))
    bad = []
    started = time.time()
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("| mutant | what it breaks | killed by | at seed | crashes before | without faults | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for number, mutant in enumerate(mutants, 1):
        begun = time.time()
        progress = f"{number} of {len(mutants)}, {begun - started:.0f} s, {mutant.name}"
        show("building")
        outcome = judge(mutant)
        print_row(mutant, outcome, time.time() - begun)
        if outcome.problems:
            bad.append(mutant.name)
    shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"\n{len(mutants)} mutants, {len(mutants) - len(bad)} killed as they should be, "
          f"{len(bad)} not, {time.time() - started:.0f} s, "
          f"{os.times().children_user + os.times().children_system:.0f} CPU s")
    sys.exit(1 if bad else 0)


main()
