"""The Debian package on a real systemd: installed, started, upgraded under running agents, removed, purged. `make deb` builds it."""
import shutil
import subprocess

import pytest

from booted import OTHER_ROOT, boot  # noqa: F401  (boot is a fixture)
from test_packaging import built


@pytest.fixture
def packages(tool, tmp_path, boot):
    """Puts the package, and the same as a newer version, beside the units of the machine that is booted."""
    if OTHER_ROOT:
        pytest.skip("the package is of this Debian")
    package = built("deb", "wshealthd_*.deb")
    dpkg = tool("dpkg-deb")
    subprocess.run([dpkg, "-R", package, tmp_path / "tree"], check=True)
    control = tmp_path / "tree" / "DEBIAN" / "control"
    version = subprocess.run([dpkg, "-f", package, "Version"], capture_output=True, text=True, check=True).stdout.strip()
    control.write_text(control.read_text().replace(f"Version: {version}\n", f"Version: {version}+newer\n"))
    subprocess.run([dpkg, "-b", tmp_path / "tree", tmp_path / "newer.deb"], check=True, stdout=subprocess.DEVNULL)
    shutil.copy(package, tmp_path / "units" / "files" / "package.deb")
    shutil.move(tmp_path / "newer.deb", tmp_path / "units" / "files" / "newer.deb")


@pytest.mark.usefixtures("packages")
def test_the_life_of_the_package(boot):
    out = boot("""
rm -f /usr/sbin/policy-rc.d /usr/bin/wshealthd /etc/wshealthd/wshealthd.yaml /etc/systemd/system/wshealthd*
systemctl daemon-reload
export DEBIAN_FRONTEND=noninteractive
dpkg -i /etc/systemd/system/files/package.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "installed: $(systemctl is-enabled wshealthd) $(systemctl is-active wshealthd)"
sed -i s/8080/18080/ /etc/wshealthd/wshealthd.yaml
{ cat /etc/wshealthd/wshealthd.yaml; echo "listen: 127.0.0.1:9720"; } >/etc/wshealthd/chat.yaml
install -m 640 -g wshealthd /dev/null /etc/wshealthd/token
setpriv --reuid=wshealthd --regid=wshealthd --clear-groups cat /etc/wshealthd/token && echo "the agent's user reads its secrets"
systemctl start echo wshealthd.socket wshealthd-agent-check.socket
systemctl enable --now wshealthd 2>/dev/null
systemctl start wshealthd@chat
wshealthd wait --timeout 20s && echo "ready"
one=$(show wshealthd MainPID) two=$(show wshealthd@chat MainPID)
dpkg -i /etc/systemd/system/files/newer.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
[ $one != $(show wshealthd MainPID) ] && [ $two != $(show wshealthd@chat MainPID) ] && echo "both are the newer one"
echo "upgraded: $(systemctl is-active wshealthd wshealthd@chat wshealthd.socket wshealthd-agent-check.socket | xargs), $(grep -c 18080 /etc/wshealthd/wshealthd.yaml) line kept"
wshealthd wait --timeout 20s && echo "ready again"
dpkg --remove wshealthd >/dev/null 2>&1
echo "removed: $(systemctl is-active wshealthd wshealthd@chat wshealthd.socket wshealthd-agent-check.socket | xargs), $(pgrep -xc wshealthd) run, $(ls /etc/wshealthd | xargs)"
dpkg --purge wshealthd >/dev/null 2>&1
echo "purged: $(ls -d /etc/wshealthd /run/wshealthd* /var/lib/wshealthd* /var/lib/private/wshealthd* /etc/systemd/system/*.wants/wshealthd* 2>/dev/null | xargs)."
""")
    for line in ("installed: disabled inactive", "the agent's user reads its secrets", "ready\n", "both are the newer one", "ready again\n",
                 "upgraded: active active active active, 1 line kept", "removed: inactive inactive inactive inactive, 0 run, chat.yaml token wshealthd.yaml",
                 "purged: .\n"):
        assert line in out, out
