"""Every query of monitoring/ by a real Prometheus that scrapes the demo, whose faults are switched, and a second agent with the checks that the demo
lacks, and then those of a fleet by one that scrapes two agents of two regions: no query fails, and no panel of the dashboard is empty. Grafana itself is not run; its variables are filled in as it does."""
import collections
import contextlib
import json
import math
import re
import signal
import ssl
import urllib.error

import pytest

from demo import Demo
from harness import BINARY, PYTHON, ROOT, SERVERS, agent, free_port, process, until
from rogue import polite, rogue
from test_fleet import broker, conf, fleet
from test_monitoring import api, ask, prometheus
from test_monitoring_rules import ALERTS, DASHBOARD, MONITORING, PANELS, RECORDS

SECONDS = 60
OF_SLOW_MACHINES = {"WshealthdAgentStarved", "WshealthdMessagesLost", "WshealthdFlapping"}
JOB = "wshealthd"
SECOND = """identity: {{ region: north }}
defaults: {{ interval: 500ms, fast_interval: 200ms, timeout: 5s }}
target: {{ url: "wss://localhost:{port}/ws", tls: {{ ca_file: "{ca}" }} }}
checks:
  - {{ name: echo, type: echo }}
  - {{ name: certificate, type: tls }}
  - {{ name: server, type: server }}
notify:
  - {{ name: nobody, type: webhook, url: "http://127.0.0.1:9/" }}
"""
CONFIG = """global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [ {directory}/rules.yaml, {directory}/alerts.yaml ]
scrape_configs:
  - job_name: {job}
    static_configs: [ {{ targets: ["127.0.0.1:{demo}", "127.0.0.1:{second}"] }} ]
"""
DELIVERY = "checks: [ { type: handshake }, { name: delivery, type: delivery, broker: bus, channel: healthcheck } ]"


def filled(query):
    """As Grafana asks with `All` chosen."""
    for name, value in (("$__rate_interval", "30s"), ("$__range", "5m"), ("$job", JOB), ("$instance", ".*"), ("$check", ".*")):
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


def write_rules(directory):
    """The recording rules as they are; the alerts without their `for`, as what fires has its texts made."""
    (directory / "rules.yaml").write_text((MONITORING / "rules.yaml").read_text())
    (directory / "alerts.yaml").write_text(re.sub(r"^( +)for: \w+$", r"\1for: 0s", (MONITORING / "alerts.yaml").read_text(), flags=re.M))


def firing(port):
    """{alert: [annotations]}."""
    found = collections.defaultdict(list)
    for one in api("alerts", port)["alerts"]:
        found[one["labels"]["alertname"]].append(one["annotations"])
    return found


class Panels:
    """Which have shown something: each query once, while its fault was there."""

    def __init__(self, port, of_fleets=False):
        self.port = port
        self.empty = {(panel["title"], target["refId"]): filled(target["expr"]) for panel in PANELS for target in panel["targets"]
                      if ("wshealthd_fleet_" in target["expr"]) == of_fleets}

    def fill(self):
        try:
            until("every panel shows something", self.look, SECONDS, 0.5)
        except AssertionError:
            pytest.fail(f"empty: {self.empty}")

    def look(self):
        """A panel shows something if a value of it is a number."""
        for key, query in list(self.empty.items()):
            try:
                found = ask(query, self.port)
            except urllib.error.HTTPError as error:
                pytest.fail(f"{key}: {query}: {error.read().decode()}")
            if any(math.isfinite(value) for _, value in found):
                del self.empty[key]
        return not self.empty


def test_every_query(tool, certs, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.leaf("good"))
    tool("prometheus")
    port = free_port()
    write_rules(tmp_path)
    demo = Demo(BINARY, "--listen", f"127.0.0.1:{free_port()}")
    try:
        with rogue(lambda sock, _: polite(sock), tls=context) as server, agent(SECOND.format(port=server.port, ca=certs.ca), tmp_path) as second, \
                prometheus(tool, tmp_path, CONFIG.format(directory=tmp_path, job=JOB, demo=demo.port, second=second.port), port):
            panels = Panels(port)
            until("both are ready", lambda: len(ask("wshealthd_ready == 1", port)) == 2, SECONDS, 0.5)
            until("no alert fires", lambda: not set(firing(port)) - OF_SLOW_MACHINES, SECONDS, 0.5)

            # A rate needs two scrapes, and a fault may stop what it is of.
            until("heartbeats are seen to arrive", lambda: len(ask("rate(wshealthd_delivery_seconds_count[30s]) > 0", port)) == 2, SECONDS, 0.5)
            assert second.command("drain")[0] == 0
            demo.type("close-1011")
            panels.fill()
            told = until("it is told", lambda: (now := firing(port)) and "WshealthdMostInstancesNotReady" in now and "WshealthdNotReady" in now and now, SECONDS, 0.5)
            (one,) = told["WshealthdNotReady"]
            assert str(demo.port) in one["summary"] and re.search(r'"wshealthd explain (\w+)" says what to do', one["description"]), one
            assert {"in region default"} == {re.search("in region \\w+", text["summary"])[0] for text in told["WshealthdMostInstancesNotReady"]}
            demo.type("clear")
            demo.type("broker-down")
            told = until("the broker is told of", lambda: "WshealthdBrokerDown" in (now := firing(port)) and "WshealthdDegraded" in now and now, SECONDS, 0.5)
            assert "see broker_down" in told["WshealthdDegraded"][0]["description"], told
            for name, texts in told.items():
                assert not any("error expanding" in text or "<" in text for one in texts for text in one.values()), (name, texts)

            for rule in ALERTS:
                ask(rule["expr"], port)
            for rule in RECORDS:
                assert ask(rule["record"], port), f"{rule['record']} is empty"
            for group in api("rules", port)["groups"]:
                for rule in group["rules"]:
                    assert rule["health"] == "ok", rule
            for variable in DASHBOARD["templating"]["list"][1:]:
                series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
                assert api(f"label/{label}/values", port, **{"match[]": filled(series)}), variable["name"]
    finally:
        demo.cleanup()


def test_queries_of_a_fleet(tool, tmp_path):
    """Two agents of two regions, with heartbeats through their servers; then the broker goes."""
    pytest.importorskip("websockets", reason="python3-websockets is missing")
    tool("prometheus")
    port = free_port()
    write_rules(tmp_path)
    with broker("redis", tool, tmp_path) as bus, contextlib.ExitStack() as stack:
        children = []
        for name, region in (("chat-0", "eu"), ("chat-1", "us")):
            server, folder = free_port(), tmp_path / name
            folder.mkdir()
            stack.enter_context(process(PYTHON, SERVERS / "redis_pubsub.py", server, bus.port, port=server))
            text = conf(server, bus.url, name, region)
            children.append(stack.enter_context(agent(text[:text.index("checks:")] + DELIVERY, folder)))
        first, second = children
        with prometheus(tool, tmp_path, CONFIG.format(directory=tmp_path, job=JOB, demo=first.port, second=second.port), port):
            until("they know each other", lambda: fleet(first)["linked"] and len(fleet(second)["members"]) == 2)
            Panels(port, of_fleets=True).fill()
            assert "WshealthdFleetNotLinked" not in firing(port)
            bus.end(signal.SIGKILL)
            told = until("it is told", lambda: firing(port).get("WshealthdFleetNotLinked"), SECONDS, 0.5)
            assert "not linked to their fleet" in told[0]["summary"], told
