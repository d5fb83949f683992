"""The world of story.py on a real Kubernetes node (node/): the chart helm/chat installed by helm, seen through kubectl."""
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import story

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IN = str(HERE / "node" / "in")
Pod = collections.namedtuple("Pod", "name server agent")

# Under the address that story-values.yaml has: there is no name service.
REDIS = """
apiVersion: apps/v1
kind: Deployment
metadata: { name: redis }
spec:
  selector: { matchLabels: { app: redis } }
  template:
    metadata: { labels: { app: redis } }
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: redis
          image: localhost/redis:1
          imagePullPolicy: Never
          args: [--save, "", --protected-mode, "no", --dir, /tmp]
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
---
apiVersion: v1
kind: Service
metadata: { name: redis }
spec: { selector: { app: redis }, clusterIP: 10.96.0.77, ports: [{ port: 6379 }] }
"""


def inside(*args, stdin=None, check=True, timeout=180):
    """Runs a command in the node's namespaces. Its output."""
    done = subprocess.run([IN, *args], input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


def kubectl(*args, **more):
    return inside("kubectl", *args, **more)


def get(*args):
    return json.loads(kubectl("get", *args, "-o", "json"))


def make_images(build, directory):
    """Archives of the program, the chat and Redis, from files of this machine."""
    image = str(HERE / "node" / "image")
    node, redis = os.path.realpath(shutil.which("node")), os.path.realpath(shutil.which("redis-server"))
    for name, args in (
        ("wshealthd", ["--user", "65532:65532", "--exec", f"{build}/release/wshealthd:/usr/bin/wshealthd", "--", "/usr/bin/wshealthd"]),
        ("chat", ["--user", "65532:65532", "--exec", f"{node}:/usr/bin/node", f"{ROOT}/helm/chat/app/server.js:/app/server.js",
                  f"{build}/npm/node_modules:/app/node_modules", "--", "/usr/bin/node", "/app/server.js"]),
        ("redis", ["--user", "65532:65532", "--exec", f"{redis}:/usr/bin/redis-server", "--", "/usr/bin/redis-server"])):
        file = directory / f"{name}.tar"
        subprocess.run([image, str(file), f"localhost/{name}:1", *args], check=True, timeout=120)
        inside("ctr", "images", "import", str(file))


class World:
    def __init__(self, build, directory):
        make_images(build, directory)
        # Pods that are not as restricted as can be are refused.
        kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted")
        kubectl("apply", "-f", "-", stdin=REDIS)
        # In the mount namespace of the node the chart is where it is here.
        inside("helm", "install", "chat", str(ROOT / "helm/chat"), "-f", str(ROOT / "helm/chat/ci/story-values.yaml"), "--wait", "--timeout", "3m", timeout=240)

    @staticmethod
    def items():
        return get("pods", "-l", "app.kubernetes.io/name=chat")["items"]

    def pods(self):
        there = [one for one in self.items() if "deletionTimestamp" not in one["metadata"]]
        return [Pod(one["metadata"]["name"], f"{one['status'].get('podIP')}:3000", f"{one['status'].get('podIP')}:9717") for one in there]

    @staticmethod
    def ready():
        slices = get("endpointslices", "-l", "kubernetes.io/service-name=chat")["items"]
        return [one["targetRef"]["name"] for slice_ in slices for one in slice_.get("endpoints") or [] if one["conditions"].get("ready")]

    def gone(self, name):
        return name not in [one["metadata"]["name"] for one in self.items()]

    @staticmethod
    def delete(name):
        kubectl("delete", "pod", name, "--wait=false")

    @staticmethod
    def roll():
        kubectl("rollout", "restart", "deployment/chat")

    @staticmethod
    def upgrade(value):
        inside("helm", "upgrade", "chat", str(ROOT / "helm/chat"), "--reuse-values", "--set", value, "--wait", "--timeout", "3m", timeout=240)

    @staticmethod
    def rolled():
        return "successfully rolled out" in kubectl("rollout", "status", "deployment/chat", "--watch=false")

    @staticmethod
    def status(name, container):
        status = get("pod", name)["status"]
        return next((one for one in status.get("initContainerStatuses", []) + status.get("containerStatuses", []) if one["name"] == container), {})

    def signal(self, name, container, number):
        number = signal.Signals(number).name.removeprefix("SIG")
        wanted = self.status(name, container)["containerID"].rpartition("/")[2]
        inside("sh", "-c", f"for p in /proc/[0-9]*; do if grep -qs {wanted} $p/cgroup; then kill -{number} ${{p#/proc/}}; fi; done")

    def restarts(self, name, container):
        return self.status(name, container).get("restartCount", 0)

    @staticmethod
    def broker(up):
        kubectl("scale", "deployment/redis", f"--replicas={int(up)}")
        end = time.monotonic() + 60
        while bool(get("deployment", "redis")["status"].get("readyReplicas")) != up or (not up and get("pods", "-l", "app=redis")["items"]):
            assert time.monotonic() < end, "Redis does not come or go"
            time.sleep(0.3)

    @staticmethod
    def ask(pod, path):
        answer = inside("curl", "-s", "-m", "5", "-w", "\n%{http_code}", f"http://{pod.agent}{path}", check=False)
        text, _, status = answer.rpartition("\n")
        return int(status or 0), text

    @staticmethod
    def command(args):
        return [IN, *args]

    @staticmethod
    def tell():
        """What an operator would look at, for a story that failed."""
        return kubectl("get", "pods", "-o", "wide", check=False) + kubectl("get", "events", "--sort-by=.lastTimestamp", check=False)[-3000:]


# --- what only a real node can tell ---------------------------------------------------------------------------------------------------


def test_watcher(world):
    """helm/wshealthd watches the Service from a pod of its own. It is ready whatever it says; what it says follows the servers."""
    service = get("service", "chat")["spec"]["clusterIP"]
    inside("helm", "install", "watch", str(ROOT / "helm/wshealthd"), "--set", f"config.target.url=ws://{service},config.target.dialect=socket.io",
           "--set-string", "image.repository=localhost/wshealthd,image.tag=1,image.pullPolicy=Never", "--wait", "--timeout", "2m")
    address = get("service", "watch-wshealthd")["spec"]["clusterIP"]
    watcher = Pod("watch", None, f"{address}:9717")
    story.until(f"it finds the chat well: {world.ask(watcher, '/ready?verbose')}", lambda: world.ask(watcher, "/ready")[0] == 200)
    kubectl("scale", "deployment/chat", "--replicas=0")
    story.until("it sees that nobody is there", lambda: world.ask(watcher, "/ready")[0] == 503)
    assert get("deployment", "watch-wshealthd")["status"]["readyReplicas"] == 1
    kubectl("scale", "deployment/chat", f"--replicas={story.REPLICAS}")
    story.until("it finds the chat well again", lambda: world.ask(watcher, "/ready")[0] == 200)
    inside("helm", "uninstall", "watch", "--wait")


def test_no_client_is_refused_in_a_rollout(world):
    """Everybody who comes through the Service while all pods are replaced is greeted."""
    story.settled(world)
    service = get("service", "chat")["spec"]["clusterIP"]
    knocker = subprocess.Popen(world.command(["/usr/bin/python3", "-B", str(HERE / "knock.py"), f"{service}:80"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        before = {pod.name for pod in world.pods()}
        world.roll()
        story.until("the roll-out is done", world.rolled)
        story.until("the old pods have ended", lambda: all(world.gone(name) for name in before))
    finally:
        said = json.loads(knocker.communicate(timeout=60)[0])
    assert said["greeted"] > 50 and not said["failed"], said
    print(f"{said['greeted']} clients were greeted")


def test_the_command_in_the_container(world):
    """What the notes of the charts tell people to type."""
    (pod, _) = story.settled(world)
    said = kubectl("exec", pod.name, "-c", "wshealthd", "--", "wshealthd", "status")
    assert "delivery" in said and "ready" in said, said


def test_the_kustomize_component(_world):
    """An API server takes all of it."""
    said = kubectl("apply", "-k", str(ROOT / "helm/kustomize/chat"), "--namespace", "kube-public", "--dry-run=server")
    assert "deployment.apps/chat created" in said, said


STORIES = [function for name, function in list(globals().items()) if name.startswith("test_")]
