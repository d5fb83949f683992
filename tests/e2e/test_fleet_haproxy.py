"""A fleet behind HAProxy, on a real Redis: who is in rotation, by HAProxy's own statistics, when instances break, and while they are restarted in turn.

HAProxy has the instances twice: it asks /ready of each agent (`option httpchk`), and each agent's agent-check beside a connect of its own. What is
said of the rotation below holds in both.
"""
import contextlib
import csv
import io
import signal
import socket
import threading
import time

import jwt

from harness import PATIENCE, PYTHON, SERVERS, connects, free_port, process, until
from instances import Place
from test_fleet import broker
from test_load_balancers import Client

VIEWS = ("httpchk", "agent")
CONF = """global
    stats socket {folder}/h.sock
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout check 5s
    option redispatch
frontend users
    bind 127.0.0.1:{port}
    default_backend httpchk
backend httpchk
    option httpchk GET /ready
    default-server inter 100ms fall 1 rise 1
{httpchk}
backend agent
    default-server weight 100 inter 100ms fall 1 rise 1
{agent}
"""


class Haproxy:
    def __init__(self, path, port):
        self.path, self.port = path, port

    def rows(self, view):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(self.path))
            one.sendall(b"show stat\n")
            answer = b""
            while more := one.recv(65536):
                answer += more
        rows = csv.DictReader(io.StringIO(answer.decode().removeprefix("# ")))
        return {row["svname"]: row["status"].split()[0] for row in rows if row["pxname"] == view and row["svname"].startswith("chat")}

    def rotation(self, view="httpchk"):
        return {name for name, status in self.rows(view).items() if status == "UP"}

    def goes_to(self, names, why, views=VIEWS):
        for view in views:
            until(f"{why}: {view} has {names} in rotation, not {self.rows(view)}", lambda view=view: self.rotation(view) == names)


@contextlib.contextmanager
def haproxy(tool, place):
    port = free_port()
    lines = {"httpchk": "", "agent": ""}
    for one in place.all:
        lines["httpchk"] += f"    server {one.name} 127.0.0.1:{one.server_port} check port {one.port}\n"
        lines["agent"] += f"    server {one.name} 127.0.0.1:{one.server_port} check agent-check agent-inter 100ms agent-port {one.agent_check}\n"
    (place.folder / "haproxy.cfg").write_text(CONF.format(folder=place.folder, port=port, **lines))
    with process(tool("haproxy"), "-db", "-f", place.folder / "haproxy.cfg", ready=lambda _: connects(port) and (place.folder / "h.sock").exists()):
        proxy = Haproxy(place.folder / "h.sock", port)
        proxy.goes_to(place.names(), "at first")
        yield proxy


# --- instances that break --------------------------------------------------------------------------------------------------------------


