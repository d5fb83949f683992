"""A kubelet of the tests' own: it runs the pods of a Deployment as processes on 127.0.0.1, and follows the rules of Kubernetes' (pkg/kubelet/prober/worker.go,
pkg/kubelet/kuberuntime/kuberuntime_container.go) in what the chart relies on:

  - init containers with restartPolicy: Always start in order, each once the one before has started; then the others together
  - a probe has a thread; thresholds count equal results in a row; startup holds the other two back; a new container is not ready, and is live
  - a container that is not running is not ready; a pod is ready while every container is
  - liveness ends a container with preStop, SIGTERM, and SIGKILL after the grace period (the probe's, where it has one), and restarts it
  - a pod that is deleted leaves the endpoints at once; its liveness and startup probes stop, readiness goes on. preStop and SIGTERM go to the containers,
    then to the sidecars; SIGKILL comes when the grace period is over
  - a roll-out: one new pod at a time, and an old one goes when the new one is ready (maxSurge 1, maxUnavailable 0)

Containers are given by `run`: {name: (argv, environment) of a pod with these ports and this directory}. Ports of the manifest stand for free ones, by
pod.ports. Nothing else of Kubernetes is here.
"""
import http.client
import itertools
import pathlib
import random
import signal
import subprocess
import threading
import time

BACKOFF = 10.0  # before the second restart, then twice as long each time


