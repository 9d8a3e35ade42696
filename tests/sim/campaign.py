#!/usr/bin/env python3
"""make sim-campaign: fresh seeds in pieces, added up over many runs and versions.

Each piece of 1,000 seeds that has ended is one line of the file RECORD. Who stops the campaign loses
the piece under way; who starts it again goes on behind the last seed of the record, so that no seed
counts twice. SEEDS more are run, or until the time is up; then all pieces of the record are added up
by version, as rows of the table in docs/testing.md.

usage: campaign.py SIM     SEEDS=2000 RECORD=build/sim-campaign.jsonl FROM=10001 (of a new record)
SECONDS_MAX=0 (no limit) JOBS=2 PIECE=1000"""
import datetime
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECORD = os.path.join(ROOT, os.environ.get("RECORD", "build/sim-campaign.jsonl"))
PIECE = int(os.environ.get("PIECE", "1000"))
FRESH_FROM = 10001  # Those below were run again and again while the simulator was made.
SITUATION = re.compile(r"^(\w+) +(\d+)  (?:NOT REACHED|\S)", re.MULTILINE)
FIGURES = {
    "virtual_hours": r"virtual hours ([\d.]+)",
    "faults": r", faults (\d+)",
    "operations": r"operations (\d+)",
    "judged": r"of keys and judged (\d+)",
    "cpu_seconds": r"([\d.]+) CPU seconds",
    "passed": r"(\d+) seeds passed",
    "failed": r"seeds passed, (\d+) failed",
}


def version():
    """The commit; a tree with changes of its own is none that others could run."""
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=9"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    return done.stdout.strip() or "unknown"


def pieces():
    if not os.path.exists(RECORD):
        return []
    with open(RECORD, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def run_piece(program, first, count, jobs):
    done = subprocess.run([program, "--many", str(count), "--from", str(first), "--jobs", jobs], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    found = {name: re.search(pattern, done.stdout) for name, pattern in FIGURES.items()}
    if not all(found.values()):
        sys.exit(f"campaign: {program} ended with {done.returncode}: {done.stdout[-400:]}")
    piece = {"first": first, "count": count, "date": datetime.date.today().isoformat(), "version": version()}
    piece.update({name: float(match.group(1)) for name, match in found.items()})
    piece["failed_seeds"] = [int(seed) for seed in re.findall(r"seed (\d+) failed", done.stdout)]
    piece["unreached"] = [name for name, hits in SITUATION.findall(done.stdout.split("SOMETIMES")[1]) if hits == "0"]
    return piece, done.stdout


def row(name, some):
    total = {figure: sum(piece[figure] for piece in some) for figure in FIGURES}
    unreached = set(some[0]["unreached"]).intersection(*(piece["unreached"] for piece in some))
    rate = total["virtual_hours"] * 3600 / total["cpu_seconds"]
    names = ", ".join(sorted(unreached)) if len(unreached) <= 3 else str(len(unreached))
    dates = sorted({piece["date"] for piece in some})
    seeds = f"{min(p['first'] for p in some)} to {max(p['first'] + p['count'] for p in some) - 1}"
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (f"| {days} | {name} | {seeds} | {total['passed']:,.0f} | {total['failed']:,.0f} | "
            f"{total['virtual_hours']:,.1f} | {total['faults']:,.0f} | {total['operations']:,.0f} | {rate:,.0f} | "
            f"{'all but ' + names if unreached else 'all'} |")


def print_table(record):
    print("| date | version | seeds | passed | failed | virtual hours | faults | operations | virtual seconds in a CPU "
          "second | rare situations |\n|---|---|---|---|---|---|---|---|---|---|")
    for name in dict.fromkeys(piece["version"] for piece in record):
        print(row(name, [piece for piece in record if piece["version"] == name]))
    print(row("added up", record))


def main(program):
    wanted, seconds_max = int(os.environ.get("SEEDS", "2000")), float(os.environ.get("SECONDS_MAX", "0"))
    jobs = os.environ.get("JOBS", str(os.cpu_count()))
    begun, record, done = time.monotonic(), pieces(), 0
    while done < wanted and not (seconds_max and time.monotonic() - begun >= seconds_max):
        first = max((piece["first"] + piece["count"] for piece in record), default=int(os.environ.get("FROM", FRESH_FROM)))
        piece, output = run_piece(program, first, min(PIECE, wanted - done), jobs)
        record.append(piece)
        done += piece["count"]
        with open(RECORD, "a", encoding="utf-8") as file:
            file.write(json.dumps(piece) + "\n")
        print(f"seeds {first} to {first + piece['count'] - 1}: {piece['failed']:.0f} failed, "
              f"{piece['cpu_seconds']:.0f} CPU seconds", flush=True)
        if piece["failed_seeds"]:
            print(output[output.index("seed "):][:4000], flush=True)
    if record:
        print_table(record)
    failed = [seed for piece in record for seed in piece["failed_seeds"]]
    if failed:
        sys.exit(f"campaign: seeds that failed: {' '.join(map(str, failed))}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: campaign.py SIM, the simulator")
    main(os.path.abspath(sys.argv[1]))
