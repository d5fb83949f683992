"""`check --trace` and `status --evidence`: what is said is shown in order, within the width, and without a secret; and it is kept of the last rounds."""
import asyncio
import contextlib
import json
import re
import threading

import pytest

from demo import Demo
from harness import BINARY, MODULES, PYTHON, SERVERS, agent, echo_server, environment, free_port, process, until, wshealthd
from peer import close, frame, serve


@contextlib.contextmanager
def speaking(handler):
    """A server of the test's own; its port."""
    started, state = threading.Event(), {}

    async def main():
        _server, state["port"] = await serve(handler)
        state["loop"], state["stop"] = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await state["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield state["port"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(20)


def trace(*args, code=None, timeout="5s", **env):
    got, out, err = wshealthd("check", "--trace", "--timeout", timeout, *args, **env)
    assert code is None or got == code, (got, out, err)
    assert not err, err
    return out


def in_order(text, *patterns):
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(text, at)
        assert found, f"no {pattern!r} in its place in\n{text}"
        at = found.end()


def assert_times_grow(text):
    times = [float(t) for t in re.findall(r"^ *(\d+\.\d{3}) [*<>] ", text, re.M)]
    assert times and times == sorted(times), text


CONVERSATION = (r"^ +\d+\.\d{3} \* connecting to 127\.0\.0\.1:\d+$", r"^ +\d+\.\d{3} \* connected to 127\.0\.0\.1:\d+ from 127\.0\.0\.1:\d+$",
                r"^ +\d+\.\d{3} > GET / HTTP/1\.1$", r"^ {12}> Upgrade: websocket$", r"^ +\d+\.\d{3} < HTTP/1\.1 101 ",
                r'^ +\d+\.\d{3} > ping +8 B  FIN +".+"$', r'^ +\d+\.\d{3} < pong +8 B  FIN +".+"$', r"^ +\d+\.\d{3} \* TCP: rtt [\d.]+ ms",
                r"^ +\d+\.\d{3} \* pass$", r"^ +\d+\.\d{3} > close +2 B  FIN +1000 \(normal closure\)$", r"^  ✓ pass +ping")


def test_a_conversation(server):
    out = trace(f"ws://127.0.0.1:{server.port}/", "--type", "ping", code=0, LC_ALL="C.UTF-8")
    in_order(out, *CONVERSATION)
    assert_times_grow(out)
    assert "\x1b" not in out


def test_one_section_for_each_check(server):
    out = trace(f"ws://127.0.0.1:{server.port}/", "--type", "handshake", "--type", "echo", "--type", "tcp", code=0, LC_ALL="C.UTF-8")
    in_order(out, r"^  handshake  \d{4}-", r"^ .* < close ", r"^  echo  \d{4}-", r'^ .* > text .*"wshealthd-', r'^ .* < text .*"wshealthd-', r"^  tcp  \d{4}-",
             r"^ .*connected to", r"^  ✓ pass +handshake")


@pytest.mark.parametrize("deflate", ["plain", "deflate"])
def test_npm_ws(node, deflate):
    port = free_port()
    with process(node, SERVERS / "ws_echo.js", port, deflate, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "echo", "--send", "häll\u00f6 there", code=0, LC_ALL="C.UTF-8")
    size = r"\d+ B  FIN deflate  13 bytes inflated" if deflate == "deflate" else r"13 B  FIN +"
    in_order(out, rf'^ .* > text +{size}.*"häll\u00f6 there"$', rf'^ .* < text +{size}.*"häll\u00f6 there"$')


def test_http2(node):
    port = free_port()
    with process(node, SERVERS / "h2_ws.js", port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
        out = trace(f"ws://127.0.0.1:{port}/ws?token=abcdefgh", "--http", "2", "--type", "echo", "--send", "hello")
    in_order(out, r"> :method: CONNECT$", r"^ +> :path: /ws\?token=\*\*\*$", r"< HTTP/2 200$", r'> text .*"hello"$', r'< text .*"hello"$', r"\* pass$")


def test_tls(certs):
    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, *certs.leaf("good"), port=port):
        out = trace(f"wss://127.0.0.1:{port}/", "--type", "ping", "--ca", certs.ca, code=0)
        in_order(out, r"\* TLSv1\.[23], \S+$", r"^ {12}\* certificate 0: .*issued by ", r"^ {12}\* +valid \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, for .*127\.0\.0\.1", r"> GET ")
        out = trace(f"wss://127.0.0.1:{port}/", "--type", "ping", code=2)
        in_order(out, r"\* connected to", r"\* certificate 0: ", r"\* TLS: certificate ", r"\* fail tls_cert_untrusted: ")
        assert "> GET" not in out


def test_nobody_listens():
    out = trace(f"ws://localhost:{free_port()}/", "--type", "ping", code=2)
    in_order(out, r"\* localhost is .*127\.0\.0\.1", r"\* connecting to ", r"\* .*: connection refused$", r"\* fail connect_refused: ")


def test_a_redirect():
    async def away(p):
        await p.reply("302 Found", "", "Location: https://other.test/login?token=abcdefgh&next=1", "Set-Cookie: sid=0123456789; Path=/")

    with speaking(away) as port:
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "handshake", code=2)
    in_order(out, r"< HTTP/1\.1 302 Found$", r"< Location: https://other\.test/login\?token=\*\*\*&next=1$", r"< Set-Cookie: sid=\*\*\*; Path=/$", r"\* fail upgrade_redirect: ")


