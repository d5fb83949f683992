"""The charts in helm/: strict lint, every ci/ file rendered for old and new Kubernetes, the rendered examples, what the schemas refuse, and the alerts.

What helm/rendered holds is what helm renders; HELM_WRITE=1 (make helm) writes it anew. helm and kubeconform are those on PATH, or those that
tests/k8s/node/build has built; where they are missing, the tests that need them are skipped. The alerts are tested on the rendered files, without helm.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from harness import RELEASE, ROOT, agent, environment, wshealthd
from test_monitoring_rules import play

HELM = ROOT / "helm"
RENDERED = HELM / "rendered"
CHARTS = ("wshealthd", "chat")
CI = [(chart, file.name.removesuffix("-values.yaml")) for chart in CHARTS for file in sorted((HELM / chart / "ci").glob("*-values.yaml"))]
VERSIONS = ("1.27", "1.29", "1.33")
BUILT = pathlib.Path(os.environ.get("K8S_DIR", "/var/tmp/wshealthd-k8s"))


def program(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + f":{BUILT}/bin")
    if not found:
        pytest.skip(f"{name} is missing (tests/k8s/node/build builds it)")
    return found


def helm(*args, check=True):
    done = subprocess.run([program("helm"), *map(str, args)], capture_output=True, text=True, timeout=120, check=False, cwd=HELM)
    assert not check or done.returncode == 0, f"helm {args}: {done.stdout}{done.stderr}"
    return done


def render(chart, name, version, *more):
    text = helm("template", "chat" if chart == "chat" else "watch", chart, "--namespace", "shop", "--kube-version", f"{version}.0", "-f", f"{chart}/ci/{name}-values.yaml", *more).stdout
    return "".join(line for line in text.splitlines(True) if line.strip())


def objects(text):
    return [one for one in yaml.safe_load_all(text) if one]


def pod_spec(documents):
    return next(one for one in documents if one["kind"] == "Deployment" and "redis" not in one["metadata"]["name"])["spec"]["template"]["spec"]


each_ci = pytest.mark.parametrize("chart, name", CI, ids=["-".join(pair) for pair in CI])


# --- charts -------------------------------------------------------------------------------------------------------------------


@each_ci
def test_lint_is_strict(chart, name):
    for version in VERSIONS:
        done = helm("lint", "--strict", chart, "-f", f"{chart}/ci/{name}-values.yaml", "--kube-version", f"{version}.0", check=False)
        assert done.returncode == 0 and "[WARNING]" not in done.stdout, done.stdout + done.stderr


def test_the_library_lints():
    assert helm("lint", "--strict", "wshealthd-lib", check=False).returncode == 0


GOLDEN = [(chart, name, "1.33") for chart, name in CI] + [("chat", "default", "1.27"), ("chat", "story", "1.27")]


@pytest.mark.parametrize("chart, name, version", GOLDEN, ids=["-".join(row) for row in GOLDEN])
def test_rendered_examples_are_what_helm_renders(chart, name, version):
    file, text = RENDERED / f"{chart}-{name}-{version}.yaml", render(chart, name, version)
    if os.environ.get("HELM_WRITE"):
        RENDERED.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.exists() and file.read_text() == text, f"{file.name} is not what helm renders: make helm writes it anew"


def sources():
    """The hash of all that the rendered examples come from."""
    files = sorted(file for chart in ("wshealthd-lib", *CHARTS) for file in (HELM / chart).rglob("*") if file.is_file() and not {"charts", "app"} & set(file.relative_to(HELM).parts))
    files += sorted((ROOT / "monitoring").iterdir())  # the library's link leads there
    return hashlib.sha256(b"".join(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes() for file in files)).hexdigest()


def test_nothing_has_changed_since_they_were_rendered():
    """What a machine without helm can say of them."""
    if os.environ.get("HELM_WRITE") and helm("version").returncode == 0:
        (RENDERED / "sources.sha256").write_text(sources() + "\n")
    assert (RENDERED / "sources.sha256").read_text().strip() == sources(), "the charts have changed since they were rendered: make helm"


def test_no_rendered_example_is_left_over():
    assert sorted(file.name for file in RENDERED.glob("*.yaml")) == sorted(f"{chart}-{name}-{version}.yaml" for chart, name, version in GOLDEN)


@pytest.mark.parametrize("file", sorted(RENDERED.glob("*.yaml")), ids=lambda file: file.name)
def test_the_agent_takes_the_configuration(file, tmp_path):
    """What the ConfigMaps hold passes `wshealthd config check`."""
    text = next(one for one in objects(file.read_text()) if one["kind"] == "ConfigMap" and "wshealthd.yaml" in one["data"])["data"]["wshealthd.yaml"]
    for secret in re.findall(r"/etc/wshealthd/files/[\w.-]+", text):
        (tmp_path / pathlib.Path(secret).name).write_text("secret\n")
    (tmp_path / "wshealthd.yaml").write_text(text.replace("/etc/wshealthd/files", str(tmp_path)))
    code, out, err = wshealthd("config", "check", tmp_path / "wshealthd.yaml", binary=RELEASE, REDIS_URL="redis://redis:6379")
    assert code == 0, out + err


@each_ci
def test_numbers_stay_numbers(chart, name):
    """Helm prints a large number as 1e+06 where a template writes it by itself."""
    assert not re.search(r"\de\+\d", render(chart, name, "1.33"))


def test_before_1_29_the_sidecar_is_a_plain_container():
    old, new = (pod_spec(objects(render("chat", "default", version))) for version in ("1.27", "1.29"))
    assert "initContainers" not in old and [one["name"] for one in old["containers"]] == ["wshealthd", "chat"]
    assert [one["name"] for one in new["containers"]] == ["chat"]
    (sidecar,) = new["initContainers"]
    assert sidecar["restartPolicy"] == "Always" and "startupProbe" not in sidecar and "lifecycle" not in sidecar
    # Both of its containers get their SIGTERM at once there: the agent stays as long as the server's drain.
    assert old["containers"][0]["lifecycle"] == old["containers"][1]["lifecycle"] == new["containers"][0]["lifecycle"]
    assert [one["name"] for one in pod_spec(objects(render("chat", "default", "1.33", "--set", "wshealthd.native=false")))["containers"]] == ["wshealthd", "chat"]


@pytest.mark.parametrize("version", VERSIONS)
@each_ci
def test_what_must_hold_of_every_pod(chart, name, version):
    spec = pod_spec(objects(render(chart, name, version)))
    everything = spec.get("initContainers", []) + spec["containers"]
    agent = next(one for one in everything if one["name"] == "wshealthd")
    context = agent["securityContext"]
    assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]} and context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "memory" in agent["resources"]["limits"] and "cpu" not in agent["resources"]["limits"]
    assert agent["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert not spec.get("automountServiceAccountToken", True)
    assert {mount["name"] for mount in agent["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}
    for one in everything:
        hook = one.get("lifecycle", {}).get("preStop")
        for get in [one[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe") if probe in one] + ([hook["httpGet"]] if hook else []):
            assert get["port"] == 9717, "a name would be looked up in the wrong container"
        if hook:
            waits = int(re.search(r"timeout=(\d+)s", hook["httpGet"]["path"])[1])
            assert spec["terminationGracePeriodSeconds"] >= waits + 15


def test_on_agent_failure():
    """A 503 takes the pod out at once in both cases; only how long silence is waited for differs."""
    def probes(*values):
        agent = pod_spec(objects(render("chat", "default", "1.33", *values)))["initContainers"][0]
        return agent["readinessProbe"], agent["livenessProbe"]

    stay, liveness = probes()
    out, _ = probes("--set", "wshealthd.onAgentFailure=outOfRotation")
    assert out == {"httpGet": {"path": "/ready", "port": 9717}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    restarted_after = liveness["periodSeconds"] * liveness["failureThreshold"] + liveness["timeoutSeconds"] + liveness["terminationGracePeriodSeconds"]
    assert {**stay, "timeoutSeconds": 1} == out and stay["timeoutSeconds"] > restarted_after


def test_a_changed_configuration_rolls_the_pods():
    def annotation(*values):
        deployment = next(one for one in objects(render("chat", "default", "1.33", *values)) if one["kind"] == "Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/wshealthd"]

    assert annotation() == annotation() != annotation("--set", "wshealthd.config.liveness.after=9s")


REFUSED = (
    ("chat", ("wshealthd.onAgentFailur=outOfRotation",), "onAgentFailur"),
    ("chat", ("wshealthd.onAgentFailure=never",), "onAgentFailure"),
    ("chat", ("wshealthd.drain.seconds=30s",), "seconds"),
    ("chat", ("wshealthd.config.listen=127.0.0.1:1",), "config"),
    ("chat", ("wshealthd.files.token.secret=name",), "token"),
    ("chat", ("wshealthd.server.liveness.failureThreshold=2",), "more than the 37 s"),
    ("chat", ("wshealthd.config.target.url=",), "config.target.url is missing"),
    ("chat", ("redis.enabled=false",), "redis.url is missing"),
    ("wshealthd", ("replica=2",), "replica"),
    ("wshealthd", ("port=99999",), "port"),
    ("wshealthd", ("config.target.url=",), "config.target.url is missing"),
    ("wshealthd", ("podMonitor.enabled=true", "serviceMonitor.enabled=true"), "both enabled"),
    ("wshealthd", ("serviceMonitor.enabled=true", "service.enabled=false"), "needs service.enabled"),
    ("wshealthd", ("prometheusRule.disabled={NotReady}",), "disabled"),
    ("wshealthd", ("prometheusRule.runbookUrl=docs",), "runbookUrl"),
)


@pytest.mark.parametrize("chart, values, named", REFUSED, ids=[values[0] for _, values, _ in REFUSED])
def test_what_the_schema_refuses(chart, values, named):
    name = "default" if chart == "chat" else "minimal"
    sets = [word for value in values for word in ("--set", value)]
    done = helm("template", "x", chart, "-f", f"{chart}/ci/{name}-values.yaml", *sets, check=False)
    assert done.returncode != 0 and named in done.stderr, done.stderr


def test_without_any_value_it_says_what_is_missing():
    done = helm("template", "x", "wshealthd", check=False)
    assert done.returncode != 0 and "say where the WebSocket is" in done.stderr
    done = helm("lint", "wshealthd", check=False)  # which goes on after that
    assert "say where the WebSocket is" in done.stderr and "nil pointer" not in done.stdout, done.stdout + done.stderr


def test_the_notes_name_answers_that_the_agent_has(tmp_path):
    """The paths of what people are told to ask by HTTP."""
    with agent("target: { url: ws://127.0.0.1:9/ws }\n", tmp_path) as child:
        for file in HELM.glob("*/templates/NOTES.txt"):
            for path in re.findall(r"(?<=\}\}|\s\s)/(?!\{)[\w?=&]*", file.read_text()):
                assert child.get(path).status in (200, 503), f"{file}: {path}"


@pytest.mark.parametrize("version", VERSIONS)
@each_ci
def test_strict_validation(chart, name, version, tmp_path):
    """Against the types of a real API server, which tests/k8s/run leaves behind. Those of the Prometheus operator are not among them."""
    kubeconform = program("kubeconform")
    if not (BUILT / "schemas" / "_definitions.json").exists():
        pytest.skip("the schemas of an API server are missing (make k8s writes them)")
    file = tmp_path / "manifest.yaml"
    file.write_text(render(chart, name, version))
    done = subprocess.run([kubeconform, "-strict", "-summary", "-skip", "PodMonitor,ServiceMonitor,PrometheusRule", "-schema-location",
                           f"{BUILT}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "Invalid: 0, Errors: 0" in done.stdout, done.stdout + done.stderr


def test_versions_agree():
    version = re.search(r'WSHEALTHD_VERSION "(.*)"', (ROOT / "agent/base/version.h").read_text())[1]
    for chart in ("wshealthd-lib", *CHARTS):
        about = yaml.safe_load((HELM / chart / "Chart.yaml").read_text())
        assert about["version"] == about["appVersion"] == version, chart
        assert all(one["version"] == version for one in about.get("dependencies", [])), chart
    assert f"\n{version}\n" in (HELM / "wshealthd-lib/templates/_values.tpl").read_text()


OWN_POD = """apiVersion: v1
kind: Pod
metadata:
  name: own
  annotations: {{- include "wshealthd.podAnnotations" . | nindent 4 }}