def test_breaking_two_of_three_leaves_two(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, Place(tmp_path, bus.url, 3, 2) as place, haproxy(tool, place) as proxy:
        first, second, third = place.all
        first.breaks()
        proxy.goes_to(place.names(1, 2), "two others are well")
        second.breaks()
        until("the second is held", lambda: second.cause() == "held_in_rotation")
        answer = second.agent.get("/ready").body.decode()
        assert answer.startswith("degraded") and "[!]fleet held_in_rotation" in answer and "min_ready wants 2" in answer, answer
        code, out, _ = second.agent.command("status")
        assert code == 1 and "held in rotation: without it 1 would remain" in out, out
        proxy.goes_to(place.names(1, 2), "one is held")
        assert third.word() == "ready" and first.cause() != "held_in_rotation"

        first.is_mended()
        proxy.goes_to(place.names(0, 2), "the first is well again: the second may go")
        second.is_mended()
        proxy.goes_to(place.names(), "all are well")
        assert all(one.word() == "ready" for one in place.all)


def test_breaking_all_three_leaves_one(tool, tmp_path):
    """Each in its own way: this is no fault of all at once."""
    with broker("redis", tool, tmp_path) as bus, Place(tmp_path, bus.url, 3, 1, timeout="1s") as place, haproxy(tool, place) as proxy:
        first, second, third = place.all
        first.breaks()
        proxy.goes_to(place.names(1, 2), "the first is broken")
        second.server.send(signal.SIGUSR2)  # it says nothing any more
        proxy.goes_to(place.names(2), "the second hangs")
        third.server.end(signal.SIGKILL)
        until("the third is held", lambda: third.cause() == "held_in_rotation")
        assert "connection refused" in third.sentence() and "without it 0 would remain, and min_ready wants 1" in third.sentence(), third.sentence()
        proxy.goes_to(place.names(2), "the last one stays", ["httpchk"])
        proxy.goes_to(set(), "HAProxy's own connect finds nobody there, whatever the agent says", ["agent"])

        second.server.send(signal.SIGHUP)
        proxy.goes_to(place.names(1), "the second is well again: the third may go")


def test_what_all_have_at_once_takes_nobody_out(tool, tmp_path):
    """One server after the other dies of one cause within a minute: a release, or a load that one after the other cannot bear. Nobody serves, so none
    of them is worse than another; and as soon as one is well, the others leave."""
    with broker("redis", tool, tmp_path) as bus, Place(tmp_path, bus.url, 3, 1) as place, haproxy(tool, place) as proxy:
        first, second, third = place.all
        first.server.end(signal.SIGKILL)
        proxy.goes_to(place.names(1, 2), "the first is dead")
        second.server.end(signal.SIGKILL)
        proxy.goes_to(place.names(2), "the second is dead")
        third.server.end(signal.SIGKILL)
        for one in place.all:
            until("it is called by its name", lambda one=one: one.cause() == "fleet_wide_fault")
            assert one.word() == "degraded" and "[!]fleet fleet_wide_fault 3 of 3" in one.agent.get("/ready").text
            assert "connection refused" in one.sentence() and "3 of 3 instances of the fleet have this fault" in one.sentence(), one.sentence()
        proxy.goes_to(place.names(), "all share it", ["httpchk"])
        proxy.goes_to(set(), "HAProxy's own connect knows better", ["agent"])

        first.start_server()
        proxy.goes_to(place.names(0), "one serves again: the others may go")
        for one in (second, third):
            one.start_server()
        proxy.goes_to(place.names(), "all serve")


# --- a rolling restart -----------------------------------------------------------------------------------------------------------------


class Watch:
    """What HAProxy has in rotation, and what new clients get, all the time."""

    def __init__(self, proxy):
        self.proxy, self.over = proxy, threading.Event()
        self.least, self.served, self.refused = 99, 0, []
        self.threads = [threading.Thread(target=self.look), threading.Thread(target=self.come)]

    def look(self):
        while not self.over.is_set():
            self.least = min(self.least, len(self.proxy.rotation()))
            time.sleep(0.02)

    def come(self):
        while not self.over.is_set():
            try:
                with contextlib.closing(Client(("127.0.0.1", self.proxy.port))):
                    self.served += 1
            except OSError as error:
                self.refused.append(repr(error))
            time.sleep(0.02)

    def lowest(self):
        """Since the last question."""
        least, self.least = self.least, 99
        return least

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)


def roll(one, proxy, meanwhile=lambda: None):
    """A new version of one instance: drained, ended and begun again, the agent with its server."""
    assert one.agent.command("drain")[0] in (0, 1)
    for view in VIEWS:
        until(f"{one.name} is drained", lambda view=view: one.name not in proxy.rotation(view))
    meanwhile()
    one.agent.stop()
    one.server.end()
    one.start_server()
    one.start_agent()
    for view in VIEWS:
        until(f"{one.name} is back", lambda view=view: one.name in proxy.rotation(view))


