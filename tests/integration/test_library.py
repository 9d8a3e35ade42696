"""The library as it is installed: what is exported, its pages, and the programs of docs/examples."""
import glob
import os
import re
import signal
import subprocess

from harness import BIN, HOLDFAST, HOLDFASTD, ROOT, SANITIZED, Cluster, Folder, await_true, end, expect, run, spawn


class Skipped(Exception):
    pass


class Installed:
    """What `make install` puts into a folder, and programs that are linked with it."""

    def __init__(self):
        if SANITIZED:
            raise Skipped("the installed product is not sanitized")
        self.keeper = Folder()
        self.folder = self.keeper.path

    def __enter__(self):
        result = run(["make", "-s", "-C", ROOT, "install", f"PREFIX={self.folder}"], timeout=120)
        expect(result.code == 0, f"make install: {result}")
        return self

    def __exit__(self, *_):
        self.keeper.__exit__()

    def environment(self):
        return dict(os.environ, LD_LIBRARY_PATH=f"{self.folder}/lib",
                    PKG_CONFIG_PATH=f"{self.folder}/lib/pkgconfig")

    def program(self, name):
        """An example of docs/examples, compiled as its head says."""
        out = os.path.join(self.folder, name)
        flags = run(["pkg-config", "--cflags", "--libs", "holdfast"], env=self.environment())
        expect(flags.code == 0, f"pkg-config: {flags}")
        result = run(["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", out,
                      os.path.join(ROOT, "docs/examples", f"{name}.c"), *flags.out.split()])
        expect(result.code == 0, f"{name}: {result}")
        return out


def test_what_is_exported_is_what_the_headers_declare():
    with Installed() as installed:
        library = f"{installed.folder}/lib/libholdfast.so"
        dynamic = run(["objdump", "-p", library]).out
        expect(re.search(r"SONAME +libholdfast\.so\.0$", dynamic, re.M), "the library has no soname")
        exported = set(re.findall(r" [A-Z] (\w+)", run(["nm", "-D", "--defined-only", library]).out))
        exported.discard("HOLDFAST_0")
        declared = set()
        for header in glob.glob(f"{installed.folder}/include/*.h"):
            with open(header) as text:
                code = re.sub(r"/\*.*?\*/|typedef[^;]*;", "", text.read(), flags=re.S)
            declared |= set(re.findall(r"(?<!\(\*)\b(holdfast_[a-z0-9_]+)\(", code))
        expect(len(declared) > 40, f"only {len(declared)} functions were found")
        expect(exported == declared, f"one has it, the other not: {sorted(exported ^ declared)}")


def test_headers_stand_alone_in_c_and_in_cpp():
    with Installed() as installed:
        for header in glob.glob(f"{installed.folder}/include/*.h"):
            for language, standard in (("c", "-std=c11"), ("c++", "-std=c++11")):
                result = run(["cc", "-x", language, standard, "-Wall", "-Wextra", "-Werror",
                              "-fsyntax-only", "-include", header, "/dev/null"])
                expect(result.code == 0, f"{header} as {language}: {result}")


def test_every_example_compiles():
    names = [os.path.basename(path)[:-2] for path in glob.glob(f"{ROOT}/docs/examples/*.c")]
    expect(len(names) >= 4, f"examples: {names}")
    with Installed() as installed:
        for name in names:
            installed.program(name)


# --- Pages --------------------------------------------------------------------------------------


def page(installed, section, name):
    """The page as it is read, in one line; it has no warnings."""
    path = f"{installed.folder}/share/man/man{section}/{name}.{section}"
    environment = dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="200", MAN_KEEP_FORMATTING="")
    shown = run(["man", "--warnings", "-l", path], env=environment)
    expect(shown.code == 0 and shown.err == "", f"{name}({section}): {shown.err}")
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", shown.out).replace("‐", "-"))