def test_a_refusal_with_its_words():
    async def refuse(p):
        await p.reply("403 Forbidden", "come back\nwith a token")

    with speaking(refuse) as port:
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "handshake", code=2)
    in_order(out, r"< HTTP/1\.1 403 Forbidden$", r"< body, 22 bytes: come back\\x0awith a token$", r"\* fail ")


def test_silence():
    async def silent(p):
        await p.request()
        await p.hang()

    with speaking(silent) as port:
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "handshake", timeout="300ms", code=2)
    in_order(out, r"> GET / HTTP/1\.1$", r"\* TCP: ", r"^ +\d{3,}\.\d+ \* fail upgrade_timeout: no response to the upgrade within 300ms$")
    assert " < " not in out


def test_ends():
    async def ends(p):
        await p.upgrade(frame(1, "on the way"), close(1011, b"out of memory"))
        await p.hang()

    with speaking(ends) as port:
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "echo", code=2)
    in_order(out, r'< text +10 B  FIN +"on the way"$', r'< close +15 B  FIN +1011 \(internal error\) "out of memory"$', r"> close +2 B  FIN +1011 \(internal error\)$")

    async def resets(p):
        await p.upgrade()
        await p.frame()
        p.reset()

    with speaking(resets) as port:
        out = trace(f"ws://127.0.0.1:{port}/", "--type", "echo", code=2)
    in_order(out, r"> text ", r"\* the peer reset the connection$", r"\* fail closed_abnormal: ")


def test_a_flood_is_counted():
    async def flood(p):
        await p.upgrade()
        await p.frame()
        await p.send(*[frame(1, b"x" * 100)] * 20000)
        await p.serve()

    with speaking(flood) as port:
        code, out, _err = wshealthd("check", "--trace", f"ws://127.0.0.1:{port}/", "--type", "ping", "--timeout", "20s", LC_ALL="C.UTF-8")
    assert len(out) < 1 << 20
    in_order(out, r"< text +100 B", r"^ +… [\d,]+ lines are left out, of [\d,]+ frames with [\d,]+ bytes$", r"\* (pass|fail)")
    assert code in (0, 2)


def test_json(server):
    code, out, _err = wshealthd("check", "--trace", "--json", f"ws://127.0.0.1:{server.port}/", "--type", "ping")
    row = json.loads(out)["checks"][0]
    assert code == 0 and any("< HTTP/1.1 101" in line for line in row["trace"]), row
    assert row["tcp"]["min_rtt_ms"] > 0 and row["tcp"]["retransmits"] == 0 and row["tcp"]["lost"] == 0
    code, out, _err = wshealthd("check", "--json", f"ws://127.0.0.1:{server.port}/", "--type", "ping")
    assert "trace" not in json.loads(out)["checks"][0]


def test_width_and_ascii(server):
    url = f"ws://127.0.0.1:{server.port}/"
    out = trace(url, "--type", "echo", "--send", "häll\u00f6 " * 30, "--header", "X-Long: " + "w" * 200, COLUMNS="60", LC_ALL="C")
    assert out.isascii() and max(map(len, out.splitlines())) <= 60, out
    wide = trace(url, "--type", "echo", "--send", "x" * 100, "--header", "X-Long: " + "w" * 100, LC_ALL="C.UTF-8")
    assert re.search(r"^ +> X-Long: w{100}$", wide, re.M), "what goes to a file has an event in each line"
    code, out, err = wshealthd("check", "--trace", "-q", url)
    assert code == 3 and not out and "--quiet" in err


@pytest.mark.parametrize("place", ["header", "query:auth", "cookie:auth", "subprotocol"])
def test_no_secret_in_a_trace(tmp_path, place):
    """Wherever the token goes, and however the server sends it back."""
    secret = "canary+token/8d1f6b"
    token, conf = tmp_path / "token", tmp_path / "c.yaml"
    token.write_text(secret + "\n")
    forms = [secret, "canary%2Btoken%2F8d1f6b", "canary\\u002btoken\\/8d1f6b", "Y2FuYXJ5K3Rva2VuLzhkMWY2Yg==", "dTpjYW5hcnkrdG9rZW4vOGQxZjZi"]

    async def parrot(p):
        await p.request()
        more = {"Sec_WebSocket_Protocol": p.header("Sec-WebSocket-Protocol")} if p.header("Sec-WebSocket-Protocol") else {}
        await p.send(p.response(X_You=secret, X_Basic="Basic " + forms[3], Set_Cookie=f"auth={secret}; Path=/", **more))
        for form in forms:
            half = len(form) // 2
            await p.send(frame(1, form[:half], fin=False), frame(0, form[half:]), frame(2, form), frame(9, form))
        await p.send(close(1008, secret.encode()))
        await p.hang()

    with speaking(parrot) as port:
        conf.write_text(f'target:\n  url: "ws://u:{secret.replace("/", "%2F")}@127.0.0.1:{port}/"\n' if place != "header" else f'target:\n  url: "ws://127.0.0.1:{port}/"\n')
        with open(conf, "a", encoding="utf-8") as file:
            file.write(f"  token: ${{file:{token}}}\n  token_in: {place}\nchecks: [{{ name: echo, type: echo, timeout: 5s, interval: 5s }}]\n")
        for more in ((), ("--json",)):
            code, out, err = wshealthd("check", "-c", conf, "--trace", *more)
            assert code == 2 and "< close" in out, (out, err)
            for form in forms:
                for at in range(0, len(form) - 8):
                    assert form[at:at + 8] not in out + err, (form[at:at + 8], out)