def test_a_rolling_restart_keeps_four_of_six(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, Place(tmp_path, bus.url, 6, 4) as place, haproxy(tool, place) as proxy, Watch(proxy) as watch:
        for one in place.all[:2]:
            roll(one, proxy)
        assert watch.lowest() >= 5

        place.all[5].breaks()
        proxy.goes_to(place.names(0, 1, 2, 3, 4), "five are left")
        roll(place.all[2], proxy)
        assert watch.lowest() >= 4

        place.all[4].breaks()
        proxy.goes_to(place.names(0, 1, 2, 3), "four are left")
        assert watch.lowest() >= 4
        # A drain is the operator's will, and takes one of the four: of the broken ones that which broke last comes back for as long.
        roll(place.all[3], proxy, lambda: proxy.goes_to(place.names(0, 1, 2, 4), "one comes back"))
        assert watch.lowest() >= 3
        proxy.goes_to(place.names(0, 1, 2, 3), "and leaves again")
        assert watch.lowest() >= 4

        for one in place.all[4:]:
            one.is_mended()
        proxy.goes_to(place.names(), "all are well")
        watch.lowest()
        for one in place.all[4:]:
            roll(one, proxy)
        assert watch.lowest() >= 5
        place.all_know_each_other()
        assert not watch.refused and watch.served > 50, (watch.refused[:5], watch.served)


# --- tokens ----------------------------------------------------------------------------------------------------------------------------


class Guarded(Place):
    """Servers that ask for a token, each by its own list (servers/refuser.py), and an agent with a token of its own beside each."""

    fall, timeout = 1, "2s"  # fall: who is refused tries again after ten seconds

    def start(self):
        for one in self.all:
            one.token = f", token: '${{file:{one.folder}/token}}'"
            has_token(one, f"token-of-{one.name}")
            one.server = self.stack.enter_context(process(PYTHON, SERVERS / "refuser.py", one.server_port, one.folder / "says"))
        super().start()


def put(file, text):
    (file.parent / "new").write_text(text)
    (file.parent / "new").rename(file)


def has_token(one, text):
    """It is shown by the agent, and taken by the server."""
    put(one.folder / "says", f"tokens {text}")
    put(one.folder / "token", text)


def refuses_everybody(one):
    put(one.folder / "says", "status 401 Unauthorized")


def faults(one):
    return {(check["reason"], check["scope"]) for check in one.agent.status()["checks"] if check["state"] == "fail"}


REFUSED = "upgrade_unauthorized"


def test_a_server_that_refuses_everybody_leaves(tool, tmp_path):
    with broker("redis", tool, tmp_path) as bus, Guarded(tmp_path, bus.url, 3, 2) as place, haproxy(tool, place) as proxy:
        first, second, third = place.all
        refuses_everybody(first)
        proxy.goes_to(place.names(1, 2), "the others' servers take theirs")
        assert faults(first) == {(REFUSED, "local")} and "the fleet's other instances pass this check" in first.sentence(), first.sentence()
        assert first.agent.get("/live").status == 200
        refuses_everybody(second)
        proxy.goes_to(place.names(), "one that is taken is no witness: nobody can tell whose fault it is")
        for one in (first, second):
            until("it is not called local", lambda one=one: faults(one) == {(REFUSED, "probe")} and one.word() == "degraded")
        assert third.word() == "ready"


def test_all_servers_that_refuse_everybody_stay(tool, tmp_path):
    """Where all refuse at once, those that have not been tried since must not be taken for ones that let their agents in."""
    with broker("redis", tool, tmp_path) as bus, Guarded(tmp_path, bus.url, 4, 0) as place:
        for one in place.all:
            refuses_everybody(one)
        for one in place.all:
            until(f"{one.name} is refused", lambda one=one: faults(one))
        end = time.monotonic() + 6  # a round and a margin: a witness's word would have come
        while time.monotonic() < end:
            for one in place.all:
                assert one.agent.ready() and faults(one) == {(REFUSED, "probe")}, one.sentence()


def test_an_agent_s_own_token_takes_nothing_out_where_it_is_known(tool, tmp_path):
    """One that is over by its own `exp` is known to be the agent's own doing. One that was revoked, and that no other agent shows, looks like a server
    that refuses everybody. One that is wrong from the beginning stops a release, as without a fleet."""
    with broker("redis", tool, tmp_path) as bus, Guarded(tmp_path, bus.url, 5, 2) as place, haproxy(tool, place) as proxy:
        over, revoked, begun = place.all[:3]
        exp = int(time.time()) + 3
        has_token(over, jwt.encode({"exp": exp}, "a secret", algorithm="HS256"))
        until("both are taken", lambda: over.agent.check("handshake")["status"] == over.agent.check("ping")["status"] == "pass")
        put(revoked.folder / "says", "tokens another")
        time.sleep(max(0, exp + 0.1 - time.time()))
        put(over.folder / "says", "tokens another")
        proxy.goes_to(place.names(0, 2, 3, 4), "one is revoked")
        assert faults(revoked) == {(REFUSED, "local")}, revoked.sentence()
        until("one is over", lambda: faults(over) == {(REFUSED, "probe")} and over.word() == "degraded" and "expired" in over.sentence())

        begun.agent.stop()
        put(begun.folder / "token", "a wrong one")
        begun.start_agent()
        until("it answers", begun.agent.answers)
        until("it is refused", lambda: (REFUSED, "probe") in faults(begun))
        proxy.goes_to(place.names(0, 3, 4), "one has never been in")
        assert begun.states()[begun.name] == "starting" and "the fleet's" not in begun.sentence(), begun.sentence()
