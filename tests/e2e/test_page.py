"""The page at / in a real browser: every state, both themes, three widths, faults that are switched while it is open, an agent that goes and comes
back. The screenshots are kept in the build folder."""
import shutil
import signal
import socket

import pytest

from browser import PROGRAMS, Browser
from demo import Demo
from harness import BINARY, BUILD, MODULES, Agent, agent, echo_server, until

SHOTS = BUILD / "screenshots"
LIVE = "document.getElementById('live').textContent === 'Live'"
LOST = "document.documentElement.classList.contains('lost')"


@pytest.fixture(scope="module")
def browser(node):
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not program:
        pytest.skip("chromium-headless-shell is missing")
    for package in ("playwright-core", "axe-core"):
        if not (MODULES / package).is_dir():
            pytest.skip(f"npm's {package} is missing (tests/tools/npm)")
    SHOTS.mkdir(parents=True, exist_ok=True)
    child = Browser(node, program)
    yield child
    child.end()


def conf(url, timeout="2s", more=""):
    return (f"target: {{ url: \"{url}\" }}\ndefaults: {{ interval: 500ms, timeout: {timeout} }}\n"
            f"checks: [ {{ type: handshake }}, {{ type: ping }} ]\n{more}")


def url_of(served):
    return f"http://127.0.0.1:{served.port}/"


def assert_good(page):
    """Nobody is shut out, and the console is silent."""
    assert page.axe() == []
    assert page.noise() == []


def test_faults_are_seen_as_they_are_switched(browser):
    demo = Demo(BINARY, "--listen", "127.0.0.1:0")
    try:
        page = browser.open("demo", url_of(demo))
        page.wait_word("Ready")
        page.wait(LIVE)
        page.wait("document.querySelectorAll('#checks article').length >= 5 && document.querySelectorAll('#brokers article').length === 1")
        page.wait("document.querySelector('#verdict').innerText.includes('All checks pass')")
        assert page.evaluate("document.title").startswith("Ready: ws://127.0.0.1:")
        assert_good(page)
        for theme, width in (("light", 320), ("dark", 1280), ("light", 2560), ("light", 1280)):
            page.look(SHOTS / "ready", theme, width)

        demo.type("broker-down")
        page.wait_word("Degraded")
        page.wait("document.querySelector('#c-bus').className === 'bad'")
        page.wait("document.querySelector('.facts').innerText.includes('Something that all instances share')")
        assert_good(page)
        for theme, width in (("dark", 1280), ("light", 320)):
            page.look(SHOTS / "degraded", theme, width)
        demo.type("clear")
        page.wait_word("Ready")

        demo.type("silent-drop")
        page.wait_word("Not ready")
        page.wait("document.querySelector('#c-ping details')")
        page.wait("document.querySelector('.facts').innerText.includes('This instance of the server')")
        # What the reader has opened, and where the focus is, stays so while rounds come in.
        page.evaluate("(document.querySelector('#c-ping details').open = true, document.querySelector('#c-ping summary').focus())")
        page.evaluate("(window.kept = document.querySelector('#c-ping details')).open")
        before = page.text("#c-ping summary")
        page.wait(f"document.querySelector('#c-ping summary').innerText !== {before!r}")
        assert page.evaluate("kept.isConnected && kept.open && document.activeElement === kept.querySelector('summary')")
        assert "> ping" in page.text("#c-ping pre")
        assert page.evaluate("document.getElementById('news').textContent").startswith("Not ready. ")
        assert_good(page)
        for theme, width in (("dark", 320), ("dark", 2560), ("light", 1280)):
            page.look(SHOTS / "not-ready", theme, width)
        page.look(SHOTS / "not-ready", "light", 800, "print")
        page.tell("media", theme="dark", media=None)
        assert page.axe() == []
        page.close()
    finally:
        demo.cleanup()


def test_starting_is_not_shown_as_good(browser, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        with agent(conf(f"ws://127.0.0.1:{mute.getsockname()[1]}/", timeout="60s"), tmp_path) as served:
            page = browser.open("starting", url_of(served))
            page.wait(LIVE)
            assert page.text("h1") == "Starting"
            assert page.evaluate("document.querySelectorAll('.mark.good').length") == 0
            assert_good(page)
            page.look(SHOTS / "starting", "light", 1280)
            page.look(SHOTS / "starting", "dark", 320)
            page.close()


def test_draining_then_an_agent_that_goes_and_comes_back(browser, tmp_path):
    with echo_server() as server:
        text = conf(server.url)
        child = Agent(text, tmp_path)
        try:
            child.wait_ready()
            page = browser.open("drained", url_of(child))
            page.wait_word("Ready")
            page.wait(LIVE)
            code, _, err = child.command("drain")
            assert code == 0, err
            page.wait_word("Draining")
            assert_good(page)
            page.look(SHOTS / "draining", "light", 1280)
            page.look(SHOTS / "draining", "dark", 320)

            child.send(signal.SIGSTOP)  # it is there, and says nothing
            page.wait(LOST)
            assert "has not been heard since" in page.text("#lost")
            assert page.axe() == []
            page.look(SHOTS / "lost", "light", 1280)
            page.look(SHOTS / "lost", "dark", 320)
            child.send(signal.SIGCONT)
            page.wait(LIVE)
            assert page.evaluate("document.getElementById('lost').textContent") == ""
            assert page.noise() == []

            child.end(signal.SIGKILL)
            page.wait(LOST)
            again = Agent(text, tmp_path, port=child.port)
            try:
                page.wait(LIVE, 30)
                page.wait_word("Ready")
                page.close()
            finally:
                again.stop()
                again.cleanup()
        finally:
            child.cleanup()


def test_without_javascript_it_is_complete_and_says_its_age(browser, tmp_path):
    with echo_server() as server, agent(conf(server.url), tmp_path) as served:
        served.wait_ready()
        page = browser.open("plain", url_of(served), script=False)
        reply = served.get("/")
        assert "<h1>Ready</h1>" in reply.text and "UTC</time>" in reply.text
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8" and reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        page.look(SHOTS / "without-javascript", "light", 1280)
        assert page.noise() == []
        page.close()


def test_users_of_the_service_see_no_address(browser, tmp_path):
    with echo_server() as server, agent(conf(server.url, more="page: { public: true, url: \"https://status.example.org/\" }\n"), tmp_path) as served:
        served.wait_ready()
        page = browser.open("public", url_of(served))
        page.wait(LIVE)
        until("a round", lambda: "p50" in served.get("/").text)
        shown = page.evaluate("document.body.innerText + document.title")
        assert "Ready" in shown and "handshake" in shown
        for hidden in ("127.0.0.1", "ws:", "wshealthd.yaml", str(server.port)):
            assert hidden not in shown
        assert_good(page)
        page.look(SHOTS / "public", "light", 1280)
        page.close()