spec:
  {{- include "wshealthd.terminationGracePeriodSeconds" . | nindent 2 }}
  initContainers:
    - { name: migrate, image: "own:1" }
    {{- include "wshealthd.initContainers" . | nindent 4 }}
  containers:
    {{- include "wshealthd.containers" . | nindent 4 }}
    - name: own
      image: own:1
      {{- include "wshealthd.server" . | nindent 6 }}
  volumes:
    - { name: scratch, emptyDir: {} }
    {{- include "wshealthd.volumes" . | nindent 4 }}
"""


@pytest.mark.parametrize("alias", ["wshealthd", None])
def test_a_chart_with_init_containers_and_volumes_of_its_own(tmp_path, alias):
    """It takes the pieces of podSpec. Without an alias the values are below the library's name."""
    (tmp_path / "own" / "templates").mkdir(parents=True)
    (tmp_path / "own" / "charts").mkdir()
    shutil.copytree(HELM / "wshealthd-lib", tmp_path / "own" / "charts" / "wshealthd-lib")
    depends = {"name": "wshealthd-lib", "version": yaml.safe_load((HELM / "wshealthd-lib/Chart.yaml").read_text())["version"], **({"alias": alias} if alias else {})}
    (tmp_path / "own" / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "own", "version": "1.0.0", "dependencies": [depends]}))
    (tmp_path / "own" / "values.yaml").write_text(yaml.safe_dump({alias or "wshealthd-lib": {"config": {"target": {"url": "ws://127.0.0.1:8080"}}}}))
    (tmp_path / "own" / "templates" / "pod.yaml").write_text(OWN_POD)
    (tmp_path / "own" / "templates" / "wshealthd.yaml").write_text('{{ include "wshealthd.manifests" . }}')
    for version, native in (("1.27", False), ("1.33", True)):
        documents = objects(helm("template", "x", tmp_path / "own", "--kube-version", f"{version}.0").stdout)
        spec = next(one for one in documents if one["kind"] == "Pod")["spec"]
        assert [one["name"] for one in spec["initContainers"]] == ["migrate", *["wshealthd"] * native]
        assert [one["name"] for one in spec["containers"]] == [*["wshealthd"] * (not native), "own"]
        assert [one["name"] for one in spec["volumes"]] == ["scratch", "wshealthd", "wshealthd-run"]
        assert spec["volumes"][1]["projected"]["sources"][0]["configMap"]["name"] == next(one for one in documents if one["kind"] == "ConfigMap")["metadata"]["name"]


