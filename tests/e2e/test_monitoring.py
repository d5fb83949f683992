"""What docs/monitoring.md and docs/rollouts.md print: the scrape configuration, the alerts and the queries by a real Prometheus that scrapes real
agents, and the plugin's command by a shell, as Nagios runs it."""
import contextlib
import json
import re
import signal
import subprocess
import urllib.parse
import urllib.request

import yaml

from harness import BINARY, PATIENCE, connects, process, until
from test_load_balancers import HOSTS, Client, place, section

SECONDS = 90  # for two scrapes of the document's interval


def ask(query):
    """[(the labels, the value)]."""
    with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": query}), timeout=PATIENCE) as answer:
        return [(one["metric"], float(one["value"][1])) for one in json.load(answer)["data"]["result"]]


def is_ready():
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/-/ready", timeout=PATIENCE):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def prometheus(tool, directory, text):
    (directory / "prometheus.yml").write_text(text)
    with process(tool("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb", "--web.listen-address=127.0.0.1:9090",
                 "--log.level=warn", ready=lambda _: connects(9090) and is_ready()):
        yield


def test_prometheus(tool, tmp_path):
    """The agents are found, and each alert's expression tells the instance that it is about."""
    promtool = tool("promtool")
    config, rules = section("Prometheus", "yaml", 0, "monitoring"), section("Prometheus", "yaml", 1, "monitoring")
    (tmp_path / "wshealthd-alerts.yml").write_text(rules)
    (tmp_path / "prometheus.yml").write_text(config)
    for what in ("rules", "config"):
        done = subprocess.run([promtool, "check", what, {"rules": tmp_path / "wshealthd-alerts.yml", "config": tmp_path / "prometheus.yml"}[what]],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"]: rule["expr"] for rule in yaml.safe_load(rules)["groups"][0]["rules"]}
    with place(tool, tmp_path, more="brokers: [ { name: bus, type: redis, url: 'redis://10.0.0.20:6379' } ]\n") as there, prometheus(tool, tmp_path, config):
        def told(alert):
            return {labels.get("instance", "").partition(":")[0] for labels, _ in ask(alerts[alert])}

        until("both are scraped", lambda: len(ask("wshealthd_ready == 1")) == 2, SECONDS, 0.5)
        assert told("WshealthdNotReady") == told("WshealthdAgentDown") == told("WshealthdMostInstancesNotReady") == set()
        until("nobody has a broker", lambda: told("WshealthdBrokerDown") == set(HOSTS.values()), SECONDS, 0.5)
        there.servers["one"].send(signal.SIGUSR2)
        until("one is not ready", lambda: told("WshealthdNotReady") == {HOSTS["one"]}, SECONDS, 0.5)
        there.agents["one"].command("drain")
        until("it is drained", lambda: told("WshealthdNotReady") == set(), SECONDS, 0.5)
        there.servers["two"].send(signal.SIGUSR2)
        until("all that are not drained are not ready", lambda: told("WshealthdMostInstancesNotReady") == {""}, SECONDS, 0.5)
        there.kill_agent("two")
        until("its agent is gone", lambda: told("WshealthdAgentDown") == {HOSTS["two"]}, SECONDS, 0.5)
        assert told("WshealthdNotReady") == set()


def test_queries_of_controllers(tool, tmp_path):
    """For pods of a new version, `chat-new-one`, beside one of the old; and the clients of all."""
    query = {}
    for title in ("Argo Rollouts", "Flagger", "KEDA"):
        text = section(title, "yaml", 0, "rollouts")
        query[title] = re.search(r"^ *query: (.*)$", text, re.M)[1].replace("{{args.hash}}", "new").replace("{{ namespace }}", "shop").replace("{{ target }}", "chat")
        assert "{{" not in query[title]
    targets = "".join(f"      - {{ targets: ['{HOSTS[name]}:9717'], labels: {{ namespace: shop, pod: {pod} }} }}\n"
                      for name, pod in (("one", "chat-new-one"), ("two", "chat-primary-old-two")))
    with place(tool, tmp_path, server_check=True) as there, \
            prometheus(tool, tmp_path, f"scrape_configs:\n  - job_name: chat\n    scrape_interval: 1s\n    static_configs:\n{targets}"):
        def value(title):
            found = ask(query[title])
            assert len(found) <= 1, found
            return found[0][1] if found else None

        until("it is ready", lambda: value("Argo Rollouts") == 1 and value("Flagger") == 100, SECONDS, 0.5)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                for host in HOSTS.values():
                    stack.enter_context(contextlib.closing(Client((host, 8080))))
            until("the clients are counted, and no agent's connections", lambda: value("KEDA") == 6, SECONDS, 0.5)
        there.servers["two"].send(signal.SIGUSR2)
        there.agents["two"].wait_not_ready()
        until("the old version's fault is scraped", lambda: ask('wshealthd_ready{pod="chat-primary-old-two"}')[0][1] == 0, SECONDS, 0.5)
        assert value("Argo Rollouts") == 1 and value("Flagger") == 100
        there.servers["one"].send(signal.SIGUSR2)
        until("the new one's fault is seen", lambda: value("Argo Rollouts") == 0 and value("Flagger") == 0, SECONDS, 0.5)
        there.agents["one"].command("drain")
        until("a drained pod is no fault", lambda: value("Argo Rollouts") is None and value("Flagger") is None, SECONDS, 0.5)


def test_nagios(server):
    """The line of the command, as Nagios hands it to a shell."""
    text = section("Nagios, Icinga, Checkmk", "nagios", 0, "monitoring")
    line = re.search(r"command_line (.*)", text)[1].replace("/usr/bin/wshealthd", BINARY).replace("$ARG1$", server.url)

    def plugin():
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert len(done.stdout.splitlines()) == 1, done
        return done.returncode, done.stdout

    code, out = plugin()
    assert code in (0, 1) and "|handshake=" in out, out  # 1: slower than its slo, on a busy machine
    server.send(signal.SIGUSR2)
    code, out = plugin()
    assert code == 2 and "CRITICAL" in out, out
