"""The drop-ins for the server's own unit (systemd/server.service.d), under a real systemd: dependants that wait for it, and an agent inside the
unit that has a hung server restarted. Most of it is about what must not restart a server: whatever goes wrong with the agent."""
from booted import boot  # noqa: F401  (a fixture)
from harness import PYTHON, ROOT

DROP_INS = ROOT / "systemd" / "server.service.d"
ECHO = "/etc/systemd/system/files/servers/echo.py"
CONFIG = """
cat >/etc/wshealthd/chat.yaml <<X
listen: 127.0.0.1:9717
target: { url: "ws://127.0.0.1:18080/ws" }
liveness: { after: 2s }
defaults: { interval: 200ms, timeout: 1s, fall: 1 }
X
cat >/usr/local/bin/agent <<'X'
#!/bin/sh
# The agent itself; the guard is the process above it.
for pid in $(cat /sys/fs/cgroup/system.slice/chat.service/cgroup.procs); do
    parent=$(sed -n 's/^PPid:\\t//p' /proc/$pid/status)
    grep -qx "$parent" /sys/fs/cgroup/system.slice/chat.service/cgroup.procs && [ "$(cat /proc/$parent/comm)" = wshealthd ] && echo $pid
done
X
chmod 755 /usr/local/bin/agent
status() { wshealthd "$1" --admin unix:/run/wshealthd-chat/admin.sock ${2:+--timeout $2}; }
"""


def units(server=f"{PYTHON} {ECHO} 18080", lines="", drop_ins=("10-wshealthd.conf",)):
    """chat.service as somebody has it, with drop-ins of ours."""
    files = {"chat.service": f"[Service]\nType=exec\nUser=games\nExecStart={server}\n{lines}\n"}
    for name in drop_ins:
        files[f"chat.service.d/{name}"] = (DROP_INS / name).read_text()
    return files


def test_a_hung_server_is_restarted(boot):
    out = boot(CONFIG + """
systemctl start chat
status wait 20s && echo "ready"
server=$(show chat MainPID)
sleep 3
kill -STOP $server
until_is 1 30 show chat NRestarts && echo "restarted"
[ "$(show chat MainPID)" != $server ] && echo "another process"
status wait 20s && echo "ready again"
systemctl stop chat
echo "result $(show chat Result), restarts $(show chat NRestarts)"
journalctl -u chat -o cat --no-pager
""", units())
    for line in ("ready\n", "restarted\n", "another process\n", "ready again\n", "result success", "event=dead cause=server_hung", "event=restart unit=chat.service"):
        assert line in out, out
    assert "Watchdog request (last status: wshealthd: The server takes connections and says nothing" in out, out
    assert "event=restart_off" not in out, out


def test_an_agent_that_ends_or_hangs_is_started_again_and_the_server_stays(boot):
    out = boot(CONFIG + """
systemctl start chat
status wait 20s
server=$(show chat MainPID)
first=$(agent)
kill -KILL $first
until_is '' 10 sh -c "agent | grep -x $first || true"
until_is 200 20 ask /ready && echo "back after a crash"
second=$(agent)
kill -STOP $second
until_is '' 40 sh -c "agent | grep -x $second || true" && echo "the hung one is gone"
until_is 200 20 ask /ready && echo "back after a hang"
guard=$(sed -n 's/^PPid:\\t//p' /proc/$(agent)/status)
kill -KILL $guard
sleep 5
echo "without its guard $(ask /ready)"
kill -KILL $(pgrep -x wshealthd)
sleep 5
echo "same server $([ $server = "$(show chat MainPID)" ] && show chat ActiveState), restarts $(show chat NRestarts)"
journalctl -u chat -o cat --no-pager
""", units())
    for line in ("back after a crash", "the hung one is gone", "back after a hang", "without its guard 200", "same server active, restarts 0",
                 'message="the agent was ended by signal 9" hint="it is started again in 1 s"', 'message="the agent hangs, and is started again"'):
        assert line in out, out


def test_a_broken_configuration_is_no_matter_of_the_server_s(boot):
    out = boot(CONFIG + """
good=$(cat /etc/wshealthd/chat.yaml)
echo 'checks: [' >>/etc/wshealthd/chat.yaml
systemctl start chat && echo "started"
sleep 3
echo "server $(show chat ActiveState), agent $(ask /ready)"
echo "$good" >/etc/wshealthd/chat.yaml
until_is 200 30 ask /ready && echo "mended"
echo 'checks: [' >>/etc/wshealthd/chat.yaml
kill -HUP $(agent)
sleep 1
echo "after the reload $(ask /ready), restarts $(show chat NRestarts)"
mv /usr/bin/wshealthd /usr/bin/gone
systemctl restart chat && echo "started without the program: $(show chat ActiveState)"
""", units())
    for line in ("started\n", "server active, agent URLError", "mended", "after the reload 200, restarts 0", "started without the program: active"):
        assert line in out, out


