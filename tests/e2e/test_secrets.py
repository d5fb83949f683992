"""Canaries: a token, passwords and secret headers go in by every way there is, and must come out nowhere but on the wire."""
import signal

import pytest

from harness import agent, echo_server, free_port, only, until, wshealthd

CANARIES = {"token": "canary-token-8d1f", "password": "canary-password-77aa", "header": "canary-header-31c0", "query": "canary-query-5e5e"}
PATHS = ("/ready", "/ready?verbose", "/live", "/startup", "/healthz", "/health", "/status", "/metrics", "/nope", "/status?evidence=handshake", "/status?evidence=ping")


def clean(name, text):
    for what, canary in CANARIES.items():
        assert canary not in text, f"the {what} is in {name}: {text}"


def conf(port, tmp_path, place):
    (tmp_path / "token").write_text(CANARIES["token"] + "\n")
    user = "" if place == "header" else f"user:{CANARIES['password']}@"  # both would go into Authorization
    return (f"log: {{ level: debug }}\ndefaults: {{ interval: 100ms, timeout: 500ms, jitter: 0%, fall: 1 }}\n"
            f"target:\n  url: \"ws://{user}127.0.0.1:{port}/ws?key={CANARIES['query']}\"\n"
            f"  token: ${{file:{tmp_path}/token}}\n  token_in: {place}\n  headers: {{ X-Secret: '${{CANARY_HEADER}}' }}\n")


@pytest.mark.parametrize("place", ["header", "query:auth", "cookie:auth", "subprotocol"])
def test_no_output_shows_a_secret(tmp_path, place):
    from harness import environment

    port = free_port()
    env = environment(CANARY_HEADER=CANARIES["header"])
    seen = tmp_path / "requests"
    with agent(conf(port, tmp_path, place), tmp_path, env=env) as child:
        until("it fails", lambda: child.check("handshake")["state"] == "fail")
        for path in PATHS:
            clean(path, child.get(path).text)
        with echo_server(port, "--log", seen):
            if place != "subprotocol":
                child.wait_ready()
            else:
                until("it is asked", seen.exists)
            for path in PATHS:
                clean(path, child.get(path).text)
            for command in (("status",), ("status", "--json"), ("status", "--evidence", "handshake"), ("config", "show"), ("config", "check")):
                code, out, err = child.command(*command, CANARY_HEADER=CANARIES["header"]) if command[0] == "status" else wshealthd(
                    *command, child.file, CANARY_HEADER=CANARIES["header"])
                clean(command, out + err)
                assert code in (0, 1, 2, 3)
        if place == "query:auth":
            assert CANARIES["token"] in seen.read_text(), "the server did get it"
        child.send(signal.SIGHUP)
        child.wait_not_ready()
        child.stop()
        clean("the log", child.err() + child.out())


def test_the_peer_cannot_echo_a_secret_into_our_texts(tmp_path):
    """A server that repeats the token in its status line, its close text or its messages."""
    import asyncio
    import threading

    from peer import close, frame, serve

    token = tmp_path / "token"
    token.write_text(CANARIES["token"] + "\n")

    async def parrot(p):
        await p.request()
        if p.target == "/status":
            await p.send(f"HTTP/1.1 403 {CANARIES['token']}\r\nLocation: /{CANARIES['token']}\r\nContent-Length: 0\r\n\r\n")
        elif p.target == "/noise":
            await p.send(f"{CANARIES['token']}\r\n")
        else:
            await p.send(p.response(), close(1008, CANARIES["token"].encode()) if p.target == "/close" else frame(1, CANARIES["token"]))
        await p.hang()

    started = threading.Event()
    state = {}

    def loop():
        async def main():
            _server, state["port"] = await serve(parrot)
            state["loop"], state["stop"] = asyncio.get_running_loop(), asyncio.Event()
            started.set()
            await state["stop"].wait()

        asyncio.run(main())

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        for path, want in (("/status", "upgrade_unauthorized"), ("/noise", "http_malformed"), ("/close", "closed_by_server"), ("/message", "echo_mismatch")):
            for form in ("--json", "--nagios", None):
                code, out, err = wshealthd("check", f"ws://127.0.0.1:{state['port']}{path}", "--type", "echo", "--timeout", "1s", "--token-file", token,
                                           *([form] if form else []))
                assert code == 2, (path, out, err)
                clean(path, out + err)
                if form == "--json":
                    import json

                    assert only(json.loads(out))["reason"] == want, out
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(10)


def test_errors_of_the_configuration_hide_values(tmp_path):
    file = tmp_path / "wshealthd.yaml"
    for url in (f"ws://user:{CANARIES['password']}@127.0.0.1:99999/", f"wss//user:{CANARIES['password']}@x/", f"ws://h/?k={CANARIES['query']} x"):
        file.write_text(f'target: {{ url: "{url}" }}\n')
        code, out, err = wshealthd("config", "check", file)
        assert code == 3, (url, out, err)
        clean(url, out + err)
        code, out, err = wshealthd("check", url)
        assert code == 3, (url, out, err)
        clean(url, out + err)
