"""The checker of histories itself: it accepts a right history and finds each planted wrong."""
import copy

from harness import Failure, expect
import history


def entry(index, method, log_ms, session=0, sequence=0, **params):
    return {"index": index, "term": 1, "kind": "command", "method": method, "log_ms": log_ms,
            "session": session, "sequence": sequence, "params": params}


def operation(op, key, start, end, number, value="", status="OK", client=0):
    return {"client": client, "op": op, "key": key, "value": value, "start": start, "end": end,
            "status": status, "number": number}


ENTRIES = [
    entry(1, "session_open", 100, ttl_ms=2000),
    entry(2, "session_open", 110, ttl_ms=9000),
    entry(3, "put", 120, key="k", value="one"),
    entry(4, "lock_acquire", 130, session=1, sequence=1, name="l", wait=True),
    entry(5, "lock_acquire", 140, session=2, sequence=1, name="l", wait=True),
    entry(6, "lock_release", 150, session=1, sequence=2, name="l", token=1),
    entry(7, "put", 160, key="k", value="two"),
    entry(8, "lock_release", 170, session=2, sequence=2, name="l", token=2),
]
OPERATIONS = [
    operation("put", "k", 0, 10, 3, "one"),
    operation("acquire", "l", 11, 12, 1),
    operation("release", "l", 20, 25, 1),
    operation("acquire", "l", 13, 24, 2, client=1),
    operation("put", "k", 30, 40, 7, "two"),
    operation("get", "k", 41, 45, 7, "two"),
    operation("release", "l", 50, 55, 2, client=1),
]


def refuses(change, text, entries=None):
    operations = copy.deepcopy(OPERATIONS)
    change(operations)
    try:
        history.check(operations, [entries or ENTRIES] * 3)
    except Failure:
        return
    raise Failure(f"not noticed: {text}")


def test_right_history_is_accepted():
    counts = history.check(OPERATIONS, [ENTRIES, ENTRIES, ENTRIES[:6]])
    expect(counts == {"operations": 7, "acknowledged": 7, "entries": 8}, str(counts))


def test_every_planted_wrong_is_found():
    refuses(lambda o: o[0].update(number=2), "an acknowledged write that is not in the log")
    refuses(lambda o: o[4].update(value="three"), "another value under the revision")
    refuses(lambda o: o[5].update(number=3, value="one"), "a stale read")
    refuses(lambda o: o[5].update(value="one"), "a value that was never there")
    refuses(lambda o: o[3].update(number=1), "a token given twice")
    refuses(lambda o: o[3].update(end=15), "a lock held by two at once")
    refuses(lambda o: o[1].update(number=9), "a grant that the log does not have")
    refuses(lambda o: o.append(operation("cas", "c", 60, 61, 0, "x", "MISMATCH")),
            "a lone writer's lost value")
    short = [e for e in ENTRIES if e["index"] < 7]
    refuses(lambda o: None, "writes behind the end of the log", short)
    back = copy.deepcopy(ENTRIES)
    back[6]["log_ms"] = 90
    refuses(lambda o: None, "cluster time that runs back", back)


def test_what_is_missing_of_a_state_is_found():
    newest = history.newest_writes(OPERATIONS)
    expect({key: last["number"] for key, last in newest.items()} == {"k": 7}, str(newest))
    history.check_values(newest, {"k": (7, "two")})
    history.check_values(newest, {"k": (8, "of an unanswered write")})
    for found in ({}, {"k": (3, "one")}, {"k": (7, "one")}):
        try:
            history.check_values(newest, found)
        except Failure:
            continue
        raise Failure(f"not noticed: {found}")
