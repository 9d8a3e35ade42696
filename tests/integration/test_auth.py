"""Clients that show a token, a wrong one, and none."""
import os
import signal
import socket
import subprocess

from harness import HOLDFAST, HOLDFASTD, LOAD, Cluster, Folder, await_true, end, expect, free_dev_port, run, spawn
from rpc import Gone, Rpc

RIGHT, WRONG = "correct-horse-battery", "staple"


def write(path, text, mode=0o600):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def authenticated():
    """A cluster that asks for a token, and the files of a client that has it and of one that does not."""
    cluster = Cluster(start=False)
    nodes = write(os.path.join(cluster.folder, "nodes.auth"), f"# who may\nops other\nadmin {RIGHT}\n")
    cluster.right = write(os.path.join(cluster.folder, "right.auth"), f"admin {RIGHT}\n")
    cluster.wrong = write(os.path.join(cluster.folder, "wrong.auth"), f"admin {WRONG}\n")
    cluster.extra = ["--auth-file", nodes]
    for node in cluster.nodes:
        node.start()
    return cluster


def test_a_client_is_served_with_the_right_token_alone():
    with authenticated() as cluster:
        right = ["--auth-file", cluster.right]
        await_true(lambda: cluster.holdfast("status", *right).code == 0, 20, "a leader")
        for command in (["put", "k", "v"], ["get", "k"], ["lock", "l", "--", "true"],
                        ["elect", "e", "v", "--", "true"], ["status"], ["member", "ls"], ["locks"]):
            result = cluster.holdfast(*right, *command)
            expect(result.code == 0, f"{command} with the right token: {result}")
            for options in ([], ["--auth-file", cluster.wrong]):
                result = cluster.holdfast(*options, *command)
                expect(result.code == 69, f"{command} with {options}: expected 69, got {result}")
                expect("auth-file" in result.err, f"no word of what to do: {result}")
                expect(WRONG not in result.err and RIGHT not in result.err, f"a token is told: {result}")
        environment = dict(cluster.environment(), HOLDFAST_AUTH_FILE=cluster.right)
        expect(run([HOLDFAST, "get", "k"], env=environment).out.strip() == "v", "by HOLDFAST_AUTH_FILE")
        for node in cluster.nodes:
            expect(RIGHT not in node.log() and WRONG not in node.log(), "a token is in a node's log")
        expect(any("event=client_refused" in node.log() for node in cluster.nodes), "no line of it")


def test_a_connection_ends_behind_a_refused_hello():
    with authenticated() as cluster:
        right = ["--auth-file", cluster.right]
        await_true(lambda: cluster.holdfast("status", *right).code == 0, 20, "a leader")
        connection = Rpc(cluster.nodes[0].client)   # Says hello without a token.
        try:
            connection.call("status")
            expect(False, "it was served")
        except Gone:
            pass
        for token in (b"", b"x" * 255, RIGHT.encode()[:-1], RIGHT.encode() + b"x"):
            raw = Rpc.__new__(Rpc)
            raw.number, raw.inbox = 0, bytearray()
            host, port = cluster.nodes[0].client.rsplit(":", 1)
            raw.socket = socket.create_connection((host, int(port)), 5)
            error, _ = raw.call("hello", version=1, token=token)
            expect(error is not None and error["code"] == 12, f"{token!r}: {error}")


def test_a_file_of_tokens_that_is_not_secret_is_refused():
    with Folder() as folder:
        for text, mode, word in ((f"a {RIGHT}\n", 0o644, "chmod"), (f"a {RIGHT} more\n", 0o600, "line 1"),
                                 ("", 0o600, "no token")):
            path = write(os.path.join(folder, "auth"), text, mode)
            server = run([HOLDFASTD, "--name", "n1", "--data", os.path.join(folder, "data"), "--client",
                          "127.0.0.1:7", "--cluster", "n1=127.0.0.1:8", "--auth-file", path])
            client = run([HOLDFAST, "get", "k", "--endpoints", "127.0.0.1:7", "--auth-file", path])
            for result in (server, client):
                expect(result.code == 78 and word in result.err and path in result.err, f"{mode:o}: {result}")
                expect(RIGHT not in result.err, f"a token is told: {result}")
                expect(len(result.err.strip().splitlines()) == 1, f"more than a line: {result}")


def test_dev_gives_its_nodes_the_file_of_tokens():
    with Folder() as folder:
        path = write(os.path.join(folder, "auth"), f"me {RIGHT}\n")
        port = free_dev_port()
        dev = spawn([HOLDFAST, "dev", "--dir", os.path.join(folder, "c"), "--port", str(port), "--auth-file", path],
                    stdout=subprocess.PIPE, text=True)
        line = ""
        while "ready" not in line:
            line = dev.stdout.readline()
            expect(line, "dev ended before it was ready")
        endpoints = ["--endpoints", f"127.0.0.1:{port + 1}"]
        expect(run([HOLDFAST, "get", "k", *endpoints]).code == 69, "it is served without a token")
        expect(run([HOLDFAST, "get", "k", *endpoints, "--auth-file", path]).code == 1, "absent")
        end(dev, signal.SIGTERM)


def test_a_program_shows_its_token():
    program = os.path.join(os.path.dirname(LOAD), "election")
    with authenticated() as cluster:
        await_true(lambda: cluster.holdfast("status", "--auth-file", cluster.right).code == 0, 20, "a leader")
        result = run([program, cluster.endpoints, RIGHT], timeout=60)
        expect(result.code == 0, f"with the right token: {result}")
        expect(run([program, cluster.endpoints, WRONG], timeout=60).code == 1, "with a wrong token")
