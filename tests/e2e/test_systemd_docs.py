"""docs/systemd.md and README's part about systemd, on a real one: each section is a machine of its own, on which its blocks are put in place and typed as
they are printed (without sudo, as root). A yaml block is the file that its section speaks of, an ini block the drop-in that the line above names."""
import re

import pytest

from booted import boot  # noqa: F401  (a fixture)
from harness import PYTHON, ROOT

ECHO = f"{PYTHON} /etc/systemd/system/files/servers/echo.py 8080"
DROP_IN = re.compile(r"/etc/systemd/system/(\w+\.service\.d/[\w-]+\.conf)")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


def sections(name):
    parts = re.split(r"^## (.*)\n", (ROOT / name).read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


GUIDE = sections("docs/systemd.md")
# What must hold behind each section's blocks: (before, behind, what must be in the output).
HOLDS = {
    "The agent beside one server": ("systemctl start chat", "echo ready $(ask /ready); echo $(systemctl is-enabled wshealthd)",
                                    ["Status: \"ready: handshake", "ready 200", "enabled"]),
    "Several servers": ("systemctl start chat; until_is x 3 true || true", "until_is 200 20 ask /ready 9718 && echo is ready", ["is ready"]),
    "Start others when the server takes connections": (
        "systemctl start wshealthd", "systemctl daemon-reload; systemctl start next && echo next has started; journalctl -u next -o cat --no-pager",
        ["next has started", "ready: handshake"]),
    "Restart a server that hangs": (
        "", """systemctl daemon-reload; systemctl start chat
until_is 200 20 ask /ready && echo ready; sleep 2
kill -STOP $(show chat MainPID); until_is 1 60 show chat NRestarts && echo restarted; until_is 200 20 ask /ready && echo ready again""",
        ["ready\n", "restarted", "ready again"]),
    "Secrets": ("systemctl start chat; printf secret >/etc/wshealthd/token; chmod 600 /etc/wshealthd/token",
                "wshealthd wait --timeout 20s && echo ready; systemctl reload wshealthd && echo reloaded", ["ready\n", "reloaded"]),
    "Who may ask the agent": ("systemd-sysusers /etc/systemd/system/files/sysusers.conf; systemctl start chat wshealthd; wshealthd wait",
                              "setpriv --reuid=games --regid=games --init-groups wshealthd status", ["ready"]),
    "What was before a restart": ("systemctl start chat", """systemctl restart wshealthd; wshealthd wait; systemctl stop wshealthd
stat -c 'mode %a' /var/lib/wshealthd/history; systemctl start wshealthd; wshealthd wait && echo ready; journalctl -u wshealthd -o cat --no-pager
python3 -c 'import json, urllib.request as u; print("kept", len(json.load(u.urlopen("http://127.0.0.1:9717/history"))["changes"]) > 2)'""",
                                  ["mode 600", "ready\n", "kept True"]),
    "Connections that wait while the agent restarts": (
        "systemctl start chat wshealthd", "until_is 200 20 ask /ready && echo ready; show wshealthd.socket ActiveState; journalctl -u wshealthd -o cat --no-pager",
        ["ready\n", "active\n", 'address="activated socket"']),
    "The sandbox": ("systemctl start chat", """systemctl daemon-reload; systemctl start wshealthd; wshealthd wait && echo ready
show wshealthd ProtectProc; show wshealthd IPAddressDeny; systemd-analyze security --no-pager wshealthd | tail -n 1""",
                    ["ready\n", "default\n", "0.0.0.0/0"]),
}


def play(boot, text, before, behind):
    """The section's blocks, in order."""
    files = {"chat.service": f"[Service]\nType=exec\nUser=games\nExecStart={ECHO}\n", "files/sysusers.conf": (ROOT / "packaging/debian/wshealthd.sysusers").read_text(),
             "next.service": "[Unit]\nRequires=chat.service\nAfter=chat.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/wshealthd check -q ws://127.0.0.1:8080/ws\n"}
    script = [before.replace("\n", "; ")]
    config = re.search(r"`/etc/wshealthd/(chat|wshealthd)\.yaml`", text)
    for match in BLOCK.finditer(text):
        if match["language"] == "ini":
            names = DROP_IN.findall(text[: match.start()])
            assert names, f"no line above says where this goes:\n{match['text']}"
            files[names[-1]] = match["text"]
        elif match["language"] == "yaml":
            script.append(f"cat >/etc/wshealthd/{config[1] if config else 'wshealthd'}.yaml <<'X'\n{match['text']}X")
        elif match["language"] == "sh":
            script += [line.replace("sudo ", "") for line in match["text"].splitlines()]
    head = """sed -i s/18080/8080/ /etc/wshealthd/wshealthd.yaml
cp /etc/wshealthd/wshealthd.yaml /etc/wshealthd/chat.yaml
echo 'liveness: { after: 2s }' >>/etc/wshealthd/chat.yaml
"""
    return boot(head + "\n".join([*script, behind]), files)


@pytest.mark.parametrize("name", GUIDE)
def test_a_section(boot, name):
    assert set(GUIDE) == set(HOLDS)
    before, behind, wanted = HOLDS[name]
    out = play(boot, GUIDE[name], before, behind)
    for words in wanted:
        assert words in out, out
    if name == "The sandbox":
        assert float(re.search(r"exposure level for wshealthd.service: ([\d.]+)", out)[1]) <= 1.1, out


def test_readme(boot):
    text = (ROOT / "README.md").read_text()
    part = text[text.index("**systemd**"): text.index("**Kubernetes**")]
    out = play(boot, "/etc/systemd/system/chat.service.d/wait.conf\n\n" + part, "systemctl start wshealthd",
               "systemctl daemon-reload; systemctl start next && echo next has started; journalctl -u next -o cat --no-pager")
    assert "next has started" in out and "ready: handshake" in out, out


def test_the_drop_ins_are_those_of_the_guide():
    printed = {names[-1]: match["text"] for text in GUIDE.values() for match in BLOCK.finditer(text) if match["language"] == "ini"
               for names in [DROP_IN.findall(text[: match.start()])]}
    shipped = {}
    for path in (ROOT / "systemd").glob("*.service.d/*.conf"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        shipped[f"{path.parent.name.replace('server', 'chat')}/{path.name}"] = "\n".join(lines) + "\n"
    assert printed == shipped
