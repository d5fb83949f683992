"""/history: what it says, in which form; the file that keeps it over restarts, whatever has become of that file."""
import contextlib
import hashlib
import http.client
import json
import select
import signal
import socket
import struct
import time

import pytest

from harness import agent, echo_server, free_port, until
from schema import accepts

TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
MAYBE_TIME = {"anyOf": [TIME, {"type": "null"}]}
MS = {"type": ["number", "null"], "minimum": 0}
COUNT = {"type": "integer", "minimum": 0}
WORD = {"type": "string", "pattern": "^[a-z][a-z_0-9]*$"}


def row(**fields):
    optional = {"connections"}
    return {"type": "object", "properties": fields, "required": [name for name in fields if name not in optional], "additionalProperties": False}


SCHEMA = row(
    now=TIME, started=TIME, bucket_s={"const": 300}, error_percent=COUNT, buckets_from=TIME, whole={"type": "boolean"},
    changes={"type": "array", "maxItems": 200, "items": row(
        at=TIME, word={"enum": ["ready", "degraded", "not ready", "draining", "starting"]}, live={"type": "boolean"}, cause=WORD,
        sentence={"type": "string"})},
    incidents={"type": "array", "items": row(
        begin=TIME, end=MAYBE_TIME, worst={"enum": ["degraded", "not ready", "not live"]}, cause=WORD, sentence={"type": "string"},
        changes={"type": "integer", "minimum": 1}, cut={"type": "boolean"})},
    checks={"type": "array", "items": row(
        name={"type": "string"}, type=WORD, path={"enum": ["local", "public"]}, measure={"enum": ["rtt", "total"]},
        hour={"anyOf": [{"type": "null"}, row(count=COUNT, p50_ms=MS, p95_ms=MS, p99_ms=MS)]},
        buckets={"type": "array", "maxItems": 288, "items": row(
            start=TIME, rounds=COUNT, failures=COUNT, warnings=COUNT, p50_ms=MS, p95_ms=MS, p99_ms=MS,
            connections={"type": ["integer", "null"]})})})


def conf(port, more=""):
    return (f"target: {{ url: 'ws://127.0.0.1:{port}/' }}\ndefaults: {{ interval: 200ms, timeout: 1s }}\n"
            f"checks: [ {{ name: ping, type: ping }}, {{ name: server, type: server }} ]\n{more}")


def history(child, query=""):
    answer = child.get("/history" + query).json()
    assert accepts(SCHEMA, answer, SCHEMA), answer
    return answer


def words(answer):
    return [change["word"] for change in answer["changes"]]


def rounds(answer):
    return sum(bucket["rounds"] for check in answer["checks"] for bucket in check["buckets"])


