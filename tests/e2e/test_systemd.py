"""The unit under a real systemd, booted in namespaces of its own (tests/tools/boot-systemd): ready, status, reload, watchdog, stop."""
import subprocess

from booted import boot  # noqa: F401  (a fixture)
from harness import RELEASE, ROOT


def test_the_life_of_the_unit(boot):
    out = boot("""
systemctl start echo
systemctl start wshealthd
echo "started $(systemctl is-active wshealthd)"
wshealthd wait --timeout 10s && echo "waited"
echo "ready $(ask /ready)"
sleep 0.5
echo "status: $(systemctl show wshealthd -p StatusText --value)"
echo "user: $(systemctl show wshealthd -p User --value) $(stat -c %a /run/wshealthd/admin.sock)"
pid=$(systemctl show wshealthd -p MainPID --value)
systemctl reload wshealthd && echo "reloaded"
echo 'checks: [' >>/etc/wshealthd/wshealthd.yaml
systemctl reload wshealthd || echo "bad file refused"
echo "same pid $([ "$pid" = "$(systemctl show wshealthd -p MainPID --value)" ] && echo yes)"
echo "ready $(ask /ready)"
systemctl stop wshealthd
echo "result $(systemctl show wshealthd -p Result --value) $(systemctl show wshealthd -p ExecMainStatus --value)"
journalctl -u wshealthd -o cat --no-pager
""")
    for line in ("started active", "waited", "ready 200", "reloaded", "bad file refused", "same pid yes", "result success 0"):
        assert line in out, out
    assert out.count("ready 200") == 2, out
    assert "status: " in out and "ready" in out.split("status: ")[1].splitlines()[0].lower(), out
    assert "event=start" in out and "event=stop" in out, out


def test_the_watchdog_restarts_an_agent_that_hangs(boot):
    out = boot("""
mkdir -p /etc/systemd/system/wshealthd.service.d
printf '[Service]\\nWatchdogSec=1s\\nRestartSec=100ms\\n' >/etc/systemd/system/wshealthd.service.d/quick.conf
systemctl daemon-reload
systemctl start echo wshealthd
sleep 3
echo "restarts before: $(systemctl show wshealthd -p NRestarts --value)"
kill -STOP "$(systemctl show wshealthd -p MainPID --value)"
for i in $(seq 100); do [ "$(systemctl show wshealthd -p NRestarts --value)" -ge 1 ] && break; sleep 0.1; done
echo "restarts after: $(systemctl show wshealthd -p NRestarts --value)"
wshealthd wait --timeout 10s && echo "ready again"
""")
    assert "restarts before: 0" in out and "restarts after: 1" in out and "ready again" in out, out


def test_socket_activation(boot):
    out = boot("""
systemctl start echo
systemctl start wshealthd.socket
echo "idle $(systemctl is-active wshealthd.service || true)"
for i in $(seq 50); do code=$(ask /ready); [ "$code" = 200 ] && break; sleep 0.1; done
echo "ready $code"
echo "now $(systemctl is-active wshealthd.service)"
""")
    assert "idle inactive" in out and "ready 200" in out and "now active" in out, out


def test_the_unit_is_well_formed(tool, tmp_path):
    analyze = tool("systemd-analyze")
    for unit in sorted((ROOT / "systemd").glob("wshealthd*.service")):
        text = unit.read_text().replace("/usr/bin/wshealthd", RELEASE)
        copy = tmp_path / unit.name
        copy.write_text(text)
        done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    done = subprocess.run([analyze, "security", "--offline=true", "--threshold=20", tmp_path / "wshealthd.service"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
