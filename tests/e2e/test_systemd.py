"""The agent's own units under a real systemd, booted in namespaces of its own (booted.py): ready, status, reload, watchdog, sockets, the sandbox
with every check type in it, credentials, several servers, stop. What is for the server's unit is in test_systemd_server.py."""
import json
import re
import subprocess

import pytest

from booted import boot, systemd_version, unit_for  # noqa: F401  (boot is a fixture)
from certs import Certs
from harness import RELEASE, ROOT

UNITS = sorted((ROOT / "systemd").glob("wshealthd*.service"))
DROP_INS = ROOT / "systemd" / "wshealthd.service.d"
SYSUSERS = ROOT / "packaging" / "debian" / "wshealthd.sysusers"


def test_the_life_of_the_unit(boot):
    out = boot("""
systemctl start echo
systemctl start wshealthd
echo "started $(systemctl is-active wshealthd)"
wshealthd wait --timeout 10s && echo "waited"
echo "ready $(ask /ready)"
until_is yes 20 sh -c "systemctl show wshealthd -p StatusText --value | grep -q '^ready: handshake' && echo yes" && echo "status says it"
echo "user: $(show wshealthd User) $(stat -c %a /run/wshealthd/admin.sock)"
systemctl stop wshealthd
echo "result $(show wshealthd Result) $(show wshealthd ExecMainStatus)"
journalctl -u wshealthd -o cat --no-pager
echo === json
journalctl -u wshealthd -o json --no-pager _COMM=wshealthd
""")
    for line in ("started active", "waited", "ready 200", "status says it", "user: wshealthd 660", "result success 0", "event=start", "event=stop"):
        assert line in out, out
    lines = [json.loads(line)["MESSAGE"] for line in out.split("=== json\n")[1].splitlines()]
    assert len(lines) >= 4 and all(isinstance(line, str) and line.startswith("level=") for line in lines), "a line that journalctl would not print"


def test_priorities(boot):
    """The journal has each line's priority and time, and the line neither; errors before there is a log have one too. Not where stderr goes elsewhere."""
    out = boot("""
systemctl start wshealthd
until_is yes 20 sh -c "journalctl -u wshealthd -o cat --no-pager | grep -q event=check_fail && echo yes"
systemctl start echo
wshealthd wait --timeout 20s && until_is yes 20 sh -c "journalctl -u wshealthd -o cat --no-pager | grep -q event=ready && echo yes"
systemctl stop wshealthd
sed -i '1i log: { format: json }' /etc/wshealthd/wshealthd.yaml
systemctl start wshealthd && systemctl stop wshealthd
echo "nonsense: 1" >>/etc/wshealthd/wshealthd.yaml
systemctl start wshealthd || true
echo === json
journalctl -u wshealthd -o json --no-pager _COMM=wshealthd
mkdir -p /etc/systemd/system/wshealthd.service.d
printf '[Service]\nStandardOutput=journal\nStandardError=append:/run/wshealthd.err\n' >/etc/systemd/system/wshealthd.service.d/err.conf
sed -i /nonsense/d /etc/wshealthd/wshealthd.yaml
sed -i /format/d /etc/wshealthd/wshealthd.yaml
systemctl daemon-reload
systemctl reset-failed wshealthd
systemctl start wshealthd && systemctl stop wshealthd
echo === elsewhere
cat /run/wshealthd.err
""")
    journal, elsewhere = out.split("=== json\n")[1].split("=== elsewhere\n")
    lines = [(entry["PRIORITY"], entry["MESSAGE"]) for entry in map(json.loads, journal.splitlines())]
    for priority, words in (("4", "level=warn event=check_fail "), ("6", "level=info event=ready "), ("6", '{"level":"info","event":"start"'), ("3", "/etc/wshealthd/wshealthd.yaml:")):
        assert any(p == priority and text.startswith(words) for p, text in lines), (words, lines)
    assert all("time=" not in text and '"time":' not in text and not text.startswith("<") for _, text in lines), lines
    assert elsewhere.startswith("time=") and "event=start" in elsewhere and "<6>" not in elsewhere, elsewhere