CONF = 'defaults: {{ interval: 100ms, timeout: 1s, jitter: 0%, fall: 1 }}\n{more}target: {{ url: "ws://127.0.0.1:{port}/" }}\n'


def test_evidence_is_kept(tmp_path):
    port = free_port()
    with agent(CONF.format(port=port, more=""), tmp_path) as child:
        until("it fails", lambda: child.check("ping")["state"] == "fail")
        code, out, _err = child.command("status", "--evidence", "ping")
        assert code == 2
        in_order(out, r"^  ping  no round passed since", r"^  ping  failed \d{4}-", r"connection refused$", r"\* fail connect_refused: ")
        with echo_server(port):
            child.wait_ready()
            code, out, _err = child.command("status", "--evidence", "ping")
            assert code == 0
            in_order(out, r"^  ping  passed \d{4}-", r"< pong ", r"\* pass$", r"> close ", r"^  ping  failed \d{4}-", r"\* fail connect_refused: ")
            assert "handshake  " not in out
        evidence = next(c for c in child.get("/status?evidence=ping").json()["checks"] if c["name"] == "ping")["evidence"]
        assert evidence["failed"]["at"].startswith("20") and any("< pong" in line for line in evidence["passed"]["lines"])
        assert "evidence" not in child.get("/status").text
        assert child.get("/status?evidence=nope").status == 404
        code, out, err = child.command("status", "--evidence", "pnig")
        assert code == 3 and "no check 'pnig'" in err and "handshake, ping" in err, (out, err)
        code, out, err = child.command("status", "--evidence", "a&b=c")
        assert code == 3 and "want the name of a check" in err
        code, out, _err = child.command("status", "--json", "--evidence", "ping")
        assert "evidence" in out and out.count("\n") == 1


def test_readers_without_details_get_none(tmp_path, server):
    with agent(CONF.format(port=server.port, more="details: reasons\n"), tmp_path) as child:
        child.wait_ready()
        reply = child.get("/status?evidence=ping")
        assert reply.status == 200 and "evidence" not in reply.text and "HTTP/1.1" not in reply.text


def test_evidence_of_a_fault_of_the_demo():
    demo = Demo(BINARY)
    try:
        until("it is ready", lambda: demo.get("/ready")[0] == 200)
        demo.type("silent-drop")
        until("it is noticed", lambda: demo.get("/ready")[0] == 503 or "degraded" in demo.get("/ready")[1])
        names = [c["name"] for c in json.loads(demo.get("/status")[1])["checks"] if c["state"] in ("fail", "warn")]
        for name in names:
            row = next(c for c in json.loads(demo.get(f"/status?evidence={name}")[1])["checks"] if c["name"] == name)
            lines = "\n".join(row["evidence"]["failed"]["lines"])
            assert re.search(r"\* (fail|warn) ", lines), lines
        assert names
    finally:
        demo.cleanup()


def test_what_was_held_says_which_was_lost(tmp_path):
    """Of many held connections a few are recorded, and of the others each loss."""
    async def cut(p):
        await p.upgrade()
        await p.frame()
        await p.send(close(1001, b"maintenance"))
        await p.hang()

    with speaking(cut) as port:
        conf = CONF.format(port=port, more="") + "checks: [{ name: hold, type: hold, connections: 8 }]\n"
        with agent(conf, tmp_path) as child:
            until("it fails", lambda: child.check("hold")["state"] in ("fail", "warn"))
            text = child.command("status", "--evidence", "hold")[1]
    in_order(text, r"held connection \d of 8 is lost after .*code 1001 \(going away\): \"maintenance\"", r"\* (fail|warn) ")


def test_a_shared_connection_is_seen_by_each_check(tmp_path, server):
    checks = "checks:\n" + "".join(f"  - {{ name: {name}, type: {name}, share_connection: true }}\n" for name in ("ping", "echo"))
    with agent(CONF.format(port=server.port, more="") + checks, tmp_path) as child:
        child.wait_ready()
        until("echo has passed", lambda: child.check("echo")["status"] == "pass")
        text = child.command("status", "--evidence", "echo")[1]
    in_order(text, r"\* uses the connection that checks share", r'> text +\d+ B  shared +"wshealthd-', r'< text +\d+ B  shared +"wshealthd-', r"\* pass$")
