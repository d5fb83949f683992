"""What the e2e tests share: the binary, processes that are ended when a test ends, waits that are bounded, a running agent.

Binaries come from WSHEALTHD_BUILD (the Makefile's BUILD): asan for judging, release where size or time matters.
"""
import contextlib
import functools
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WSHEALTHD_BUILD", ROOT / "build")).resolve()
BINARY = str(BUILD / "asan" / "wshealthd")
RELEASE = str(BUILD / "release" / "wshealthd")
PYTHON = "/usr/bin/python3"
SERVERS = pathlib.Path(__file__).resolve().parent / "servers"
MODULES = BUILD / "npm" / "node_modules"
EXIT = {"pass": 0, "warn": 1, "fail": 2}
PATIENCE = 20.0  # bounds every wait; far more than anything here takes

given = set()  # ports


@functools.lru_cache(maxsize=None)
def libnats_version():
    """(3, 10) of libnats.so.3.10; () where there is none."""
    found = [re.search(r"libnats\.so\.(\d+)\.(\d+)$", str(path)) for path in pathlib.Path("/usr/lib").glob("*/libnats.so.*")]
    return max((tuple(map(int, match.groups())) for match in found if match), default=())


def environment(**more):
    """The test's own environment, with sanitizers that are fatal and nothing of the machine's proxies or notify sockets."""
    env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "NO_COLOR")}
    env["WSHEALTHD_COREDUMP"] = "1"  # else /proc/PID is root's, and a test that is not root cannot look into it
    env["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:exitcode=99:" + env.get("ASAN_OPTIONS", "")
    if libnats_version() >= (3, 10):
        env["LSAN_OPTIONS"] = f"suppressions={ROOT}/tests/e2e/libnats.supp:print_suppressions=0"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:exitcode=99"
    env.update(more)
    return env


def wshealthd(*args, binary=BINARY, timeout=30, check_clean=True, stdin=None, **env):
    """Runs one command to its end. (exit code, stdout, stderr)."""
    done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True, timeout=timeout, env=environment(**env), check=False,
                          input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL)
    if check_clean:
        assert done.returncode != 99 and "Sanitizer" not in done.stderr and done.returncode >= 0, done.stderr
    return done.returncode, done.stdout, done.stderr


def check(url, *types, timeout="5s", flags=(), conf=None, patience=30, **more):
    """`wshealthd check --json`. (exit code, the document)."""
    args = ["check", *([] if conf is None else ["-c", conf]), *([] if url is None else [url])]
    for name in types:
        args += ["--type", name]
    code, out, err = wshealthd(*args, "--json", *(["--timeout", timeout] if timeout else []), *flags, timeout=patience, **more)
    try:
        return code, json.loads(out)
    except json.JSONDecodeError:
        raise AssertionError(f"exit {code}, no JSON: {out!r} {err!r}") from None


def only(document):
    """The single check of a document."""
    assert len(document["checks"]) == 1, document
    return document["checks"][0]


def until(what, condition, seconds=PATIENCE, pause=0.02):
    """Waits for condition() to be true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def put(source, target):
    """As Kubernetes rotates a file: a new one takes the name."""
    shutil.copy(source, f"{target}.new")
    os.rename(f"{target}.new", target)


def free_port():
    """A port below the kernel's own range, so that no outgoing connection takes it before the server does; each pytest worker has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 12000 + worker % 8 * 2400
    while True:
        port = random.randrange(first, first + 2400)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


def memory_kib(pid, field="VmHWM"):
    """Of a process: the most that it has used, or with VmRSS what it uses now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+)", status, re.M)[1])


def connects(port, host="127.0.0.1"):
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((host, port)) == 0


class Process:
    """A child that is ended by its own id, with its output in files."""

    def __init__(self, args, directory=None, env=None, stdin=subprocess.DEVNULL, **more):
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="wshealthd-test-"))
        self.own_dir = directory is None
        self.args = [str(a) for a in args]
        name = os.path.basename(self.args[0])
        self.out_path, self.err_path = self.dir / f"{name}-{id(self)}.out", self.dir / f"{name}-{id(self)}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.child = subprocess.Popen(self.args, stdin=stdin, stdout=out, stderr=err, env=env or environment(), **more)

    @property
    def pid(self):
        return self.child.pid

    def out(self):
        return self.out_path.read_text(errors="replace")

    def err(self):
        return self.err_path.read_text(errors="replace")

    def running(self):
        return self.child.poll() is None

    def send(self, number):
        self.child.send_signal(number)

    def end(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Ends it and returns the exit code; by force when it does not listen."""
        if self.running():
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(seconds)
            return None

    def cleanup(self):
        if self.running():
            self.child.kill()
            self.child.wait(PATIENCE)
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)


@contextlib.contextmanager
def process(*args, port=None, ready=None, **more):
    """A server for the length of a with block; waits until its port answers or ready() holds."""
    child = Process(args, **more)
    try:
        if port or ready:
            def up():
                assert child.running(), f"{args[0]} ended: {child.err()}{child.out()}"
                return ready(child) if ready else connects(port)

            until(f"{args[0]} is up: {child.err()}", up)
        yield child
    finally:
        child.end(seconds=5)
        child.cleanup()


@contextlib.contextmanager
def echo_server(port=None, *args):
    """A good WebSocket server of ours in its own process: servers/echo.py."""
    port = port or free_port()
    with process(PYTHON, SERVERS / "echo.py", port, *args, port=port) as child:
        child.port, child.url = port, f"ws://127.0.0.1:{port}/ws"
        yield child


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.text = body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.text)


class Agent(Process):
    """`wshealthd run` with a health port of its own."""

    def __init__(self, conf, directory, binary=BINARY, flags=(), env=None, wait=True, prefix=(), host="127.0.0.1", port=None):
        self.host, self.port = host, port or free_port()
        directory = pathlib.Path(directory)
        self.admin = directory / "admin.sock"
        self.file = directory / "wshealthd.yaml"
        self.write(conf)
        super().__init__([*prefix, binary, "run", "-c", self.file, *flags], directory, env=env)
        if wait:
            until("the health port answers", self.answers)

    def write(self, conf):
        """conf is the YAML behind listen and admin."""
        self.file.write_text(f"listen: {self.host}:{self.port}\nadmin: unix:{self.admin}\n{conf}")

    def answers(self):
        assert self.running(), f"the agent ended: {self.err()}"
        return connects(self.port, self.host)

    def get(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ready(self):
        return self.get("/ready").status == 200

    def wait_ready(self, seconds=PATIENCE):
        until(f"/ready is 200: {self.err()}", self.ready, seconds)

    def wait_not_ready(self, seconds=PATIENCE):
        until("/ready is 503", lambda: not self.ready(), seconds)

    def status(self):
        return self.get("/status").json()

    def check(self, name):
        return next(c for c in self.status()["checks"] if c["name"] == name)

    def command(self, *args, **more):
        """A client command against its admin socket."""
        return wshealthd(*args, "-c", self.file, **more)

    def stop(self):
        """SIGTERM; it must leave with 0 and nothing to complain about."""
        code = self.end()
        assert code == 0, f"exit code {code}: {self.err()}"
        assert "Sanitizer" not in self.err(), self.err()


@contextlib.contextmanager
def agent(conf, directory, **more):
    child = Agent(conf, directory, **more)
    try:
        yield child
        if child.running():
            child.stop()
    finally:
        child.cleanup()
