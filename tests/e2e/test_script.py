"""The check type script against servers whose conversation no dialect has: servers/conversations.py."""
import hashlib
import hmac

import pytest

from harness import PYTHON, SERVERS, check, free_port, only, process, wshealthd

SECRET = "open-sesame-42"

OBS = """    reject_codes: [4000-4999]
    steps:
      - name: hello
        expect: { json: { /op: 0 } }
        capture: { salt: /d/authentication/salt, challenge: /d/authentication/challenge }
      - name: identify
        send: '{"op":1,"d":{"rpcVersion":1,"authentication":"{{base64 (sha256 (base64 (sha256 token salt)) challenge)}}"}}'
        expect: { json: { /op: 2 } }
      - name: stats
        send: '{"op":6,"d":{"requestType":"GetStats","requestId":"{{uuid}}"}}'
        expect: { json: { /op: 7, /d/requestId: "{{uuid}}", /d/requestStatus/result: true } }
      - close: 1000
"""
HASS = """    steps:
      - expect: { json: { /type: auth_required } }
      - name: login
        send: '{"type":"auth","access_token":"{{token}}"}'
        expect: { json: { /type: auth_ok } }
        reject: { json: { /type: auth_invalid } }
      - { send: '{"id":1,"type":"ping"}', expect: { json: { /type: pong, /id: 1 } } }
"""
RPC = """    steps:
      - send: '{"jsonrpc":"2.0","id":1,"method":"%s","params":["newHeads"]}'
        expect: { json: { /id: 1, /jsonrpc: "2.0" } }
        reject: { json: { /id: 1, /error/code: -32601 } }
      - capture: { subscription: /result }
      - name: head
        expect: { json: { /method: eth_subscription, /params/subscription: "{{subscription}}" } }
      - send: '{"jsonrpc":"2.0","id":2,"method":"eth_unsubscribe","params":["{{subscription}}"]}'
        expect: { json: { /id: 2, /result: true } }
"""
EXCHANGE = """    reject: { json: { /event: error } }
    steps:
      - name: login
        send: '{"op":"login","timestamp":"{{now_s}}","sign":"{{%s (hmac_sha256 token now_s "GET/realtime")}}"}'
        expect: { json: { /event: login, /success: true } }
"""


@pytest.fixture(scope="module")
def port():
    port = free_port()
    with process(PYTHON, SERVERS / "conversations.py", port, port=port):
        yield port


@pytest.fixture
def play(port, tmp_path):
    """play(path, options): one round of a script. (exit code, its row of the document)."""

    def round_of(path, options, token=SECRET, timeout="10s"):
        file = tmp_path / "script.yaml"
        place = "message" if "token" in options else "header"
        file.write_text(f"target: {{ url: 'ws://127.0.0.1:{port}{path}', subprotocols: [obswebsocket.json], token: {token}, token_in: {place} }}\n"
                        f"checks:\n  - type: script\n    timeout: {timeout}\n{options}")
        code, shown, err = wshealthd("config", "show", file)
        assert code == 0 and token not in shown, err
        code, document = check(None, conf=file, timeout=None)
        assert token not in str(document)
        return code, only(document)

    return round_of


@pytest.mark.parametrize("path, options", [("/obs", OBS), ("/hass", HASS), ("/rpc", RPC % "eth_subscribe"), ("/exchange", EXCHANGE % "hex"),
                                           ("/exchange", EXCHANGE % "base64")], ids=["obs", "hass", "rpc", "hex", "base64"])
def test_real_conversations(play, path, options):
    code, row = play(path, options)
    assert (code, row["status"]) == (0, "pass"), row
    assert row["rtt_ms"] > 0, row


def test_a_wrong_password(play):
    code, row = play("/obs", OBS, token="wrong-sesame-42")
    assert (code, row["reason"], row["phase"], row["scope"], row["close_code"]) == (2, "script_rejected", "open", "local", 4009), row
    assert row["message"] == 'step 2 (identify): the server closed the connection with code 4009: "Authentication failed."', row
    code, row = play("/hass", HASS, token="wrong-sesame-42")
    assert (code, row["reason"]) == (2, "script_rejected"), row
    assert row["message"].startswith('step 2 (login): the server refuses with "{"type": "auth_invalid"'), row


def test_a_method_that_is_not_there(play):
    code, row = play("/rpc", RPC % "eth_subscrib")
    assert (code, row["reason"]) == (2, "script_rejected"), row
    assert "step 1 (expect)" in row["message"] and "eth_subscrib does not exist" in row["message"], row


def test_what_is_derived_from_the_token_is_masked(play):
    """The server repeats the signature that it does not like."""
    code, row = play("/exchange", (EXCHANGE % "hex").replace("now_s \"GET", "\"x\" \"GET"))
    sign = hmac.new(SECRET.encode(), b"xGET/realtime", hashlib.sha256)
    assert (code, row["reason"]) == (2, "script_rejected"), row
    assert sign.hexdigest() not in str(row) and sign.hexdigest()[:16] not in str(row) and "***" in row["message"], row


def test_a_silent_server(play):
    code, row = play("/silent", OBS, timeout="500ms")
    assert (code, row["reason"]) == (2, "script_timeout"), row
    assert row["message"] == "step 1 (hello): no message came (want JSON with /op = 0) within 500ms", row
    code, row = play("/silent", "    steps: [{ send: a, expect: { contains: b }, within: 300ms }]\n")
    assert (code, row["reason"]) == (2, "script_timeout") and row["message"].endswith("within 300ms"), row


def test_wrong_answers(play):
    code, row = play("/chatty", OBS, timeout="500ms")
    assert (code, row["reason"]) == (2, "script_mismatch"), row
    assert 'step 1 (hello): messages came, none matched; the last, "{"hello": "there", "salt": "pepper"}"' in row["message"], row
    code, row = play("/chatty", "    steps: [{ expect: { contains: hello }, capture: { challenge: /challenge } }]\n")
    assert (code, row["reason"]) == (2, "script_mismatch") and "nothing to capture for challenge at /challenge" in row["message"], row


def test_a_server_that_leaves(play):
    steps = "    steps: [{ expect: { equals: welcome } }, { send: bye }, { closed: %s }]\n"
    code, row = play("/leaves", steps % "[4000-4010]")
    assert (code, row["close_code"]) == (0, 4001), row
    code, row = play("/leaves", steps % "1000")
    assert (code, row["reason"], row["close_code"]) == (2, "script_mismatch", 4001), row
    code, row = play("/leaves", "    steps: [{ send: bye, expect: { equals: never } }]\n")
    assert (code, row["reason"]) == (2, "closed_by_server") and row["message"].startswith("step 1 (expect): "), row


def test_a_name_that_was_never_captured(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text("target: { url: 'ws://127.0.0.1:1/' }\nchecks:\n  - type: script\n    steps:\n"
                    "      - { expect: { contains: a }, capture: { salt: /salt } }\n      - send: 'x {{hex slat}}'\n")
    code, _out, err = wshealthd("config", "check", file)
    assert code == 3
    assert err.endswith("w.yaml:6:15: checks[0].steps[1].send: unknown hole {{slat}} at offset 2 (did you mean '{{salt}}'?)\n"), err
