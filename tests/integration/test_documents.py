"""What the documents tell people to type is typed here."""
import os
import re
import shutil
import subprocess

from harness import BIN, ROOT, SANITIZED, Cluster, Folder, expect, run


class Skipped(Exception):
    pass


def processes_of(folder):
    """Ids of live processes that mention the folder on their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if folder.encode() in line.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_demo_shows_the_main_job_and_leaves_nothing_behind():
    with Folder() as folder:
        environment = dict(os.environ, TMPDIR=folder, BIN=os.path.relpath(BIN, ROOT))
        result = run([os.path.join(ROOT, "tests/integration/demo.sh")], timeout=30, env=environment)
        expect(result.code == 0 and result.out.endswith("demo: ok\n"), f"demo: {result}")
        expect(os.listdir(folder) == [], f"files left behind: {os.listdir(folder)}")
        expect(processes_of(folder) == [], "processes left behind")


def blocks(path):
    with open(path) as page:
        return re.findall(r"^```sh\n(.*?)^```", page.read(), re.M | re.S)


def test_deploy_page_works_as_it_stands():
    """The page's commands, in its order, with three nodes on 127.0.0.1, .2 and .3."""
    if SANITIZED:
        raise Skipped("the installed product is not sanitized")
    with Folder() as folder:
        script = "set -eu\n" + "\n".join(blocks(os.path.join(ROOT, "docs/deploy.md")))
        environment = dict(os.environ, PREFIX=os.path.join(folder, "prefix"),
                           WORK=os.path.join(folder, "work"))
        environment.pop("HOLDFAST_ENDPOINTS", None)
        process = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, timeout=100,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        expect(process.returncode == 0, f"exit {process.returncode}: {process.stdout[-3000:]}")
        expect(processes_of(folder) == [], "processes left behind")


def test_installed_library_compiles_the_example():
    if SANITIZED:
        raise Skipped("the installed product is not sanitized")
    with Folder() as folder:
        result = run(["make", "-s", "-C", ROOT, "install", f"PREFIX={folder}"], timeout=120)
        expect(result.code == 0, f"make install: {result}")
        for linked, flags in (("static", [f"{folder}/lib/libholdfast.a", "-luv", "-lmsgpackc",
                                          "-lxxhash", "-lm", "-pthread"]),
                              ("shared", [f"-L{folder}/lib", "-lholdfast"])):
            program = os.path.join(folder, linked)
            result = run(["cc", "-Wall", "-Werror", f"-I{folder}/include", "-o", program,
                          os.path.join(ROOT, "docs/examples/lock.c"), *flags])
            expect(result.code == 0, f"{linked}: {result}")
            with Cluster() as cluster:
                cluster.leader()
                environment = dict(os.environ, LD_LIBRARY_PATH=f"{folder}/lib")
                result = run([program, cluster.endpoints], env=environment)
                expect(result.code == 0 and "step 9 with token 1" in result.out, f"{linked}: {result}")
        expect(shutil.which("holdfastd", path=f"{folder}/bin"), "holdfastd is not installed")
