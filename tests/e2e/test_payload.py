"""The payload check against servers that people run, with the limits that they really have."""
import pytest

from harness import MODULES, PYTHON, SERVERS, agent, check, environment, free_port, only, process, until

PATIENT = "15s"


def ws(node, port, deflate, limit):
    return process(node, SERVERS / "ws_echo.js", port, deflate, port=port,
                   env=environment(WSHEALTHD_MODULES=str(MODULES), MAX_BYTES=str(limit)))


def websockets(port, limit):
    return process(PYTHON, SERVERS / "websockets_echo.py", port, port=port, env=environment(MAX_BYTES=str(limit)))


@pytest.mark.parametrize("deflate", ["plain", "deflate"])
def test_a_limit_of_npm_ws_is_found_to_the_byte(node, deflate):
    port = free_port()
    with ws(node, port, deflate, 50000):
        code, document = check(f"ws://127.0.0.1:{port}/", "payload", timeout=PATIENT)
        row = only(document)
        assert (code, row["reason"], row["scope"], row["close_code"]) == (2, "payload_limit", "local", None), row
        assert row["message"].startswith("a text message of 50,001 bytes: the server closed the connection with code 1009"), row
        assert row["message"].endswith("; 50,000 bytes pass (want 65,536 bytes)"), row


@pytest.mark.parametrize("deflate", ["plain", "deflate"])
def test_npm_ws_passes_in_every_form(node, deflate):
    port = free_port()
    with ws(node, port, deflate, 100 << 20):
        code, document = check(f"ws://127.0.0.1:{port}/", "payload", timeout=PATIENT)
        row = only(document)
        forms = "whole and in 3 fragments" + (", plain and compressed" if deflate == "deflate" else "")
        assert code == 0, row
        assert row["message"] == f"65,536 bytes pass as text and binary, {forms}; 1,048,576 bytes pass too", row
        assert row["rtt_ms"] is not None


def test_a_limit_of_python_websockets_beyond_max_is_information():
    port = free_port()
    with websockets(port, 100000):
        code, document = check(f"ws://127.0.0.1:{port}/", "payload", timeout=PATIENT)
        row = only(document)
        assert (code, row["reason"]) == (0, None), row
        assert "; beyond that, a text message of 100,001 bytes: the server closed the connection with code 1009" in row["message"], row
        assert row["message"].endswith("; 100,000 bytes pass"), row


def test_aiohttp_passes():
    port = free_port()
    with process(PYTHON, SERVERS / "aiohttp_echo.py", port, port=port):
        code, document = check(f"ws://127.0.0.1:{port}/ws", "payload", timeout=PATIENT)
        assert code == 0, document


def test_a_server_that_reads_single_frames_only():
    """servers/echo.py answers each frame for itself: the first fragment comes back alone."""
    port = free_port()
    with process(PYTHON, SERVERS / "echo.py", port, port=port):
        code, document = check(f"ws://127.0.0.1:{port}/", "payload", timeout="4s")
        row = only(document)
        assert (code, row["reason"]) == (2, "payload_limit"), row
        assert "in 3 fragments" in row["message"], row


def test_it_takes_nothing_out(tmp_path):
    """By default it only reports: an instance with a limit stays in rotation."""
    port = free_port()
    conf = f"""
target: {{ url: "ws://127.0.0.1:{port}/" }}
checks:
  - {{ type: handshake }}
  - {{ type: payload, interval: 200ms, timeout: 10s }}
"""
    with websockets(port, 20000), agent(conf, tmp_path) as run:
        until("the limit is found", lambda: "20,001 bytes: " in (run.check("payload")["message"] or ""))
        until("the check fails", lambda: run.check("payload")["state"] == "fail")
        assert run.ready()
