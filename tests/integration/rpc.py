"""One connection to one node, spoken directly: many requests at a time, and no retries."""
import socket

from harness import SLOW
from msgpack_lite import request, unpack


class Gone(Exception):
    """The node is not there, or hung up, or did not answer in time."""


class Rpc:
    def __init__(self, address, timeout=5):
        host, port = address.rsplit(":", 1)
        self.number = 0
        self.inbox = bytearray()
        try:
            self.socket = socket.create_connection((host, int(port)), timeout * SLOW)
        except OSError as problem:
            raise Gone(problem)
        self.call("hello", version=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, method, **params):
        """(error, result); one of them is None."""
        return self.call_all([(method, params)])[0]

    def call_all(self, calls):
        """Sends all of them at once; the answers are in the same order."""
        first = self.number + 1
        self.number += len(calls)
        frames = [request(first + i, method, **params) for i, (method, params) in enumerate(calls)]
        answers = {}
        try:
            self.socket.sendall(b"".join(frames))
            while len(answers) < len(calls):
                kind, number, error, result = self.receive()
                if kind == 1:
                    answers[number] = (error, result)
        except OSError as problem:
            raise Gone(problem)
        return [answers[first + i] for i in range(len(calls))]

    def receive(self):
        while True:
            try:
                message, size = unpack(self.inbox)
            except IndexError:
                data = self.socket.recv(1 << 18)
                if not data:
                    raise Gone("hung up")
                self.inbox += data
                continue
            del self.inbox[:size]
            return message if len(message) == 4 else [message[0], None, None, None]


def ask(address, method, **params):
    """One request on a connection of its own; None when the node is gone or refuses."""
    try:
        with Rpc(address) as rpc:
            return rpc.call(method, **params)[1]
    except Gone:
        return None