# --- alerts and dashboard -------------------------------------------------------------------------------------------------------
# What they are is monitoring/, see test_monitoring_rules.py. The charts narrow the alerts to their release.


def rules_of(file):
    return next(one for one in objects((RENDERED / file).read_text()) if one["kind"] == "PrometheusRule")["spec"]


def test_alerts(tool, tmp_path):
    """What the chat makes of the alerts passes their own test, whose instances are its own."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules_of("chat-everything-1.33.yaml")))
    play(tool("promtool"), tmp_path, "alerts_test.yaml")


def test_alerts_are_of_the_release():
    """Every series is asked for with the release's namespace and job."""
    ours = 'namespace="shop",job=~"(shop/)?chat-wshealthd"'
    for group in rules_of("chat-everything-1.33.yaml")["groups"]:
        assert group["name"].startswith("chat-wshealthd-")
        for rule in group["rules"]:
            found = re.findall(r"(?<![:\w])(wshealthd_\w+|up\b)(\{[^}]*\})?", rule["expr"])
            assert found and all(selector.startswith("{" + ours) and selector.count("job=") == 1 for _, selector in found), rule["expr"]
            assert rule["expr"].count(ours) == len(found), rule["expr"]


def test_the_charts_have_all_of_monitoring():
    """Only the selectors differ."""
    written = [rule for file in ("alerts.yaml", "rules.yaml") for group in yaml.safe_load((ROOT / "monitoring" / file).read_text())["groups"] for rule in group["rules"]]
    rendered = [rule for group in rules_of("chat-everything-1.33.yaml")["groups"] for rule in group["rules"]]
    assert [{**rule, "expr": ""} for rule in written] == [{**rule, "expr": ""} for rule in rendered]
    dashboard = next(one for one in objects((RENDERED / "chat-everything-1.33.yaml").read_text()) if one["metadata"]["name"].endswith("-dashboard"))
    assert json.loads(dashboard["data"]["wshealthd.json"]) == json.loads((ROOT / "monitoring/dashboard.json").read_text())