def test_reload_good_and_bad(boot):
    out = boot("""
systemctl start echo wshealthd
wshealthd wait --timeout 10s
pid=$(show wshealthd MainPID)
echo "type $(show wshealthd Type)"
good=$(cat /etc/wshealthd/wshealthd.yaml)
echo 'details: full' >>/etc/wshealthd/wshealthd.yaml
systemctl reload wshealthd && echo "reloaded"
echo "log of it: $(journalctl -u wshealthd -o cat --no-pager | grep -c 'event=reload ')"
printf 'detail: full\\nchecks: { }\\n' >>/etc/wshealthd/wshealthd.yaml
systemctl reload wshealthd || echo "bad file refused"
echo "same pid $([ "$pid" = "$(show wshealthd MainPID)" ] && echo yes), $(show wshealthd ActiveState)"
kill -HUP $pid
until_is yes 20 sh -c "systemctl show wshealthd -p StatusText --value | grep -q refused && echo yes"
echo "active again: $(until_is active 20 show wshealthd ActiveState && echo yes)"
echo "status: $(show wshealthd StatusText)"
echo "ready $(ask /ready)"
echo "$good" >/etc/wshealthd/wshealthd.yaml
systemctl reload wshealthd
until_is yes 20 sh -c "systemctl show wshealthd -p StatusText --value | grep -qv refused && echo yes" && echo "forgotten"
""")
    for line in ("type " + ("notify-reload" if systemd_version() >= 253 else "notify"), "reloaded", "log of it: 1", "bad file refused", "same pid yes, active",
                 "active again: yes", "ready 200", "forgotten"):
        assert line in out, out
    assert re.search(r"status: ready: .* \| reload refused, the old configuration goes on: .*wshealthd\.yaml:\d+:\d+: detail: unknown key.* \(and 1 more\)", out), out


def test_the_watchdog_restarts_an_agent_that_hangs(boot):
    out = boot("""
mkdir -p /etc/systemd/system/wshealthd.service.d
printf '[Service]\\nWatchdogSec=1s\\nRestartSec=100ms\\n' >/etc/systemd/system/wshealthd.service.d/quick.conf
systemctl daemon-reload
systemctl start echo wshealthd
sleep 3
echo "restarts before: $(show wshealthd NRestarts)"
kill -STOP "$(show wshealthd MainPID)"
until_is 1 20 show wshealthd NRestarts && echo "restarted"
wshealthd wait --timeout 10s && echo "ready again"
""")
    assert "restarts before: 0" in out and "restarted" in out and "ready again" in out, out


def test_socket_activation(boot):
    out = boot("""
sed -i s/127.0.0.1:9717/127.0.0.1:9799/ /etc/wshealthd/wshealthd.yaml
systemctl start echo
systemctl start wshealthd.socket wshealthd-agent-check.socket wshealthd-grpc.socket
echo "idle $(systemctl is-active wshealthd.service || true)"
until_is 200 20 ask /ready && echo "ready"
echo "now $(systemctl is-active wshealthd.service)"
haproxy() { python3 -c 'import socket; s=socket.create_connection(("127.0.0.1", 9718), 5); print(s.makefile().readline().strip())'; }
echo "agent-check: $(haproxy)"
journalctl -u wshealthd -o cat --no-pager | grep -o "grpc=.activated socket."
sed -i s/9799/9798/ /etc/wshealthd/wshealthd.yaml
systemctl reload wshealthd
until_is 2 10 sh -c "journalctl -u wshealthd -o cat --no-pager | grep -c 'event=re[a]d[y]\\|event=reload '"
echo "after the reload $(ask /ready) $(haproxy), at listen's address $(ask /ready 9798)"
# Asked all the while it restarts: nobody is refused. SIGKILL can cut one request, the one that the agent has taken and not answered yet.
python3 - <<X &
import http.client, time, urllib.error, urllib.request
seen, end = {}, time.monotonic() + 8
while time.monotonic() < end:
    try: what = urllib.request.urlopen("http://127.0.0.1:9717/healthz", timeout=20).status
    except (ConnectionResetError, http.client.RemoteDisconnected): what = "cut"
    except OSError as error: what = repr(error)
    seen[what] = seen.get(what, 0) + 1
if seen.get("cut") == 1: del seen["cut"]
print("answers", sorted(map(str, seen)))
X
sleep 1
kill -KILL "$(show wshealthd MainPID)"
wait $!
echo "restarts $(show wshealthd NRestarts)"
""")
    for line in ("idle inactive", "ready\n", "now active", "agent-check: up ready 100%", 'grpc="activated socket"', "after the reload 200 up ready 100%, at listen's address URLError",
                 "answers ['200']", "restarts 1"):
        assert line in out, out


def test_a_socket_that_nothing_serves_is_told(boot):
    out = boot("""
systemctl start echo
systemctl start wshealthd.socket
ask /ready >/dev/null
journalctl -u wshealthd -o cat --no-pager
""", {"wshealthd.socket.d/own.conf": "[Socket]\nFileDescriptorName=htp\n"})
    assert 'event=config_warning message="a socket unit opens a socket named htp that nothing here serves"' in out, out


