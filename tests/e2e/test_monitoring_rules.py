"""monitoring/: the alerts and recording rules by promtool, and what they and the dashboard name: series, labels, runbooks, commands. The queries are put
to a real Prometheus in test_dashboard.py; what the charts make of the files is in test_helm.py."""
import json
import re
import shutil
import subprocess

import pytest
import yaml

from harness import RELEASE, ROOT, environment, wshealthd
from test_load_balancers import section

MONITORING = ROOT / "monitoring"
TESTS = ROOT / "tests" / "monitoring"
ALERTS = [rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
RECORDS = [rule for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_TARGETS = {"namespace", "job", "instance", "pod"}  # what a scrape adds
CORE = {"stat", "timeseries", "table", "state-timeline", "row"}  # panels that every Grafana has


def play(promtool, directory, test):
    """tests/monitoring/TEST against rules.yaml of the directory."""
    shutil.copy(TESTS / test, directory)
    for words in (("check", "rules", "rules.yaml"), ("test", "rules", test)):
        done = subprocess.run([promtool, *words], capture_output=True, text=True, timeout=120, check=False, cwd=directory, env=environment(TZ="UTC"))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["alerts", "rules"])
def test_promtool(tool, name, tmp_path):
    shutil.copy(MONITORING / f"{name}.yaml", tmp_path / "rules.yaml")
    play(tool("promtool"), tmp_path, f"{name}_test.yaml")


def test_every_rule_is_played():
    """Each alert fires once at least, and once at least does not where it might; each recording rule is asked."""
    played = [case for test in yaml.safe_load((TESTS / "alerts_test.yaml").read_text())["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert names == {case["alertname"] for case in played if case["exp_alerts"]} == {case["alertname"] for case in played if not case["exp_alerts"]}
    asked = " ".join(case["expr"] for test in yaml.safe_load((TESTS / "rules_test.yaml").read_text())["tests"] for case in test["promql_expr_test"])
    assert all(rule["record"] in asked for rule in RECORDS)


# --- what they name -----------------------------------------------------------------------------------------------------------------


def known_series():
    known = {"up": set()}
    for name, labels, kind in re.findall(r"^  (\w+)(?:\{([\w,]*)\})? \((\w+)\)", wshealthd("help", "metrics", binary=RELEASE)[1], re.M):
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            known[name + suffix] = set(filter(None, labels.split(","))) | ({"le"} if suffix == "_bucket" else set())
    return known


def queries():
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
        for query in re.findall(r'printf "(.*?)" \$labels', rule["annotations"]["description"]):
            yield rule["alert"], query
    for rule in RECORDS:
        yield rule["record"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])[1]


def test_every_series_and_label_exists():
    """In `wshealthd help metrics`. Labels are those that the query selects, groups or joins by, or that a legend or text shows."""
    known, shown = known_series(), {}
    for rule in ALERTS:
        shown[rule["alert"]] = set(re.findall(r"(?:\.Labels|\$labels)\.(\w+)", " ".join(rule["annotations"].values()))) - {"limit"}
    for panel in PANELS:
        shown[panel["title"]] = set(re.findall(r"\{\{(\w+)\}\}", " ".join(target.get("legendFormat", "") for target in panel["targets"])))
    for name, query in queries():
        labels = set(OF_TARGETS)
        found = re.findall(r"(?<![\w:$])((?:wshealthd|process)_\w+|up\b)(?:\{([^}]*)\})?", query)
        assert found, f"{name}: no series in {query}"
        for series, selector in found:
            assert series in known, f"{name}: {series}"
            wanted = set(re.findall(r"(\w+)(?==|!=|=~|!~)", selector))
            assert wanted <= known[series] | OF_TARGETS, f"{name}: {wanted} of {series}"
            labels |= known[series]
        for group in re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)", query):
            assert set(re.findall(r"\w+", group)) <= labels, f"{name}: {group}"
        if name in shown and not any(rule.get("alert") == name for rule in ALERTS):
            assert shown[name] <= labels, f"{name}: {shown[name]} in the legend"
    assert all(names <= set().union(*known.values()) | OF_TARGETS for names in shown.values()), shown


def test_queries_stay_with_agents():
    """`up` and process_* are of every target: they are asked only beside a series of ours, or in a job of our name."""
    for name, query in queries():
        for part in re.split(r"\bor\b", query):
            assert not re.search(r"\b(up|process_\w+)\b", part) or "wshealthd" in part, f"{name}: {query}"


# --- alerts ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert(rule):
    """What somebody needs who is woken by it, and where the runbook is."""
    assert re.fullmatch(r"Wshealthd[A-Za-z]+", rule["alert"]) and rule["for"] and rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert len(rule["annotations"]["summary"]) < 160
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    body = re.search(rf"^## {rule['alert']}\n(.*?)(?=^## |\Z)", (ROOT / page).read_text(), re.M | re.S)
    assert body, f"{page} has no section {rule['alert']}"
    assert f"*{rule['labels']['severity']}*" in body[1], f"{page}: {rule['alert']} is {rule['labels']['severity']}"
    # One instance of many wakes nobody: what is critical is said of many.
    assert rule["labels"]["severity"] == "warning" or re.match(r"(avg|group) by \(namespace, job\b", rule["expr"])


def test_the_runbook_has_no_other_alert():
    titles = re.findall(r"^## (Wshealthd\w+)$", (ROOT / "docs/alerts.md").read_text(), re.M)
    assert titles == [rule["alert"] for rule in ALERTS]
    named = set(re.findall(r"\bWshealthd[A-Z]\w+", "".join((ROOT / path).read_text() for path in ("docs/alerts.md", "docs/monitoring.md", "docs/kubernetes.md", "monitoring/dashboard.json"))))
    assert named <= set(titles), named - set(titles)


def test_the_address_of_the_runbook():
    """The command that docs/monitoring.md prints gives each alert a link to its section."""
    command = re.search(r"`(sed '[^`]* alerts\.yaml)`", (ROOT / "docs/monitoring.md").read_text())[1]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True, cwd=MONITORING)
    rules = [rule for group in yaml.safe_load(done.stdout)["groups"] for rule in group["rules"]]
    assert [rule["annotations"]["runbook_url"] for rule in rules] == [f"https://wiki.example.com/wshealthd/alerts.md#{rule['alert'].lower()}" for rule in ALERTS]


