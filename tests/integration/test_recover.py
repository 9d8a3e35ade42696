"""The ways out of a disaster: a saved snapshot, a cluster founded from it, a folder that is recovered."""
import json
import os
import shutil
import subprocess
import time

from harness import HOLDFASTD, Cluster, await_true, end, expect, run, spawn

STEP = 1 << 40
BLOCK = 4096


def put(cluster, key, value):
    result = cluster.holdfast("put", key, value, "--json")
    expect(result.code == 0, f"put {key}: {result}")
    return json.loads(result.out)["revision"]


def get(cluster, key):
    result = cluster.holdfast("get", key, "--json")
    expect(result.code == 0, f"get {key}: {result}")
    return json.loads(result.out)


def token(cluster, name="lock"):
    result = cluster.holdfast("lock", name, "--wait", "10s", "--", "sh", "-c",
                              "echo $HOLDFAST_TOKEN >&2")
    expect(result.code == 0, f"lock {name}: {result}")
    return int(result.err.split()[-1])


def save(cluster, name):
    path = os.path.join(cluster.folder, name)
    result = cluster.holdfast("snapshot", "save", path, "--json", timeout=60)
    expect(result.code == 0, f"snapshot save: {result}")
    saved = json.loads(result.out)
    expect(saved["size"] == os.path.getsize(path), f"its size is another: {saved}")
    expect(not os.path.exists(path + ".part"), "the part was left behind")
    return path, saved


def wipe(node):
    shutil.rmtree(node.data)


def cluster_id(cluster):
    return cluster.status()["cluster"]


def all_serve(cluster):
    cluster.leader()
    return cluster.equal_state(30)


def restore_all(cluster, path):
    for node in cluster.nodes:
        node.extra = ["--restore", path]
        node.start()
    all_serve(cluster)
    for node in cluster.nodes:
        node.extra = []


def test_what_was_acknowledged_before_a_save_is_in_the_restored_cluster():
    with Cluster() as old, Cluster(start=False) as new:
        old.leader()
        load = old.spawn_holdfast("bench", "put", "--seconds", "60", "--warmup", "0", "--keys", "2000",
                                  stdout=subprocess.DEVNULL)
        holder = old.spawn_holdfast("lock", "held", "--ttl", "60s", stdout=subprocess.DEVNULL)
        for i in range(20):
            put(old, f"key{i}", f"value{i}")
        await_true(lambda: old.holdfast("locks", "show", "held").code == 0, 10, "the lock is held")
        before = token(old)
        path, saved = save(old, "backup")
        last = put(old, "later", "value")
        load.kill()
        holder.kill()
        restore_all(new, path)
        expect(cluster_id(new) != cluster_id(old), "it is the old cluster")
        for i in range(20):
            expect(get(new, f"key{i}")["value"] == f"value{i}", f"key{i} is lost")
        # The bench has written since the save began, and perhaps this key was too late.
        expect(get(new, "key19")["revision"] <= saved["index"], "the save is older than it says")
        expect(put(new, "key0", "new") > max(last, STEP), "a revision went back")
        expect(new.holdfast("session", "ls").out.count("\n") <= 1, "a session of the old cluster lives")
        expect(token(new, "held") > before + STEP - 10**6, "a token went back")
        # What one founder has, every founder has: also after it has lost its memory.
        for node in new.nodes:
            node.kill()
        for node in new.nodes:
            node.start()
        all_serve(new)
        expect(get(new, "key1")["value"] == "value1", "a restored key is lost by a restart")


def test_founders_with_different_backups_wait_and_say_so():
    with Cluster() as old, Cluster(start=False) as new:
        old.leader()
        put(old, "key", "value")
        first, _ = save(old, "first")
        put(old, "key", "other")
        second, _ = save(old, "second")
        for node in new.nodes:
            node.extra = ["--restore", second if node.number == 3 else first]
            node.start()
        await_true(lambda: "n3 has another backup, or none" in new.nodes[0].log(), 20, "the reason")
        expect(new.status()["leader"] is None, "a cluster was founded from two states")
        new.nodes[2].kill()
        new.nodes[2].extra = ["--restore", first]
        result = run(new.nodes[2].arguments(), timeout=20)
        expect(result.code == 1 and "another backup already" in result.err, f"{result}")
        wipe(new.nodes[2])
        new.nodes[2].start()
        all_serve(new)
        expect(get(new, "key")["value"] == "value", "another state than the backup's")