def help_words(program):
    """The options with their values, and the commands, as --help shows them."""
    out = run([program, "--help"]).out
    options = set(re.findall(r"^ +(--[a-z-]+)", out, re.M))
    commands = set(re.findall(r"^  ((?:[a-z]+ ?)+?)(?=  | [A-Z\[]|\S*\||$)", out, re.M))
    commands.discard("options of every command")
    return {word.strip() for word in options | commands}


def test_pages_have_every_command_and_option():
    if run(["sh", "-c", "command -v man groff"]).code != 0:
        raise Skipped("man and groff are not installed")
    with Installed() as installed:
        for program, name, section, least in ((HOLDFAST, "holdfast", 1, 40), (HOLDFASTD, "holdfastd", 8, 20)):
            text = page(installed, section, name)
            words = help_words(program)
            expect(len(words) >= least, f"{name} --help: {sorted(words)}")
            missing = sorted(word for word in words if f" {word} " not in text)
            expect(not missing, f"{name}({section}) has no {missing}")
        text = page(installed, 3, "libholdfast")
        for name in ("holdfast_open", "holdfast_call_wait", "holdfast_with_lock", "holdfast_fence_accept"):
            expect(f" {name} " in text, f"libholdfast(3) has no {name}")


# --- Programs -----------------------------------------------------------------------------------


def lines_of(path):
    with open(path) as file:
        return file.read().splitlines()


def test_one_worker_leads_and_another_follows_when_it_dies():
    with Installed() as installed, Cluster() as cluster:
        program = installed.program("worker")
        cluster.leader()
        outs = [os.path.join(installed.folder, f"out{i}") for i in range(2)]
        workers = []
        for path in outs:
            with open(path, "w") as out:
                workers.append(spawn([program, cluster.endpoints, "reports"], stdout=out,
                                     env=installed.environment()))
        await_true(lambda: any(map(lines_of, outs)), 20, "somebody leads")
        first = 0 if lines_of(outs[0]) else 1
        expect(lines_of(outs[1 - first]) == [], "both lead")
        end(workers[first], signal.SIGKILL)
        await_true(lambda: lines_of(outs[1 - first]), 20, "the other leads when the first is gone")
        tokens = [int(lines_of(path)[0].split("token=")[1]) for path in (outs[first], outs[1 - first])]
        expect(tokens[1] > tokens[0], f"tokens {tokens}")
        end(workers[1 - first], signal.SIGTERM)
        expect(workers[1 - first].returncode == 0, "a signal ends the work with status 0")
        left = cluster.holdfast("lock", "reports", "--try", "--", "true")
        expect(left.code == 0, f"the lock is free behind it: {left}")


def test_a_late_write_is_refused_only_where_the_token_is_looked_at():
    with Installed() as installed, Cluster() as cluster:
        program = installed.program("writer")
        cluster.leader()
        results = {}
        for option in ([], ["--ignore-token"], []):
            result = run([program, cluster.endpoints, installed.folder, *option],
                         env=installed.environment())
            results[bool(option)] = result
            expect(result.code == len(option), f"writer {option}: {result}")
        expect("refused: old" in results[False].out and "right:" in results[False].out,
               f"with the fence: {results[False]}")
        expect("written: old" in results[True].out and "WRONG:" in results[True].out,
               f"without it: {results[True]}")


def test_the_poller_says_what_keys_become():
    with Installed() as installed, Cluster() as cluster:
        program = installed.program("poller")
        cluster.leader()
        path = os.path.join(installed.folder, "out")
        with open(path, "w") as out:
            poller = spawn([program, cluster.endpoints, "color", "size"], stdout=out,
                           env=installed.environment())
        for arguments, said in ((["put", "color", "red"], "color=red "), (["put", "size", "9"], "size=9 "),
                                (["put", "color", "blue"], "color=blue "), (["del", "size"], "size is gone")):
            expect(cluster.holdfast(*arguments).code == 0, f"{arguments}")
            await_true(lambda: lines_of(path) and lines_of(path)[-1].startswith(said), 10, said)
        end(poller, signal.SIGTERM)
        expect(poller.returncode == 0 and len(lines_of(path)) == 4, f"it said {lines_of(path)}")