EVERY_CHECK = """
cat >/etc/wshealthd/wshealthd.yaml <<X
listen: 127.0.0.1:9717
target: { url: "ws://127.0.0.1:18080/ws", origin: "http://chat.example", token: "\\${file:/etc/wshealthd/token}" }
defaults: { interval: 500ms, timeout: 3s }
brokers: [ { name: bus, type: redis, url: "redis://127.0.0.1:18079" } ]
checks:
  - { name: handshake, type: handshake }
  - { name: ping, type: ping }
  - { name: echo, type: echo }
  - { name: hold, type: hold }
  - { name: payload, type: payload, max: 1KiB, probe_to: 1KiB, fragments: false }
  - { name: reconnect, type: reconnect, interval: 1s }
  - { name: delivery, type: delivery, broker: bus, channel: health }
  - { name: origin, type: origin }
  - { name: script, type: script, steps: [ { send: hello }, { expect: { equals: hello } } ] }
  - { name: tcp, type: tcp, address: "127.0.0.1:18080" }
  - { name: http, type: http, url: "http://127.0.0.1:9717/healthz" }
  - { name: names, type: http, url: "http://localhost:9717/healthz" }
  - { name: server, type: server, unit: echo.service, memory: 1GiB }
X
printf secret >/etc/wshealthd/token
chown root:wshealthd /etc/wshealthd/token
chmod 640 /etc/wshealthd/token
cat >/etc/wshealthd/tls.yaml <<X
listen: 127.0.0.1:9716
target: { url: "wss://localhost:18443/", tls: { ca_file: /etc/wshealthd/ca.pem } }
checks: [ { name: tls, type: tls, interval: 500ms } ]
X
cp /etc/systemd/system/files/ca.pem /etc/wshealthd/
"""
IN_FORCE = ("NoNewPrivileges", "ProtectSystem", "ProtectHome", "ProtectProc", "ProcSubset", "PrivateDevices", "PrivateTmp", "PrivateUsers", "PrivateMounts",
            "MemoryDenyWriteExecute", "RestrictNamespaces", "SystemCallFilter", "RestrictAddressFamilies", "DynamicUser", "CapabilityBoundingSet")


def test_every_check_works_in_the_sandbox(boot, tool, tmp_path):
    tool("redis-server")
    certs = Certs(tmp_path / "certs")
    certificate, key = certs.leaf("good")
    files = {"files/ca.pem": open(certs.ca, encoding="utf-8").read(), "files/cert.pem": open(certificate, encoding="utf-8").read(),
             "files/key.pem": open(key, encoding="utf-8").read(), "files/sysusers.conf": SYSUSERS.read_text(),
             "redis.service": "[Service]\nExecStart=/usr/bin/redis-server --port 18079 --bind 127.0.0.1 --save ''\n",
             "tls.service": "[Service]\nExecStart=/usr/bin/openssl s_server -accept 18443 -www -cert /etc/systemd/system/files/cert.pem "
                            "-key /etc/systemd/system/files/key.pem\n",
             "wshealthd.service.d/server-process.conf": (DROP_INS / "server-process.conf").read_text()}
    out = boot("systemd-sysusers /etc/systemd/system/files/sysusers.conf\n" + EVERY_CHECK + """
systemctl start redis tls echo
systemctl start wshealthd wshealthd@tls || journalctl -u "wshealthd*" --no-pager -o cat
until_is 503 20 ask /ready || true
sleep 5
echo "=== user $(stat -c %U:%G /run/wshealthd/admin.sock) $(ps -o user= -p "$(show wshealthd MainPID)")"
usermod -a -G wshealthd games
setpriv --reuid=games --regid=games --init-groups wshealthd status --json | grep -c delivery | sed "s/^/=== a member of the group asks: /"
setpriv --reuid=daemon --regid=daemon --clear-groups wshealthd status 2>&1 || echo "=== another user does not"
grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/$(show wshealthd MainPID)/status
systemctl show --all wshealthd
echo "=== tls"
wshealthd status --json --admin unix:/run/wshealthd-tls/admin.sock
echo
echo "=== all"
wshealthd status --json || true
""", files)
    assert "=== user wshealthd:wshealthd wshealth" in out, out
    assert "=== a member of the group asks: 1" in out and "=== another user does not" in out and "permission denied" in out, out
    assert re.search(r"CapEff:\s+0{16}\nCapBnd:\s+0{16}\nNoNewPrivs:\s+1\nSeccomp:\s+2", out), out
    wanted = dict(line.split("=", 1) for line in (ROOT / "systemd/wshealthd.service").read_text().splitlines() if re.match(r"[A-Z]\w+=", line))
    shown = dict(line.split("=", 1) for line in out.split("=== tls")[0].splitlines() if "=" in line)
    for name in IN_FORCE:
        value = shown[name]
        assert name == "ProtectProc" or value == wanted[name] or name in ("SystemCallFilter", "RestrictAddressFamilies", "CapabilityBoundingSet"), (name, value)
    assert set(shown["RestrictAddressFamilies"].split()) == set(wanted["RestrictAddressFamilies"].split())
    assert "clone" in shown["SystemCallFilter"] and "mount" not in shown["SystemCallFilter"].split() and shown["CapabilityBoundingSet"] == ""
    tls = json.loads(out.split("=== tls\n")[1].splitlines()[0])
    assert [check["status"] for check in tls["checks"]] == ["pass"], tls
    checks = {check["name"]: check for check in json.loads(out.split("=== all\n")[1])["checks"]}
    wrong = {name: (check["reason"], check["message"]) for name, check in checks.items() if check["status"] != "pass"}
    # The plain echo server takes every Origin, and forwards no heartbeat of a broker: that is what these two say.
    assert set(wrong) <= {"origin", "delivery"} and wrong["origin"][0] == "origin_not_enforced" and wrong["delivery"][0] == "delivery_lost", wrong
    server = checks["server"]
    assert server["status"] == "pass", server


