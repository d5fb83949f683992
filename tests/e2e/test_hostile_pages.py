"""The check `server` beside metrics pages that break every rule: a page is a warning at most, whatever it is, and only a figure over its limit
fails. Whoever asks for the agent's health is answered meanwhile."""
import json
import time

import pytest

from harness import RELEASE, agent, until
from hostile import reset
from rogue import answer, polite, rogue
from test_hostile_server import answers_meanwhile

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
LABELS = "{" + ",".join(f'l{i}="{"v" * 40}"' for i in range(100)) + "}"
SERIES = ('heap: { name: heap, max: 1000 }, lag: { name: "lag{loop=\'a\'}", max: 250ms }, rate: { name: sent_total, max: 1000 }, '
          .replace("'", '\\"'))


def forever(sock, chunk, pause=0.0):
    while True:
        sock.sendall(chunk)
        time.sleep(pause)


def text(body):
    return lambda sock: sock.sendall(answer(body))


MISSING = ("warn", "server_metrics_missing")
HIGH = ("fail", "server_series_high")
WELL = ("pass", None)
REST = '\nlag{loop="a"} 0.01\nsent_total 5\n'
PAGES = {
    "endless": (lambda sock: (sock.sendall(HEAD), forever(sock, b"x 1\n" * 10000)), MISSING, "longer than 1MiB"),
    "100 MB": (lambda sock: (sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 105000000\r\n\r\n"), forever(sock, b"heap 1\n" * 10000)), MISSING, "longer than 1MiB"),
    "a line without an end": (lambda sock: (sock.sendall(HEAD + b'heap{a="'), forever(sock, b"x" * 65536)), MISSING, "longer than 1MiB"),
    "slow": (lambda sock: (sock.sendall(HEAD), forever(sock, b"h", 0.5)), MISSING, "within"),
    "NaN": (text("heap NaN" + REST), MISSING, "no 'heap'"),
    "Inf": (text("heap +Inf" + REST), MISSING, "no 'heap'"),
    "-Inf": (text("heap -Inf" + REST), MISSING, "no 'heap'"),
    "-0": (text("heap -0" + REST), WELL, ""),
    "1e308 twice": (text("heap{a=\"1\"} 1e308\nheap{a=\"2\"} 1e308" + REST), MISSING, "no 'heap'"),
    "1e999": (text("heap 1e999" + REST), MISSING, "no 'heap'"),
    "negative": (text("heap -5e307" + REST), WELL, ""),
    "the same twice": (text("heap 600\nheap 600" + REST), WELL, ""),
    "two rooms": (text("heap{a=\"1\"} 600\nheap{a=\"2\"} 600" + REST), HIGH, "heap is 1200"),
    "counter near its end": (text("heap 1\nsent_total 1.7e308\nsent_total{a=\"b\"} 1.7e308\nlag{loop=\"a\"} 0"), MISSING, "no 'sent_total'"),
    "label junk": (text('heap{a="\\"} 99999"} 1' + REST), WELL, ""),
    "open label": (text('heap{a="} 99999' + REST), MISSING, "no 'heap'"),
    "OpenMetrics": (text('# TYPE heap gauge\nheap 1 1234567.5\n# TYPE sent counter\nsent_total 5 # {trace_id="heap 99999"} 1.0 9.9\nlag{loop="a"} 0\n# EOF'),
                    WELL, ""),
    "many labels": (text("".join(f"heap{LABELS} 0\n" for _ in range(200)) + REST), WELL, ""),
    "names only": (text("heap\n" * 100000), MISSING, "no Prometheus text"),
    "redirect": (lambda sock: sock.sendall(answer("", "302 Found", "Location: /metrics")), MISSING, "status 302"),
    "gzip": (lambda sock: sock.sendall(answer(b"\x1f\x8b\x08\0\0", "200 OK", "Content-Encoding: gzip")), MISSING, "Content-Encoding gzip"),
    "binary": (text(bytes(range(256)) * 1000), MISSING, "no Prometheus text"),
    "NUL": (text(b"heap\0 99999\nheap 9\0 9\n\0"), MISSING, ""),
    "protobuf": (text(b"\x0a\x04heap\x12\x00\x18\x02"), MISSING, "no Prometheus text"),
    "reset": (reset, MISSING, "reset"),
    "1xx": (lambda sock: forever(sock, b"HTTP/1.1 102 Processing\r\n\r\n"), MISSING, "interim"),
}


def seen(row, words):
    """The row, unless the machine was so busy that the round ended before the page had come."""
    message = row["message"] or ""
    return (words in message or "no answer within" not in message) and row


@pytest.mark.parametrize("name", PAGES)
def test_a_page(tmp_path, name):
    play, verdict, words = PAGES[name]

    def page(sock, server):
        server.request(sock)
        play(sock)

    with rogue(page) as pages, rogue(lambda sock, _: polite(sock)) as server:
        text_of = (f'defaults: {{ interval: 300ms, timeout: 1s, jitter: 0%, fall: 1 }}\ntarget: {{ url: "ws://127.0.0.1:{server.port}/ws" }}\n'
                   f'checks:\n  - {{ name: server, type: server, metrics_url: "http://127.0.0.1:{pages.port}/metrics", series: {{ {SERIES} }} }}\n')
        with agent(text_of, tmp_path, binary=RELEASE) as child:
            with answers_meanwhile(child, name):
                until("three rounds", lambda: pages.count >= 3)
                until("it has been judged", lambda: child.check("server")["state"] != "unknown")
                time.sleep(0.2)
                row = until("a round that has seen the page", lambda: seen(child.check("server"), words))
            assert (row["status"], row["reason"]) == verdict and words in (row["message"] or ""), row
            assert child.ready() == (verdict != HIGH)
            json.loads(child.get("/status").text, parse_constant=lambda word: pytest.fail(f"{word} in /status"))
            assert "inf" not in [line.split()[-1].lower().strip("+-") for line in child.get("/metrics").text.splitlines()
                                 if line.startswith("wshealthd_server_series")]
