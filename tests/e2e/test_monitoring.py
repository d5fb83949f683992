"""What docs/monitoring.md and docs/rollouts.md print: the scrape configuration with the alerts, and the queries, by a real Prometheus that scrapes real
agents, and the plugin's command by a shell, as Nagios runs it."""
import contextlib
import json
import re
import signal
import subprocess
import urllib.parse
import urllib.request

from harness import BINARY, PATIENCE, ROOT, connects, process, until
from test_load_balancers import HOSTS, Client, place, section
from test_monitoring_rules import ALERTS

SECONDS = 60


def api(path, port=9090, **query):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?" + urllib.parse.urlencode(query), timeout=PATIENCE) as answer:
        return json.load(answer)["data"]


def ask(query, port=9090):
    """[(the labels, the value)]."""
    return [(one["metric"], float(one["value"][1])) for one in api("query", port, query=query)["result"]]


def is_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=PATIENCE):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def prometheus(tool, directory, text, port=9090):
    (directory / "prometheus.yml").write_text(text)
    with process(tool("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address=127.0.0.1:{port}",
                 "--log.level=warn", ready=lambda _: connects(port) and is_ready(port)):
        yield


def test_prometheus(tool, tmp_path):
    """The agents are found, and each alert's expression tells the instance or the job that it is about."""
    promtool = tool("promtool")
    config = section("Prometheus", "yaml", 0, "monitoring").replace("/usr/share/wshealthd/", f"{ROOT}/")
    assert "scrape_interval: 15s" in config
    config = config.replace("scrape_interval: 15s", "scrape_interval: 2s")  # for the test's time
    (tmp_path / "prometheus.yml").write_text(config)
    done = subprocess.run([promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "2 rule files" in done.stdout, done.stdout + done.stderr
    alerts = {rule["alert"]: rule["expr"] for rule in ALERTS}
    with place(tool, tmp_path, more="brokers: [ { name: bus, type: redis, url: 'redis://10.0.0.20:6379' } ]\n") as there, prometheus(tool, tmp_path, config):
        def told(alert):
            return {labels.get("instance", labels["job"]).partition(":")[0] for labels, _ in ask(alerts[alert])}

        until("both are scraped", lambda: len(ask("wshealthd_ready == 1")) == 2, SECONDS, 0.5)
        assert told("WshealthdNotReady") == told("WshealthdAgentDown") == told("WshealthdMostInstancesNotReady") == set()
        until("nobody has a broker", lambda: told("WshealthdBrokerDown") == told("WshealthdDegraded") == {"wshealthd"}, SECONDS, 0.5)
        there.servers["one"].send(signal.SIGUSR2)
        until("one is not ready", lambda: told("WshealthdNotReady") == {HOSTS["one"]}, SECONDS, 0.5)
        assert told("WshealthdMostInstancesNotReady") == set()
        there.agents["one"].command("drain")
        until("it is drained", lambda: told("WshealthdNotReady") == set(), SECONDS, 0.5)
        there.servers["two"].send(signal.SIGUSR2)
        until("all that are not drained are not ready", lambda: told("WshealthdMostInstancesNotReady") == {"wshealthd"}, SECONDS, 0.5)
        there.kill_agent("two")
        until("its agent is gone", lambda: told("WshealthdAgentDown") == {HOSTS["two"]}, SECONDS, 0.5)
        assert told("WshealthdNotReady") == told("WshealthdNobodyWatches") == set()
        there.kill_agent("one")
        until("all are gone", lambda: told("WshealthdNobodyWatches") == {"wshealthd"}, SECONDS, 0.5)


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