def test_several_servers(boot):
    out = boot("""
systemctl start echo echo2
for i in 1 2; do cat >/etc/wshealthd/chat$i.yaml <<X
listen: 127.0.0.1:971$i
target: { url: "ws://127.0.0.1:1808$((i - 1))/ws" }
X
done
systemctl start wshealthd@chat1 wshealthd@chat2
for i in 1 2; do wshealthd wait --timeout 20s --admin unix:/run/wshealthd-chat$i/admin.sock && echo "chat$i $(ask /ready 971$i)"; done
systemctl stop echo2
until_is 503 20 ask /ready 9712 && echo "chat2 is out, chat1 $(ask /ready 9711)"
systemctl status wshealthd@chat2 --no-pager | grep Status
""", {"echo2.service": "[Service]\nExecStart=/usr/bin/python3 /etc/systemd/system/files/servers/echo.py 18081\n"})
    for line in ("chat1 200", "chat2 200", "chat2 is out, chat1 200", 'Status: "not ready: '):
        assert line in out, out


def test_credentials(boot):
    out = boot("""
echo 'target: { url: "ws://127.0.0.1:18080/ws", token: "${file:${CREDENTIALS_DIRECTORY}/token}" }' >/etc/wshealthd/wshealthd.yaml
printf 'very-secret\\n' >/etc/wshealthd/token
chmod 600 /etc/wshealthd/token
systemctl start echo wshealthd
wshealthd wait --timeout 20s && echo "ready"
systemctl reload wshealthd && echo "reloaded"
ls -l /etc/wshealthd/token
rm /etc/wshealthd/token
wshealthd config check || echo "outside of the unit: code $?"
journalctl -u wshealthd -o cat --no-pager
""", {"wshealthd.service.d/credentials.conf": (DROP_INS / "credentials.conf").read_text()})
    assert "ready\n" in out and "reloaded\n" in out and "-rw------- 1 root root" in out and "very-secret" not in out, out
    assert "outside of the unit: code 3" in out, out


@pytest.mark.parametrize("version", (252, 257))
def test_the_units_are_well_formed(tool, tmp_path, version):
    tool("systemctl")
    analyze = tool("systemd-analyze")
    for unit in UNITS:
        text = unit_for(version, unit)
        assert ("Type=notify-reload\n" in text) == (version >= 253) and ("ReloadSignal=SIGURG\n" in text) == (version >= 253)
        if version >= 253 > systemd_version(root=None):
            continue  # this machine's does not know it
        copy = tmp_path / unit.name.replace("@", "@x")
        copy.write_text(text.replace("/usr/bin/wshealthd", RELEASE))
        done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and unit.name.split("@")[0] not in done.stderr, done.stderr
        done = subprocess.run([analyze, "security", "--offline=true", "--threshold=12", copy], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_both_units_differ_only_in_the_name():
    """wshealthd@.service is wshealthd.service with the instance's name where it must be."""
    one, many = ((ROOT / "systemd" / name).read_text() for name in ("wshealthd.service", "wshealthd@.service"))
    head = "[Unit]\n"
    text = one[one.index(head):].replace("agent\nDoc", "agent for %i\nDoc").replace("wshealthd/wshealthd.yaml", "wshealthd/%i.yaml")
    text = text.replace("default/wshealthd", "default/wshealthd-%i")
    text = re.sub(r"^((?:Runtime|State)Directory=wshealthd)$", r"\1-%i", text, flags=re.M)
    assert text == many[many.index(head):]