def http_get(port, path, timeout):
    """Whether the kubelet would call it a success, and the answer; silence and refusals are failures."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"User-Agent": "kube-probe/1.33", "Accept": "*/*", "Connection": "close"})
        response = connection.getresponse()
        return 200 <= response.status < 400, (response.status, response.read(10240).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return False, (0, str(error))
    finally:
        connection.close()


class Container:
    def __init__(self, pod, spec, sidecar):
        self.pod, self.spec, self.sidecar, self.name = pod, spec, sidecar, spec["name"]
        self.process, self.restarts, self.number = None, -1, 0
        self.started = self.ready = self.wanted = self.killing = False
        self.since = time.monotonic()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        argv, env = self.pod.world.run[self.name](self.pod)
        with open(self.pod.directory / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.restarts, self.number, self.since = self.restarts + 1, self.number + 1, time.monotonic()
        self.started, self.ready = "startupProbe" not in self.spec, False
        self.wanted = True

    def pre_stop(self, seconds):
        hook = self.spec.get("lifecycle", {}).get("preStop", {}).get("httpGet")
        if hook and self.running():
            http_get(self.pod.ports[hook["port"]], hook["path"], seconds)

    def kill(self, grace):
        """preStop counts against the grace period; what is left of it, two seconds at least, is for SIGTERM."""
        end = time.monotonic() + grace
        process = self.process
        self.pre_stop(grace)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(max(2.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Prober(threading.Thread):
    """One probe of one container: doProbe of worker.go, line by line."""

    def __init__(self, container, kind):
        super().__init__(daemon=True)
        self.container, self.kind, self.probe = container, kind, container.spec[kind + "Probe"]
        self.number, self.last, self.run_length, self.on_hold = 0, None, 0, False

    def run(self):
        period = self.probe.get("periodSeconds", 10)
        time.sleep(random.random() * min(period, 1))
        while not self.container.pod.over.is_set():
            begun = time.monotonic()
            if not self.once():
                return
            self.container.pod.over.wait(max(0.0, period - (time.monotonic() - begun)))

    def once(self):
        container, pod = self.container, self.container.pod
        if self.number != container.number:
            self.number, self.last, self.run_length, self.on_hold = container.number, None, 0, False
        if self.on_hold or container.process is None:
            return True
        if not container.running():
            if self.kind == "readiness":
                container.ready = False
            return True
        if pod.deleted and self.kind != "readiness":
            return False
        if time.monotonic() - container.since < self.probe.get("initialDelaySeconds", 0):
            return True
        if container.started == (self.kind == "startup"):
            return True
        number = container.number
        good, _ = http_get(pod.ports[self.probe["httpGet"]["port"]], self.probe["httpGet"]["path"], self.probe.get("timeoutSeconds", 1))
        if number != container.number:
            return True  # the answer of one that is gone
        self.run_length = self.run_length + 1 if good == self.last else 1
        self.last = good
        if self.run_length < self.probe.get("successThreshold" if good else "failureThreshold", 1 if good else 3):
            return True
        if self.kind == "readiness":
            container.ready = good
        elif self.kind == "startup" and good:
            container.started = True
        elif not good:
            self.on_hold = True
            pod.restart(container, self.probe.get("terminationGracePeriodSeconds", pod.grace))
        return True


class Pod:
    def __init__(self, world, name, spec, ports, directory):
        self.world, self.name, self.ports, self.directory = world, name, ports, directory
        self.deleted, self.ended, self.over = False, False, threading.Event()
        self.grace = spec.get("terminationGracePeriodSeconds", 30)
        self.sidecars = [Container(self, one, True) for one in spec.get("initContainers", [])]
        self.apps = [Container(self, one, False) for one in spec["containers"]]
        self.server, self.agent = (f"127.0.0.1:{ports[port]}" for port in world.faces)
        self.probers = [Prober(one, kind) for one in self.sidecars + self.apps for kind in ("startup", "liveness", "readiness") if kind + "Probe" in one.spec]
        self.thread = threading.Thread(target=self.live, daemon=True)

    def container(self, name):
        return next(one for one in self.sidecars + self.apps if one.name == name)

    def live(self):
        """Starts what is due, and restarts what has ended."""
        for prober in self.probers:
            prober.start()
        while not self.deleted:
            due = True
            for one in self.sidecars + self.apps:
                if due and not one.running() and not one.killing and self.may_start(one):
                    one.start()
                if one.running() and "readinessProbe" not in one.spec:
                    one.ready = True
                elif not one.running():
                    one.ready = False
                due = due and (not one.sidecar or (one.running() and one.started) or any(app.number for app in self.apps))
            time.sleep(0.05)
        self.end()

    def may_start(self, one):
        if one.restarts < 1:
            return True
        return time.monotonic() - one.since > BACKOFF * 2 ** (one.restarts - 1)

    def restart(self, one, grace):
        one.killing = True
        one.kill(grace)
        one.killing = False

    def is_ready(self):
        return all(one.ready and one.running() for one in self.sidecars + self.apps) and not self.deleted

    def end(self):
        end = time.monotonic() + self.grace
        together = [threading.Thread(target=one.kill, args=(self.grace,)) for one in self.apps if one.process]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        for one in reversed(self.sidecars):
            if one.process:
                one.kill(max(2.0, end - time.monotonic()))
        self.over.set()
        self.ended = True


class World:
    """A Deployment of the manifest, and its Service; upgrades: {a value of the chart: the Deployment with it}. free_port() gives ports; faces: the ports of the server and of the agent in the manifest."""

    def __init__(self, deployment, upgrades, directory, run, broker, free_port, faces=(3000, 9717)):
        self.upgrades = upgrades
        self.spec = deployment["spec"]["template"]["spec"]
        self.replicas, self.directory, self.run, self.faces = deployment["spec"]["replicas"], pathlib.Path(directory), run, faces
        self.switch_broker, self.free_port = broker, free_port
        self.all, self.generation, self.lock, self.over = [], 0, threading.Lock(), threading.Event()
        self.numbers = itertools.count(1)
        self.controller = threading.Thread(target=self.control, daemon=True)
        self.controller.start()

    def create(self):
        name = f"chat-{self.generation}-{next(self.numbers)}"
        ports = {port: self.free_port() for port in self.faces}
        (self.directory / name).mkdir()
        pod = Pod(self, name, self.spec, ports, self.directory / name)
        pod.generation = self.generation
        self.all.append(pod)
        pod.thread.start()

    def control(self):
        while not self.over.wait(0.1):
            with self.lock:
                there = self.pods()
                old = [pod for pod in there if pod.generation != self.generation]
                new = [pod for pod in there if pod.generation == self.generation]
                if len(new) < self.replicas and len(there) < self.replicas + 1 and (old or len(there) < self.replicas):
                    self.create()
                elif old and sum(pod.is_ready() for pod in there) > self.replicas - (not old[0].is_ready()):
                    old[0].deleted = True

    def pods(self):
        return [pod for pod in self.all if not pod.deleted]

    def find(self, name):
        return next(pod for pod in self.all if pod.name == name)

    def ready(self):
        return [pod.name for pod in self.all if pod.is_ready()]

    def gone(self, name):
        return self.find(name).ended

    def delete(self, name):
        with self.lock:
            self.find(name).deleted = True

    def roll(self):
        with self.lock:
            self.generation += 1

    def upgrade(self, value):
        with self.lock:
            self.spec, self.generation = self.upgrades[value]["spec"]["template"]["spec"], self.generation + 1

    def rolled(self):
        there = self.pods()
        return len(there) == self.replicas and all(pod.generation == self.generation and pod.is_ready() for pod in there)

    def signal(self, name, container, number):
        self.find(name).container(container).process.send_signal(number)

    def restarts(self, name, container):
        return max(0, self.find(name).container(container).restarts)

    def broker(self, up):
        self.switch_broker(up)

    @staticmethod
    def ask(pod, path):
        return http_get(int(pod.agent.rpartition(":")[2]), path, 5)[1]

    @staticmethod
    def command(args):
        return args

    def tell(self):
        """What an operator would look at, for a story that failed."""
        logs = [file for pod in self.all if not pod.ended for file in sorted(pod.directory.glob("*.log"))]
        state = "".join(f"{pod.name}: {'deleted ' * pod.deleted}{[(one.name, one.running(), one.ready, one.restarts) for one in pod.sidecars + pod.apps]}\n" for pod in self.all)
        return state + "".join(f"--- {file.parent.name} {file.name}\n{file.read_text(errors='replace')[-1500:]}" for file in logs)

    def end(self):
        self.over.set()
        for pod in self.all:
            pod.grace, pod.deleted = 2, True
        for pod in self.all:
            pod.thread.join(30)
