"""The chat of helm/chat in Kubernetes, without Kubernetes: the manifest that helm renders (helm/rendered), its probes and hooks played by a kubelet of the
tests' own (tests/k8s/kubelet.py). `make k8s` plays the same story on a real node."""
import contextlib
import copy
import os
import pathlib
import re
import shutil
import signal
import sys

import pytest
import yaml

from harness import BINARY, MODULES, PYTHON, ROOT, SERVERS, agent, echo_server, environment, free_port, process, until

sys.path.insert(0, str(ROOT / "tests" / "k8s"))
import kubelet  # noqa: E402  pylint: disable=wrong-import-position
import story  # noqa: E402  pylint: disable=wrong-import-position


def object_of(name, kind):
    """The first object of this kind in a rendered example."""
    return next(one for one in yaml.safe_load_all((ROOT / "helm" / "rendered" / f"chat-{name}.yaml").read_text()) if one and one["kind"] == kind)


class Broker:
    """A Redis that can be taken away, under one port."""

    def __init__(self, program, directory):
        self.args = [program, "--port", str(free_port()), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), "--daemonize", "no"]
        self.port, self.running = int(self.args[2]), contextlib.ExitStack()

    def switch(self, up):
        self.running.close()
        if up:
            self.running.enter_context(process(*self.args, port=self.port))


@pytest.fixture(scope="module")
def world(node, tmp_path_factory):
    redis = shutil.which("redis-server")
    if not redis:
        pytest.skip("redis-server is missing")
    for name in ("socket.io", "ioredis", "@socket.io/redis-adapter"):
        if not (MODULES / name).is_dir():
            pytest.skip(f"npm's {name} is missing (tests/tools/npm)")
    directory = tmp_path_factory.mktemp("kubelet")
    deployment, plain, other = (object_of(name, "Deployment") for name in ("story-1.33", "story-1.27", "everything-1.33"))
    # `everything` has onAgentFailure: outOfRotation; the sidecar's probe is all that is taken from it.
    leaving = copy.deepcopy(deployment)
    leaving["spec"]["template"]["spec"]["initContainers"][0]["readinessProbe"] = other["spec"]["template"]["spec"]["initContainers"][0]["readinessProbe"]
    upgrades = {"wshealthd.onAgentFailure=outOfRotation": leaving, "wshealthd.native=false": plain}
    conf = object_of("story-1.33", "ConfigMap")["data"]["wshealthd.yaml"]
    broker = Broker(redis, directory)
    url = f"redis://127.0.0.1:{broker.port}"

    def chat(pod):
        return [node, str(ROOT / "helm/chat/app/server.js")], environment(NODE_PATH=str(MODULES), PORT=str(pod.ports[3000]), REDIS_URL=url)

    def agent(pod):
        file = pod.directory / "wshealthd.yaml"
        text = conf.replace("[::]:9717", f"127.0.0.1:{pod.ports[9717]}").replace("127.0.0.1:3000", f"127.0.0.1:{pod.ports[3000]}")
        file.write_text(text.replace("/run/wshealthd/admin.sock", str(pod.directory / "admin.sock")))
        return [BINARY, "run", "-c", str(file)], environment(REDIS_URL=url, HOSTNAME=pod.name)

    broker.switch(True)
    there = kubelet.World(deployment, upgrades, directory, {"chat": chat, "wshealthd": agent}, broker.switch, free_port)
    try:
        yield there
    finally:
        there.end()
        broker.running.close()
        for pod in there.all:
            log = pathlib.Path(pod.directory / "wshealthd.log").read_text(errors="replace") if os.path.exists(pod.directory / "wshealthd.log") else ""
            assert "Sanitizer" not in log, log


@pytest.mark.parametrize("tell", story.STORIES, ids=lambda function: function.__name__.removeprefix("test_"))
def test_story(world, tell):
    try:
        tell(world)
    except AssertionError:
        print(world.tell())
        raise


def test_the_pod_of_readme(tmp_path):
    """Its Kubernetes block as it is printed, with two ports and an echo server as the chat: ready, out of rotation while the server hangs, and nothing restarts."""
    text = (ROOT / "README.md").read_text()
    spec = yaml.safe_load(re.search(r"^```yaml\n(spec:\n.*?)^```$", text[text.index("**Kubernetes**"):], re.M | re.S)[1])["spec"]
    (sidecar,) = spec["initContainers"]
    assert sidecar["command"][0] == "wshealthd"

    def chat(pod):
        return [PYTHON, str(SERVERS / "echo.py"), str(pod.ports[8080])], environment()

    def wshealthd(pod):
        args = [word.replace(":8080", f":{pod.ports[8080]}") for word in sidecar["command"][1:]]
        return [BINARY, *args], environment(WSHEALTHD_LISTEN=f"127.0.0.1:{pod.ports[9717]}", WSHEALTHD_ADMIN="off")

    there = kubelet.World({"spec": {"replicas": 1, "template": {"spec": spec}}}, {}, tmp_path, {"chat": chat, "wshealthd": wshealthd}, None, free_port, (8080, 9717))
    try:
        until("the pod is ready", there.ready, story.PATIENCE)
        (pod,) = there.pods()
        there.signal(pod.name, "chat", signal.SIGSTOP)
        until("it is out of rotation", lambda: not there.ready(), story.PATIENCE)
        there.signal(pod.name, "chat", signal.SIGCONT)
        until("it is back", there.ready, story.PATIENCE)
        assert not there.restarts(pod.name, "chat") and not there.restarts(pod.name, "wshealthd"), there.tell()
    except AssertionError:
        print(there.tell())
        raise
    finally:
        there.end()


def test_the_probes_of_readme_are_the_charts():
    text = (ROOT / "README.md").read_text()
    (ours,) = yaml.safe_load(re.search(r"^```yaml\n(spec:\n.*?)^```$", text[text.index("**Kubernetes**"):], re.M | re.S)[1])["spec"]["initContainers"]
    (theirs,) = object_of("default-1.33", "Deployment")["spec"]["template"]["spec"]["initContainers"]
    for kind in ("readinessProbe", "livenessProbe"):
        assert {"failureThreshold": 3, **ours[kind]} == theirs[kind]
    assert ours["restartPolicy"] == theirs["restartPolicy"] and "startupProbe" not in ours


CONF = """
prestop: true
target: {{ url: "ws://127.0.0.1:{port}/ws" }}
defaults: {{ interval: 300ms, timeout: 2s, jitter: 0% }}
checks: [ {{ type: handshake }} ]
"""


@pytest.mark.parametrize("by", ["hook", "command"])
def test_a_server_that_is_restarted_ends_what_prestop_began(tmp_path, by):
    """A kubelet calls preStop also before it restarts a server whose livenessProbe has failed. What a command has begun stays."""
    port = free_port()
    with agent(CONF.format(port=port), tmp_path) as child:
        with echo_server(port) as server:
            child.wait_ready()
            assert child.get("/prestop?timeout=0s").status == 200 if by == "hook" else child.command("drain")[0] == 0
            assert child.get("/ready").text.startswith("draining")
            until("clients are counted", lambda: re.search(r"^wshealthd_drain_remaining_connections \d", child.get("/metrics").text, re.M))
            server.end(signal.SIGKILL)
        until("it is seen that the server has gone", lambda: child.check("handshake")["reason"] == "connect_refused")
        with echo_server(port):
            until("the new one passes", lambda: child.check("handshake")["status"] == "pass")
            if by == "hook":
                child.wait_ready()
                assert "event=prestop_over" in child.err()
            else:
                assert child.get("/ready").text.startswith("draining")