def test_the_causes_of_the_runbook_exist():
    """What `wshealthd explain` is given there, and the causes in its table."""
    text = (ROOT / "docs/alerts.md").read_text()
    for word in set(re.findall(r"wshealthd explain ([a-z_]+)", text)) | set(re.findall(r"^\| `([a-z_]+)`", text, re.M)):
        assert wshealthd("explain", word, binary=RELEASE)[0] == 0, word


def test_alertmanager(tool, tmp_path):
    """The grouping that docs/monitoring.md prints: one page for one incident, and what a critical alert explains is quiet."""
    amtool, file = tool("amtool"), tmp_path / "alertmanager.yml"
    file.write_text(section("Alertmanager", "yaml", 0, "monitoring"))
    done = subprocess.run([amtool, "check-config", file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in ALERTS}
    for name, wanted in severity.items():
        done = subprocess.run([amtool, "config", "routes", "test", f"--config.file={file}", f"alertname={name}", f"severity={wanted}", "job=wshealthd"], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.stdout.strip() == {"critical": "pager", "warning": "chat"}[wanted], done.stdout + done.stderr
    for rule in yaml.safe_load(file.read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            named = re.fullmatch(r'alertname(?:=~|=)"?([\w|]+)"?', matcher)
            assert named and set(named[1].split("|")) <= set(severity), matcher


# --- dashboard ------------------------------------------------------------------------------------------------------------------------


def test_dashboard():
    assert DASHBOARD["uid"] == "wshealthd" and 36 <= DASHBOARD["schemaVersion"] <= 39  # 36 is that of Grafana 9.0; later ones bring it up to theirs
    assert {panel["type"] for panel in DASHBOARD["panels"]} <= CORE
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and "id" not in DASHBOARD and "__inputs" not in DASHBOARD
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "check"] and variables["datasource"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(variable["datasource"] == source for variable in variables.values() if variable["type"] == "query")
    for panel in PANELS:
        assert panel["description"].endswith(".") and 1 < len(panel["title"]) < 50, panel["title"]
        assert panel["datasource"] == source and not any("datasource" in target for target in panel["targets"]), panel["title"]
        field = panel["fieldConfig"]["defaults"]
        assert field["unit"] and ("thresholds" not in field or field["thresholds"]["steps"][0]["value"] is None), panel["title"]
        assert panel["type"] != "timeseries" or all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert all('job=~"$job"' in target["expr"] for target in panel["targets"]), panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_rows_and_variables_agree():
    """The fleet is all instances of the job; below it the variables choose."""
    row = None
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            continue
        for target in panel["targets"]:
            assert ("$instance" in target["expr"]) != row.startswith("Fleet"), f"{row}: {panel['title']}"