def test_alerts_as_the_values_want_them():
    rules = [rule for group in rules_of("wshealthd-service-1.33.yaml")["groups"] for rule in group["rules"] if "alert" in rule]
    names = [rule["alert"] for rule in rules]
    assert "WshealthdFlapping" not in names and "WshealthdNotReady" in names
    assert all(rule["annotations"]["runbook_url"] == f"https://chat.example.com/docs/alerts.md#{rule['alert'].lower()}" for rule in rules)


@pytest.mark.parametrize("chart, name", [("chat", "everything"), ("wshealthd", "service")])
def test_a_package_holds_what_the_links_lead_to(chart, name, tmp_path):
    helm("package", chart, "-d", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    text = helm("template", "chat" if chart == "chat" else "watch", package, "--namespace", "shop", "--kube-version", "1.33.0", "-f", f"{chart}/ci/{name}-values.yaml").stdout
    assert "".join(line for line in text.splitlines(True) if line.strip()) == (RENDERED / f"{chart}-{name}-1.33.yaml").read_text()


# --- without Helm -------------------------------------------------------------------------------------------------------------


def test_the_kustomize_component_is_what_the_chart_renders():
    """The same sidecar, hook and times; only the names and the configuration's volume are its own."""
    done = subprocess.run([program("kubectl"), "kustomize", HELM / "kustomize/chat"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ours, chart = pod_spec(objects(done.stdout)), pod_spec(objects((RENDERED / "chat-default-1.33.yaml").read_text()))
    (sidecar,), (wanted,) = ours["initContainers"], chart["initContainers"]
    wanted = {key: value for key, value in wanted.items() if key not in ("env", "imagePullPolicy")}
    assert sidecar == wanted
    assert ours["containers"][0]["lifecycle"] == chart["containers"][0]["lifecycle"]
    assert ours["terminationGracePeriodSeconds"] == chart["terminationGracePeriodSeconds"]
    names = {one["metadata"]["name"] for one in objects(done.stdout) if one["kind"] == "ConfigMap"}
    assert {volume["configMap"]["name"] for volume in ours["volumes"] if "configMap" in volume} == names and "wshealthd" not in names


def test_the_component_without_a_tool():
    """Its patch, laid over its Deployment as kustomize does, is what the chart renders."""
    sidecar = yaml.safe_load((HELM / "kustomize/component/sidecar.yaml").read_text())["spec"]["template"]["spec"]
    (hook,) = yaml.safe_load((HELM / "kustomize/component/server.yaml").read_text())
    chart = pod_spec(objects((RENDERED / "chat-default-1.33.yaml").read_text()))
    wanted = {key: value for key, value in chart["initContainers"][0].items() if key not in ("env", "imagePullPolicy")}
    assert sidecar["initContainers"] == [wanted]
    assert hook["value"] == chart["containers"][0]["lifecycle"]
    assert sidecar["terminationGracePeriodSeconds"] == chart["terminationGracePeriodSeconds"]


# --- what the guide tells people to type --------------------------------------------------------------------------------------------


def test_the_commands_of_the_guide(tmp_path):
    """The sh blocks of docs/kubernetes.md, as they are printed, in the source's directory. Without a cluster `helm install` renders, `kubectl apply -k` builds; make k8s
    does the rest."""
    printed = "".join(re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/kubernetes.md").read_text(), re.M | re.S))
    for name, word, instead in (("helm", "install", "template"), ("kubectl", "apply -k", "kustomize")):
        (tmp_path / name).write_text(f'#!/bin/sh\ncase "$*" in "{word} "*) shift {len(word.split())} ;; *) exit 99 ;; esac\nexec {program(name)} {instead} "$@"\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["bash", "-e", "-c", printed.replace("\nkubectl", "\necho ---\nkubectl")], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
                          env={**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 0, f"{printed}{done.stderr}"
    made = {(one["kind"], one["metadata"]["name"]) for one in objects(done.stdout)}
    assert {("Deployment", "watch-wshealthd"), ("Deployment", "chat")} <= made, made
    assert "wss://chat.example.com/ws" in done.stdout
