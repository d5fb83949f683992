"""What a chat with the sidecar must live through in Kubernetes, told once for two worlds: a real node (cluster.py, `make k8s`) and a probe runner
that follows the kubelet's rules (kubelet.py, `make test`).

A world has:  pods() -> [Pod], those that are not being deleted;  ready() -> the names of pods that a Service sends clients to;
gone(name) -> whether the pod has ended;  delete(name);  roll(): begins to replace every pod;  rolled() -> whether that is done;
upgrade(value): rolls with this value of the chart;  signal(name, container, number);  restarts(name, container);  broker(up);  ask(pod, path) -> (status, text) of the agent;
command(args) -> how to run a client beside the pods.
A Pod has a name, and the addresses `server` and `agent`.
"""
import contextlib
import json
import pathlib
import signal
import subprocess
import threading
import time

CLIENT = pathlib.Path(__file__).resolve().parent / "client.py"
REPLICAS = 2
DRAIN = 10  # drain.seconds of helm/chat/ci/story-values.yaml
PATIENCE = 120  # bounds every wait; far more than anything here takes


def until(what, condition, seconds=PATIENCE, pause=0.1):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(pause)


class Clients:
    """COUNT clients in the room, in a process of their own."""

    def __init__(self, world, address, count=1, room="room"):
        self.child = subprocess.Popen(world.command(["/usr/bin/python3", "-B", str(CLIENT), address, str(count), room]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.count, self.events = count, []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            self.events.append({**json.loads(line), "at": time.monotonic()})

    def of(self, event):
        return [one for one in list(self.events) if one["event"] == event]

    def wait(self, event):
        until(f"{event}, {self.count} times: {self.events}", lambda: len(self.of(event)) >= self.count)

    def say(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def end(self):
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@contextlib.contextmanager
def clients(world, pod, count=1, room="room"):
    """Clients that are connected and in the room."""
    them = Clients(world, pod.server, count, room)
    try:
        them.wait("joined")
        yield them
    finally:
        them.end()


def settled(world):
    """Two pods, both in rotation, and everything well."""
    until("the roll-out is done", world.rolled)
    until(f"{REPLICAS} pods are in rotation", lambda: len(world.ready()) == REPLICAS == len(world.pods()))
    pods = world.pods()
    for pod in pods:
        until(f"{pod.name} is well: {world.ask(pod, '/ready?verbose')}", lambda pod=pod: world.ask(pod, "/ready")[1].startswith("ready"))
    return pods


def restarts(world, pods):
    """{(pod, container): how often it was restarted}."""
    return {(pod.name, name): world.restarts(pod.name, name) for pod in pods for name in ("chat", "wshealthd")}


def stays(world, names, seconds):
    """For so long these pods are in rotation, all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        missing = set(names) - set(world.ready())
        assert not missing, f"{missing} left: {[world.ask(pod, '/ready?verbose') for pod in world.pods()]}"
        time.sleep(0.3)


def test_rollout_of_two_replicas(world):
    """What is said on one replica is heard on the other, and a roll-out leaves no moment without a replica."""
    first, second = settled(world)
    with clients(world, first) as here, clients(world, second) as there:
        here.say("say hello")
        there.wait("said")
        here.say("leave")
        there.say("leave")
    before = {first.name, second.name}
    world.roll()
    until("a new pod", lambda: {pod.name for pod in world.pods()} - before)
    while not world.rolled():
        assert len(world.ready()) >= REPLICAS - 1, "a pod was taken before its successor was ready"
        time.sleep(0.2)
    assert not {pod.name for pod in settled(world)} & before


def test_broker_outage_takes_nobody_out(world):
    pods = settled(world)
    before = restarts(world, pods)
    world.broker(False)
    try:
        for pod in pods:
            until(f"{pod.name} is degraded: {world.ask(pod, '/ready?verbose')}", lambda pod=pod: world.ask(pod, "/ready")[1].startswith("degraded"))
        stays(world, [pod.name for pod in pods], 12)
    finally:
        world.broker(True)
    assert [pod.name for pod in settled(world)] == [pod.name for pod in pods]
    assert restarts(world, pods) == before


def test_broker_outage_during_a_rollout(world):
    """New pods become ready, degraded, as nothing about them is at fault."""
    before = {pod.name for pod in settled(world)}
    world.broker(False)
    try:
        world.roll()
        until("new pods", lambda: not {pod.name for pod in world.pods()} & before)
        until("the roll-out is done", world.rolled)
        assert len(world.ready()) == REPLICAS
        for pod in world.pods():
            status, text = world.ask(pod, "/ready")
            assert status == 200 and text.startswith("degraded"), (pod.name, text)
    finally:
        world.broker(True)
    settled(world)


def test_hung_server(world):
    """It leaves the rotation, is restarted by its livenessProbe, and comes back; the other replica is left alone."""
    sick, well = settled(world)
    before = restarts(world, [sick, well])
    world.signal(sick.name, "chat", signal.SIGSTOP)
    begun = time.monotonic()
    until(f"{sick.name} is out of rotation", lambda: sick.name not in world.ready())
    print(f"out of rotation after {time.monotonic() - begun:.1f} s")
    assert restarts(world, [sick, well]) == before, "restarted before it was out of rotation"
    after = {**before, (sick.name, "chat"): before[sick.name, "chat"] + 1}
    until(f"{sick.name}'s server is restarted", lambda: (stays(world, [well.name], 0.1), restarts(world, [sick, well]) == after)[1])
    until(f"{sick.name} is back: {world.ask(sick, '/ready?verbose')}", lambda: sick.name in world.ready())
    print(f"restarted and back after {time.monotonic() - begun:.1f} s")
    assert [pod.name for pod in settled(world)] == [sick.name, well.name]
    assert restarts(world, [sick, well]) == after


def test_drain_of_live_connections(world):
    """A pod that is deleted takes nobody new. Its clients stay until they leave: then it ends at once."""
    leaving, _ = settled(world)
    with clients(world, leaving, 5) as them:
        world.delete(leaving.name)
        until(f"{leaving.name} takes nobody new", lambda: leaving.name not in world.ready())
        until("the agent says that it drains", lambda: world.ask(leaving, "/ready")[1].startswith("draining"), DRAIN - 2)
        time.sleep(2)
        assert not them.of("cut"), them.events
        assert not world.gone(leaving.name)
        them.say("leave")
        them.wait("left")
        left = time.monotonic()
        until("the pod has ended", lambda: world.gone(leaving.name))
        assert not them.of("cut"), them.events
        print(f"ended {time.monotonic() - left:.1f} s after the last client had left")
    settled(world)


def test_drain_is_over_when_its_time_is(world):
    """Clients that do not leave are cut, not before drain.seconds."""
    leaving, _ = settled(world)
    with clients(world, leaving, 5) as them:
        world.delete(leaving.name)
        deleted = time.monotonic()
        them.wait("cut")
        first = min(one["at"] for one in them.of("cut")) - deleted
        assert first > DRAIN - 1, f"cut after {first:.1f} s, want {DRAIN} s"
        print(f"cut after {first:.1f} s")
    until("the pod has ended", lambda: world.gone(leaving.name))
    settled(world)


def test_crash_of_the_agent(world):
    """It is restarted. The server and its clients do not notice; the pod is out of rotation until the agent is back."""
    pod, other = settled(world)
    before = restarts(world, [pod, other])
    after = {**before, (pod.name, "wshealthd"): before[pod.name, "wshealthd"] + 1}
    with clients(world, pod, 3) as them:
        world.signal(pod.name, "wshealthd", signal.SIGKILL)
        begun = time.monotonic()
        until("the agent is restarted", lambda: (stays(world, [other.name], 0.1), restarts(world, [pod, other]) == after)[1])
        until(f"{pod.name} is in rotation", lambda: pod.name in world.ready())
        print(f"back in rotation after {time.monotonic() - begun:.1f} s")
        assert not them.of("cut"), them.events
        them.say("leave")
    settled(world)
    assert restarts(world, [pod, other]) == after


def hang_the_agent(world, pod, other, meanwhile):
    """Stops its process until its own livenessProbe has restarted it; meanwhile() is called while it hangs."""
    before = restarts(world, [pod, other])
    after = {**before, (pod.name, "wshealthd"): before[pod.name, "wshealthd"] + 1}
    with clients(world, pod, 3) as them:
        world.signal(pod.name, "wshealthd", signal.SIGSTOP)
        meanwhile()
        until("the agent is restarted", lambda: restarts(world, [pod, other]) == after)
        until(f"{pod.name} is in rotation", lambda: pod.name in world.ready())
        assert not them.of("cut"), them.events
        them.say("leave")
    settled(world)
    assert restarts(world, [pod, other]) == after


def test_agent_that_hangs(world):
    """onAgentFailure: stayInRotation. Its pod stays where it is until it is restarted; the server is left alone."""
    pod, other = settled(world)
    hang_the_agent(world, pod, other, lambda: stays(world, [pod.name], 10))


def test_agent_that_hangs_takes_its_pod_out(world):
    """onAgentFailure: outOfRotation. Its pod gets nobody new until it is restarted; the server is left alone."""
    world.upgrade("wshealthd.onAgentFailure=outOfRotation")
    until("the roll-out is done", world.rolled)
    pod, other = settled(world)
    hang_the_agent(world, pod, other, lambda: until(f"{pod.name} is out of rotation", lambda: pod.name not in world.ready(), 10))


def test_plain_containers(world):
    """As before Kubernetes 1.29: the agent gets its SIGTERM together with the server, and stays until the clients have left."""
    world.upgrade("wshealthd.native=false")
    until("the roll-out is done", world.rolled)
    test_drain_of_live_connections(world)
    test_broker_outage_during_a_rollout(world)


STORIES = [function for name, function in list(globals().items()) if name.startswith("test_")]
