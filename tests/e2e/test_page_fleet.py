"""The fleet on the page, in a real browser: three agents beside their servers, of which one is broken while another one's page is open; then the broker
goes; and three of which one hears no other. The screenshots are kept in the build folder."""
import contextlib
import signal

import test_fleet_matrix
from test_fleet import broker, cause, group
from test_page import LIVE, SHOTS, assert_good, browser, url_of  # noqa: F401 (browser is a fixture)


def state_of(name):
    """What the page says of that instance: its state and its cause."""
    return (f"(() => {{ const row = [...document.querySelectorAll('#fleet tr')].find(e => e.querySelector('th bdi')?.textContent === '{name}');"
            " return row ? row.cells[1].textContent + ' ' + row.cells[2].textContent : ''; })()")


def test_a_fault_of_another_instance(browser, tool, tmp_path):  # noqa: F811
    with broker("redis", tool, tmp_path) as bus, group(tmp_path, bus.url) as (servers, children):
        page = browser.open("fleet", url_of(children[2]))
        page.wait(LIVE)
        for name in ("chat-0", "chat-1", "chat-2"):
            page.wait(f"{state_of(name)} === 'ready '")
        assert page.text("#fleet .tally") == "3 ready"
        page.look(SHOTS / "fleet-ready", "light", 1280)
        servers[0].end(signal.SIGKILL)
        page.wait(f"{state_of('chat-0')} === 'not ready server_down'")
        assert page.text("#fleet .tally") == "1 not ready, 2 ready"
        page.wait_word("Ready")
        assert_good(page)
        for theme, width in (("light", 320), ("dark", 1280), ("light", 2560)):
            page.look(SHOTS / "fleet", theme, width)
        page.close()

        servers[1].end(signal.SIGKILL)
        page = browser.open("held", url_of(children[1]))
        page.wait("document.querySelector('#fleet').innerText.includes('held in rotation: without it 1 would remain')")
        assert cause(children[1]) == "held_in_rotation"
        page.wait(f"{state_of('chat-1')} === 'degraded, held server_down'")
        assert_good(page)
        page.look(SHOTS / "fleet-held", "light", 1280)
        page.look(SHOTS / "fleet-held", "dark", 320)
        bus.end(signal.SIGKILL)
        page.wait("document.querySelector('#fleet').innerText.includes('Not linked')")
        page.look(SHOTS / "fleet-not-linked", "light", 1280)
        assert_good(page)
        page.close()


def shows(text):
    return f"document.querySelector('#fleet').innerText.includes('{text}')"


def test_a_server_loses_its_subscription(browser, tool, tmp_path):  # noqa: F811
    with contextlib.ExitStack() as stack, test_fleet_matrix.group(tool, tmp_path, stack) as (bus, _, _, _, ids, children):
        page = browser.open("matrix", url_of(children[0]))
        page.wait("[...document.querySelectorAll('#fleet .cells')].filter(e => e.closest('tr').cells[2].textContent === 'from 2 of 2').length === 3")
        bus.do("CLIENT", "KILL", "ID", ids[1])
        page.wait(shows("instance_receives_nothing chat-1 receives nothing"), test_fleet_matrix.PATIENCE)
        page.wait(shows("from 0 of 2; nothing from chat-0, chat-2"), test_fleet_matrix.PATIENCE)
        page.wait_word("Ready")
        assert_good(page)
        for theme, width in (("light", 1280), ("dark", 320), ("dark", 2560)):
            page.look(SHOTS / "fleet-matrix", theme, width)
        page.look(SHOTS / "fleet-matrix", "light", 800, "print")
        page.close()