def test_a_dead_broker_restarts_nobody(boot):
    out = boot(CONFIG + """
cat >>/etc/wshealthd/chat.yaml <<X
brokers: [ { name: bus, url: "redis://127.0.0.1:18079" } ]
X
systemctl start chat
until_is 200 20 ask /live
sleep 4
kill -STOP $(show chat MainPID)
until_is 503 20 ask /live && echo "not live"
sleep 10
echo "restarts $(show chat NRestarts)"
""", units())
    assert "not live" in out and "restarts 0" in out, out


def test_a_server_that_is_still_starting_is_not_restarted(boot):
    out = boot(CONFIG + """
systemctl start chat
until_is 503 20 ask /live && echo "not live"
sleep 10
echo "server $(show chat ActiveState), restarts $(show chat NRestarts)"
""", units(server="/bin/sleep 600"))
    assert "not live" in out and "server active, restarts 0" in out, out


def test_a_server_that_ends_in_its_own_time_is_not_aborted(boot):
    """KillMode=mixed tells the server alone. It stops listening, and serves its clients out."""
    server = f"""{PYTHON} {ECHO} 18080"""
    out = boot(CONFIG + """
systemctl start chat
status wait 20s
sleep 2
systemctl stop chat --no-block
sleep 1
echo "stopping: $(show chat ActiveState)"
until_is inactive 40 show chat ActiveState
echo "result $(show chat Result)"
journalctl -u chat -o cat --no-pager
""", {**units(server=server, lines="KillMode=mixed\nExecStop=/bin/sh -c 'kill -STOP $MAINPID; sleep 12; kill -CONT $MAINPID'")})
    assert "stopping: deactivating" in out and "result success" in out, out
    assert "event=dead" in out and 'event=restart_off unit=chat.service message="ActiveState=deactivating' in out and "event=restart " not in out, out


def test_a_unit_that_would_not_be_started_again_is_left_alone_and_that_is_said_at_once(boot):
    out = boot(CONFIG + """
systemctl start chat
status wait 20s
sleep 13
journalctl -u chat -o cat --no-pager
kill -STOP $(show chat MainPID)
until_is 503 20 ask /live && echo "not live"
sleep 6
echo "server $(show chat ActiveState) $(show chat Result)"
""", {**units(), "chat.service.d/30-own.conf": "[Service]\nRestart=no\n"})
    assert 'event=restart_off unit=chat.service message="ActiveState=active Restart=no NotifyAccess=all"' in out.split("not live")[0], out
    assert "server active success" in out, out


def test_it_goes_only_for_the_main_process_of_its_own_unit(boot):
    out = boot(CONFIG + """
systemctl start echo
other=$(show echo MainPID)
for pid in $other 999999 x 1; do
    systemd-run -q --pipe --wait -p NotifyAccess=all wshealthd run --watchdog-for $pid ws://127.0.0.1:18080/ 2>&1 || echo "code $?"
done
""", units())
    assert out.count("code 3") == 4, out
    assert "want $MAINPID of the unit that this runs in" in out and "process 999999: No such process" in out and "--watchdog-for 'x', want $MAINPID" in out, out


def test_dependants_start_when_the_server_takes_connections(boot):
    slow = f"/bin/sh -c 'sleep 3; exec {PYTHON} {ECHO} 18080'"
    dependant = "[Unit]\nRequires=chat.service\nAfter=chat.service\n[Service]\nType=oneshot\nExecStart=/usr/bin/wshealthd check -q ws://127.0.0.1:18080/ws\n"
    for drop_ins, more in ((("20-wshealthd-wait.conf",), "systemctl start wshealthd"), (("10-wshealthd.conf", "20-wshealthd-wait.conf"), "true")):
        out = boot(CONFIG + f"""
{more}
systemctl start next && echo "the dependant found it"
journalctl -u next -o cat --no-pager
""", {**units(server=slow, drop_ins=drop_ins), "next.service": dependant})
        assert "the dependant found it" in out and "ready: handshake" in out, out


def test_a_server_starts_also_without_an_agent_to_wait_for(boot):
    out = boot(CONFIG + """
sed -i s/30s/3s/ /etc/systemd/system/chat.service.d/20-wshealthd-wait.conf
systemctl daemon-reload
systemctl start chat && echo "started: $(show chat ActiveState)"
journalctl -u chat -o cat --no-pager
""", units(drop_ins=("20-wshealthd-wait.conf",)))
    assert "started: active" in out and "no agent answered on http://127.0.0.1:9717 within 3s" in out, out