def refusal(cluster, path):
    node = cluster.nodes[0]
    node.extra = ["--restore", path]
    result = run(node.arguments(), timeout=20)
    node.extra = []
    expect(result.code == 1, f"it was not refused: {result}")
    return result.err


def test_a_damaged_backup_is_refused_with_the_place():
    with Cluster() as old, Cluster(start=False) as new:
        old.leader()
        for i in range(40):
            put(old, f"key{i}", "v" * 4000)
        path, saved = save(old, "backup")
        with open(path, "rb") as file:
            whole = file.read()
        broken = os.path.join(new.folder, "broken")
        for at in (0, 8, BLOCK + 50, saved["size"] - BLOCK + 8, saved["size"] - 1):
            with open(broken, "wb") as file:
                file.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            expect("damaged, at byte" in refusal(new, broken), f"byte {at}")
        for size in (0, 100, BLOCK, len(whole) - BLOCK, len(whole) - 1):
            with open(broken, "wb") as file:
                file.write(whole[:size])
            expect("damaged, at byte" in refusal(new, broken), f"cut to {size}")
        expect("No such file" in refusal(new, os.path.join(new.folder, "absent")), "no file")
        expect("it is no file" in refusal(new, new.folder), "a folder")
        # Nothing of these is left: the whole one is taken.
        restore_all(new, path)
        expect(len(get(new, "key7")["value"]) == 4000, "a key is lost")


def test_a_folder_that_is_not_empty_is_not_restored_into():
    with Cluster() as cluster:
        cluster.leader()
        put(cluster, "key", "value")
        path, _ = save(cluster, "backup")
        node = cluster.nodes[0]
        node.stop()
        expect("is not empty" in refusal(cluster, path), "it was overwritten")
        node.start()
        all_serve(cluster)


def test_save_refuses_what_it_would_overwrite_and_where_it_cannot_write():
    with Cluster() as cluster:
        cluster.leader()
        path, _ = save(cluster, "backup")
        before = os.path.getsize(path)
        again = cluster.holdfast("snapshot", "save", path)
        expect(again.code == 69 and "exists" in again.err, f"{again}")
        expect(os.path.getsize(path) == before, "it was overwritten")
        nowhere = cluster.holdfast("snapshot", "save", os.path.join(cluster.folder, "no", "file"))
        expect(nowhere.code == 69 and "No such file" in nowhere.err, f"{nowhere}")
        for node in cluster.nodes:
            node.kill()
        path = os.path.join(cluster.folder, "none")
        alone = cluster.holdfast("snapshot", "save", path, "--timeout", "500ms")
        expect(alone.code == 77, f"{alone}")
        expect(not os.path.exists(path) and not os.path.exists(path + ".part"), "something is left")


def test_a_save_goes_on_at_another_leader():
    with Cluster(extra=["--snapshot-log", "1MiB"]) as cluster:
        cluster.leader()
        result = cluster.holdfast("bench", "put", "--seconds", "4", "--warmup", "0", "--value-size",
                                  "8000", "--keys", "6000", timeout=60)
        expect(result.code == 0, f"bench: {result}")
        put(cluster, "key", "value")
        path = os.path.join(cluster.folder, "backup")
        saving = cluster.spawn_holdfast("snapshot", "save", path, "--timeout", "20s",
                                        stdout=subprocess.DEVNULL)
        part = path + ".part"
        await_true(lambda: saving.poll() is not None or
                   (os.path.exists(part) and os.path.getsize(part) > 1 << 20), 30, "its first bytes")
        was_cut = saving.poll() is None
        cluster.leader().kill()
        saving.wait(60)
        expect(saving.returncode == 0, f"exit {saving.returncode}")
        expect(os.path.getsize(path) > 1 << 20, "it is not whole")
        return "cut on its way" if was_cut else "was over before the leader was killed"