def over_admin(path, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"GET {request} HTTP/1.0\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return json.loads(answer.read())


def test_an_outage_is_in_it(tmp_path):
    port = free_port()
    with agent(conf(port), tmp_path) as child:
        with echo_server(port) as server:
            child.wait_ready()
            until("rounds are counted", lambda: rounds(history(child)) >= 4)
            server.end(signal.SIGKILL)
        child.wait_not_ready()
        until("it is noted", lambda: words(history(child))[:1] == ["not ready"])
        outage = history(child)["incidents"][0]
        assert (outage["end"], outage["worst"], outage["cause"]) == (None, "not ready", "server_down")
        with echo_server(port):
            child.wait_ready()
            until("it is over", lambda: history(child)["incidents"][0]["end"])
            answer = history(child, "?check=server&since=1h")
            assert [check["name"] for check in answer["checks"]] == ["server"]
            assert answer["incidents"][0]["begin"] == outage["begin"]
            assert any(bucket["connections"] is not None for bucket in answer["checks"][0]["buckets"])
            assert accepts(SCHEMA, over_admin(child.admin, "/history?check=ping"), SCHEMA)
            assert "connections" not in history(child)["checks"][0]["buckets"][0]


def test_it_is_kept_over_a_restart(tmp_path):
    port, file = free_port(), tmp_path / "history"
    text = conf(port, f"history: {{ file: {file} }}\n")
    with echo_server(port) as server:
        with agent(text, tmp_path) as child:
            child.wait_ready()
            server.end(signal.SIGKILL)
            child.wait_not_ready()
            until("it is noted", lambda: words(history(child))[:1] == ["not ready"])
            before = history(child)
    assert file.stat().st_mode & 0o777 == 0o600
    with agent(text, tmp_path) as child:
        until("it goes on", lambda: words(history(child))[:2] == ["not ready", "starting"])
        answer = history(child)
        assert answer["incidents"][0]["begin"] == before["incidents"][0]["begin"] and answer["incidents"][0]["end"] is None
        assert words(answer)[2:] == words(before) and rounds(answer) > rounds(before)
        child.end(signal.SIGKILL)
    with echo_server(port), agent(text, tmp_path) as child:
        child.wait_ready()
        until("the incident has ended when it was last seen", lambda: history(child)["incidents"][0]["cut"])


def test_a_file_that_is_none_of_ours(tmp_path, server):
    file = tmp_path / "history"
    text = conf(server.port, f"history: {{ file: {file} }}\n")
    for content in (b"", b"\0" * 5000, b"wshealthd history 2\n", b"x" * (5 << 20), b"the last one"):
        file.write_bytes(content)
        with agent(text, tmp_path) as child:
            until("it is named", lambda: f"event=history_damaged file={file} message=" in child.err())
            child.wait_ready()
            assert (tmp_path / "history.damaged").read_bytes() == content
            if content == b"the last one":
                until("it is written anew", lambda: file.exists() and file.read_bytes().startswith(b"wshealthd history 1\n"))


def test_where_nothing_can_be_written(tmp_path, server):
    """One line of the log, and one when it can be written again; a file that is no file is left alone."""
    folder = tmp_path / "missing"
    with agent(conf(server.port, f"history: {{ file: {folder}/history }}\n"), tmp_path) as child:
        until("it is named", lambda: "event=history_unsaved" in child.err())
        child.wait_ready()
        folder.mkdir()
        child.stop()
        assert child.err().count("event=history_unsaved") == 1 and "event=history_saved" in child.err()
    assert (folder / "history").exists()
    with agent(conf(server.port, "history: { file: /dev/null }\n"), tmp_path) as child:
        until("it is named", lambda: "event=history_damaged" in child.err())
        child.wait_ready()
        assert rounds(history(child)) > 0


def day_of(check):
    """The file of an agent that has run for a day, with one check (agent/report/history_file.c)."""
    now_ms, buckets = int(time.time() * 1000), 288
    name = struct.pack("<H", len(check)) + check.encode()
    body = struct.pack("<qqBHHH", now_ms, 0, 0, 0, 0, 1) + 2 * name + struct.pack("<BqH", 10, now_ms // 300000, buckets)
    body += b"".join(struct.pack("<HHHHBBB", i, 60, 1, 1, 20, 40, 60) for i in range(buckets)) + 13 * struct.pack("<BBH", 1, 0, 1)
    return b"wshealthd history 1\n" + hashlib.sha256(body).digest() + body


def test_a_crowd_that_asks_for_more_than_is_shared(tmp_path, server):
    """Each is answered in its time, and /ready before them all: thirty answers of a day take longer than a probe waits."""
    file = tmp_path / "history"
    file.write_bytes(day_of("ping"))
    with agent(conf(server.port, f"history: {{ file: {file} }}\n"), tmp_path) as child:
        assert len(history(child, "?check=ping")["checks"][0]["buckets"]) == 288
        for _ in range(20):
            with contextlib.ExitStack() as stack:
                crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", child.port), 20)) for _ in range(30)]
                began = time.monotonic()
                for sock in crowd:
                    sock.sendall(b"GET /history?check=ping HTTP/1.0\r\n\r\n")
                child.get("/ready")
                answered = len(select.select(crowd, [], [], 0)[0])
                if answered > 10 and time.monotonic() - began > 0.1:
                    continue  # the machine was so busy that it proves nothing
                assert answered <= 10
                for sock in crowd[:3]:
                    assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")
                return
        pytest.skip("the machine is too busy")
