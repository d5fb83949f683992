"""A machine of its own with a real systemd (tests/tools/boot-systemd), on which this repository's units, drop-ins and program are installed.

By default it is this machine's Debian. WSHEALTHD_SYSTEMD_ROOT=DIRECTORY boots another one's, for another version of systemd: a directory that
debootstrap has made, with the packages systemd, dbus, iproute2, procps, python3, libnghttp2-14, redis-server and openssl.
"""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import PYTHON, RELEASE, ROOT, SERVERS

BOOT = ROOT / "tests" / "tools" / "boot-systemd"
OTHER_ROOT = os.environ.get("WSHEALTHD_SYSTEMD_ROOT")

PRELUDE = f"""
set -e
cp -r /etc/systemd/system/files/root/. /
if [ -d /usr/local/lib/wshealthd-test ]; then ldconfig /usr/local/lib/wshealthd-test; fi
mkdir -p /etc/wshealthd
cat >/etc/wshealthd/wshealthd.yaml <<X
listen: 127.0.0.1:9717
target: {{ url: "ws://127.0.0.1:18080/ws" }}
defaults: {{ interval: 200ms, timeout: 1s, fall: 1 }}
X
ask() {{ {PYTHON} -c 'import sys,urllib.request as u
try: print(u.urlopen("http://127.0.0.1:"+(sys.argv[2:] or ["9717"])[0]+sys.argv[1], timeout=5).status)
except u.HTTPError as e: print(e.code)
except OSError as e: print(type(e).__name__)' "$@"; }}
show() {{ systemctl show "$1" -p "$2" --value; }}
# until_is VALUE SECONDS COMMAND...: repeats the command until it prints that, and says whether it did
until_is() {{ local want=$1 n=$(($2 * 5)); shift 2
    while [ $n -gt 0 ]; do [ "$("$@" 2>/dev/null)" = "$want" ] && return 0; sleep 0.2; n=$((n - 1)); done; return 1; }}
"""


def libraries(program):
    """What the program is linked with and the other Debian has not, or not in this version."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [path for path in re.findall(r"=> (/\S+)", text) if not list(pathlib.Path(OTHER_ROOT).glob(f"usr/lib/*/{os.path.basename(path)}"))]


def systemd_version(root=OTHER_ROOT):
    text = subprocess.run(([] if not root else ["chroot", root]) + ["systemctl", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.match(r"systemd (\d+)", text)[1])


def unit_for(version, path, prefix="/usr"):
    """The text of a unit as `make install` writes it for a version of systemd."""
    env = dict(os.environ, SYSTEMD_VERSION=str(version))
    return subprocess.run([ROOT / "systemd" / "for-release", prefix, path], capture_output=True, text=True, check=True, env=env).stdout


def install(root):
    """As `make install` does."""
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(RELEASE, root / "usr/bin/wshealthd")
    if OTHER_ROOT:
        (root / "usr/local/lib/wshealthd-test").mkdir(parents=True)
        for path in libraries(RELEASE):
            shutil.copy(path, root / "usr/local/lib/wshealthd-test")


@pytest.fixture
def boot(tool, tmp_path):
    """boot(script, files, users): the output of a shell script beside systemd; files: {path below /etc/systemd/system: text}."""
    if os.geteuid() != 0:
        pytest.skip("systemd in namespaces needs root")
    for name in ("systemd-analyze", "unshare", "nsenter", "ip", "dbus-daemon"):
        tool(name)
    units = tmp_path / "units"
    # Inside, /tmp is another one: everything that is needed lies beside the units.
    (units / "files" / "servers").mkdir(parents=True)
    for unit in (ROOT / "systemd").glob("wshealthd*"):
        if unit.is_file():
            (units / unit.name).write_text(unit_for(systemd_version(), unit))
    install(units / "files" / "root")
    shutil.copy(SERVERS.parent / "peer.py", units / "files")
    shutil.copy(SERVERS / "echo.py", units / "files" / "servers")
    (units / "echo.service").write_text(f"[Service]\nExecStart={PYTHON} /etc/systemd/system/files/servers/echo.py 18080\n")
    env = dict(os.environ, **({"BOOT_ROOT": OTHER_ROOT} if OTHER_ROOT else {}))
    done = subprocess.run([BOOT, units, "true"], capture_output=True, text=True, timeout=60, check=False, env=env)
    if done.returncode == 125:
        pytest.skip(f"systemd cannot be booted here: {done.stderr.strip()[-200:]}")

    def run(script, files=None):
        for name, text in (files or {}).items():
            (units / name).parent.mkdir(parents=True, exist_ok=True)
            (units / name).write_text(text)
        done = subprocess.run([BOOT, units, "bash", "-c", PRELUDE + script], capture_output=True, text=True, timeout=240, check=False, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