def recover(node, *arguments, input=None):
    return run([HOLDFASTD, "recover", "--data", node.data, *arguments], timeout=60, input=input)


def test_one_of_three_is_recovered_and_the_others_join_it():
    with Cluster() as cluster:
        cluster.leader()
        for i in range(10):
            put(cluster, f"key{i}", f"value{i}")
        before = token(cluster)
        all_serve(cluster)
        old = cluster_id(cluster)
        running = recover(cluster.nodes[0], "--yes-i-accept-loss")
        expect(running.code == 1 and "stop that first" in running.err, f"{running}")
        for node in cluster.nodes:
            node.kill()
        left, gone, kept = cluster.nodes
        wipe(gone)
        # Told and asked; an answer that is not the id changes nothing.
        for answer in ("", "yes\n", old[:-1] + "\n"):
            result = recover(left, input=answer)
            expect(result.code == 1 and "nothing was changed" in result.err, f"{result}")
            expect(old in result.out and "last entry  term" in result.out, f"{result}")
        left.start()
        await_true(lambda: "event=recovered " in left.log(), 20, "its start")
        left.kill()
        result = recover(left, input=old + "\n")
        expect(result.code == 0, f"{result}")
        left.start()
        cluster.leader()
        expect(cluster_id(cluster) != old, "it is the old cluster")
        for i in range(10):
            expect(get(cluster, f"key{i}")["value"] == f"value{i}", f"key{i} is lost")
        expect(put(cluster, "key0", "new") > STEP, "a revision went back")
        expect(token(cluster) > before + STEP - 1, "a token went back")
        # A node of the old cluster is refused, with its folder as it was.
        kept.start()
        await_true(lambda: "cluster" in kept.log().split("event=start")[-1], 20, "its start")
        joined = cluster.holdfast("member", "add", "n3", "--timeout", "1s")
        expect(joined.code == 69, f"a node of the old cluster was added: {joined}")
        kept.kill()
        wipe(kept)
        for node in (gone, kept):
            node.start()
            await_true(lambda: "event=waiting_to_join" in node.log(), 20, f"{node.name} asks to join")
            added = cluster.holdfast("member", "add", node.name, "--timeout", "20s", timeout=40)
            expect(added.code == 0, f"member add {node.name}: {added}")
        all_serve(cluster)
        left.kill()
        cluster.leader()
        expect(get(cluster, "key3")["value"] == "value3", "a key is lost with the recovered node")


def killed_after(node, seconds):
    """A recovery that is killed then, if it is not over."""
    process = spawn([HOLDFASTD, "recover", "--data", node.data, "--yes-i-accept-loss"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        end(process)


def test_a_recovery_that_is_killed_is_begun_again_or_completed():
    with Cluster(extra=["--snapshot-log", "1MiB"]) as cluster:
        cluster.leader()
        result = cluster.holdfast("bench", "put", "--seconds", "2", "--warmup", "0", "--keys", "2000",
                                  "--value-size", "1000", timeout=60)
        expect(result.code == 0, f"bench: {result}")
        put(cluster, "key", "value")
        all_serve(cluster)
        for node in cluster.nodes:
            node.kill()
        left = cluster.nodes[0]
        copy = left.data + ".copy"
        shutil.copytree(left.data, copy)
        begin = time.monotonic()
        expect(recover(left, "--yes-i-accept-loss").code == 0, "recover")
        whole = time.monotonic() - begin
        count = 6
        for turn in range(count):
            wipe(left)
            shutil.copytree(copy, left.data)
            killed_after(left, whole * (turn + 0.5) / count)
            again = recover(left, "--yes-i-accept-loss")
            expect(again.code == 0, f"after a kill in turn {turn}: {again}")
            left.start()
            cluster.leader()
            expect(get(cluster, "key")["value"] == "value", f"a key is lost in turn {turn}")
            left.kill()
