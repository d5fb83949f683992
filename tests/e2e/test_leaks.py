"""Nothing is left at exit. LeakSanitizer looks at every run of the other tests; here valgrind looks at the release binary."""
import signal

from harness import RELEASE, Agent, check, until, wshealthd

FAST = "defaults: { interval: 200ms, timeout: 5s, jitter: 0% }\n"


def test_valgrind_on_a_run(tool, tmp_path, server):
    valgrind = tool("valgrind")
    log = tmp_path / "valgrind"
    conf = (f'{FAST}target: {{ url: "{server.url}" }}\nchecks:\n'
            "  - { name: handshake, type: handshake }\n  - { name: ping, type: ping }\n  - { name: echo, type: echo }\n"
            "  - { name: hold, type: hold }\n  - { name: tcp, type: tcp }\n")
    prefix = (valgrind, "-q", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible", "--errors-for-leak-kinds=definite,indirect,possible",
              "--error-exitcode=77", f"--log-file={log}")
    child = Agent(conf, tmp_path, binary=RELEASE, prefix=prefix)
    try:
        child.wait_ready(60)
        for path in ("/ready?verbose", "/status", "/metrics", "/health", "/nope"):
            child.get(path)
        child.send(signal.SIGHUP)
        until("rounds", lambda: child.check("echo")["history"].count("#") > 3, 60)
        assert child.end(seconds=60) == 0, child.err() + log.read_text()
        assert not log.read_text().strip(), log.read_text()
    finally:
        child.cleanup()


def test_leaks_are_seen_at_all(server):
    """The sanitizer is on: the tests above would mean nothing without it."""
    code, _out, err = wshealthd("check", server.url, check_clean=False, ASAN_OPTIONS="help=1")
    assert code == 0 and "detect_leaks" in err + _out


def test_check_against_tls_leaves_nothing(certs):
    from harness import PYTHON, SERVERS, free_port, process

    port = free_port()
    with process(PYTHON, SERVERS / "websockets_echo.py", port, *certs.leaf("good"), port=port):
        for flags in (("--ca", certs.ca), ("--insecure",), ()):
            code, _document = check(f"wss://127.0.0.1:{port}/", "handshake", "echo", "hold", "tls", timeout="2s", flags=flags)
            assert code in (0, 2)
