"""A cluster whose every link, of peers and of clients, goes through the fault proxy."""
import subprocess

from harness import PROXY, Cluster, end, expect, free_ports, spawn


class Proxy:
    """The proxy's process; each command is answered before the next is sent."""

    def __init__(self):
        self.process = spawn([PROXY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        line = " ".join(str(word) for word in words)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answers = []
        while True:
            answer = self.process.stdout.readline().rstrip("\n")
            if answer == "ok":
                return answers
            expect(answer and not answer.startswith("error:"), f"proxy: {line}: {answer!r}")
            answers.append(answer)

    def close(self):
        """Returns its exit code: a sanitizer speaks through it."""
        self.process.stdin.close()
        code = self.process.wait(timeout=20)
        end(self.process)
        return code


class FaultyCluster(Cluster):
    """Link `a>b` is what node a dials to b, `client>b` what clients dial to b."""

    def __init__(self, size=3, extra=()):
        super().__init__(size, extra, start=False)
        self.proxy = Proxy()
        self.doors = {}
        for node in self.nodes:
            self.doors[node.name] = f"127.0.0.1:{free_ports(1)[0]}"
            self.proxy.ask("add", f"client>{node.name}", self.doors[node.name], node.client)
            dials = []
            for other in self.nodes:
                if other is not node:
                    port = free_ports(1)[0]
                    self.proxy.ask("add", f"{node.name}>{other.name}", f"127.0.0.1:{port}",
                                   other.peer)
                    dials.append(f"{other.name}=127.0.0.1:{port}")
            node.extra = ["--dial", ",".join(dials), "--advertise-client", self.doors[node.name]]
        for node in self.nodes:
            node.start()

    @property
    def endpoints(self):
        return ",".join(self.doors[node.name] for node in self.nodes)

    def __exit__(self, kind, *rest):
        code = self.proxy.close()
        super().__exit__(kind, *rest)
        expect(kind is not None or code == 0, f"the proxy ended with {code}")

    def others(self, node):
        return [other for other in self.nodes if other is not node]

    def silence(self, source, target, fault="cut"):
        """`target` hears nothing of `source` any more; the other way is as it was."""
        self.proxy.ask(fault, f"{source.name}>{target.name}", "ahead")
        self.proxy.ask(fault, f"{target.name}>{source.name}", "back")

    def mute(self, node, fault="cut"):
        for other in self.others(node):
            self.silence(node, other, fault)

    def deafen(self, node, fault="cut"):
        for other in self.others(node):
            self.silence(other, node, fault)

    def isolate(self, node, fault="cut"):
        self.mute(node, fault)
        self.deafen(node, fault)

    def heal(self):
        self.proxy.ask("heal", "*")
