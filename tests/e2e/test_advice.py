"""Messages that lead to the mistake: in the words of whoever has typed it."""
import json
import subprocess

import pytest

from harness import BINARY, agent, echo_server, environment, free_port, wshealthd
from test_refusals import sized
from test_target import served


def test_an_http_url_is_called_by_its_own_name_and_426_points_to_ws():
    async def websocket_only(peer):
        await peer.request()
        await peer.send(sized("426 Upgrade Required", "Upgrade Required", "Connection: close"))

    with served(websocket_only) as port:
        code, out, _err = wshealthd("check", f"http://127.0.0.1:{port}/health")
        assert code == 2 and f"http://127.0.0.1:{port}/health" in out and f"ws://127.0.0.1:{port}" not in out, out
        assert "ask it with ws://" in " ".join(out.split()), out


def test_a_path_comes_before_proxies():
    """node's ws answers 400 to a path that is not its own."""

    async def ws(peer):
        await peer.request()
        await peer.send(sized("400 Bad Request", "Bad Request", "Connection: close"))

    with served(ws) as port:
        _code, out, _err = wshealthd("check", f"ws://127.0.0.1:{port}/wrong", "--json")
        advice = json.loads(out)["diagnosis"]["advice"]
        assert "path" in advice[0] and "prox" not in advice[0], advice


def test_flags_are_named_where_flags_were_used(tmp_path, certs):
    async def refused(peer):
        await peer.request()
        await peer.send(sized("403 Forbidden", "origin not allowed", "Connection: close"))

    with served(refused) as port:
        url = f"ws://127.0.0.1:{port}/"
        _code, out, _err = wshealthd("check", url)
        assert "--origin" in out and "--token-file" in out and "target.origin" not in out and "target.token " not in out, out
        file = tmp_path / "c.yaml"
        file.write_text(f"target: {{ url: '{url}' }}\n")
        _code, out, _err = wshealthd("check", "-c", file)
        assert "target.origin" in out and "--origin" not in out, out
        _code, out, _err = wshealthd("check", "-c", file, "--origin", "https://a.example")
        assert "--origin" in out and "target.origin" not in out and "target.token" in out, out
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    _code, _out, err = wshealthd("check", f"wss://127.0.0.1:{free_port()}/", "--ca", bad)
    assert "--ca" in err and "target." not in err, err
    code, _out, err = wshealthd("check", f"ws://127.0.0.1:{free_port()}/", "--type", "tls")
    assert code == 3 and "--type" in err and "checks[" not in err and "target." not in err, err


@pytest.mark.parametrize(("args", "words"), [
    (["check", "--token", "abc", "ws://127.0.0.1:1/"], ["did you mean '--token-file'", "Secrets are never flags"]),
    (["check", "--password=abc", "ws://127.0.0.1:1/"], ["--token-file"]),
    (["check", "--trace", "-q", "ws://127.0.0.1:1/"], ["--trace prints more than the one line of --quiet"]),
    (["check", "--http", "3", "ws://127.0.0.1:1/"], ["--http", "1.1"]),
])
def test_flags_that_are_none(args, words):
    code, out, err = wshealthd(*args)
    assert code == 3 and not out and len(err.strip().splitlines()) == 1, (out, err)
    for word in words:
        assert word in err, err
    assert "abc" not in err, err


def test_every_flag_of_the_contract_is_taken(tmp_path, server):
    token = tmp_path / "token"
    token.write_text("hunter2hunter2")
    code, out, err = wshealthd("check", server.url, "--type", "echo", "--header", "X-A: b", "--origin", "https://a.example", "--token-file", token,
                               "--send", "hello", "--expect", "hello", "--slo", "3s", "--timeout", "4s", "--insecure", "--http", "1.1", "--dialect", "raw")
    assert code == 0, (out, err)


def test_config_init_in_a_missing_directory(tmp_path):
    missing = tmp_path / "no" / "where"
    code, _out, err = wshealthd("config", "init", missing / "w.yaml")
    assert code == 3 and f"mkdir -p {missing}" in err, err
    missing.mkdir(parents=True)
    assert wshealthd("config", "init", missing / "w.yaml")[0] == 0


@pytest.mark.parametrize(("text", "words"), [
    ("target:\nurl: ws://127.0.0.1:1/\n", ["2:1", "is a key of 'target'", "indent it"]),
    ("page:\nurl: http://127.0.0.1:1/\n", ["2:1", "is a key of 'page'"]),
    ("listen: off\nurl: ws://127.0.0.1:1/\n", ["2:1", "is a key of 'target'"]),
    ("target:\n    url: ws://h/\n  origin: x\n", ["3:3", "indentation fits no key"]),
    ("target: { url: ws://h/ }\nlog:\n  level: info\n   format: json\n", ["4:", "indented further"]),
    ("target:\n  url: ws://h/\n\torigin: x\n", ["3:", "tab"]),
    ("target: { url: ws://h/\nlog: {}\n", [", or }"]),
])
def test_yaml_errors_are_plain(tmp_path, text, words):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    code, _out, err = wshealthd("config", "check", file)
    assert code == 3, err
    for word in words:
        assert word in err, err
    for jargon in ("block mapping", "while parsing", "mapping values", "simple key"):
        assert jargon not in err, err


def test_an_address_in_use_says_by_whom(tmp_path):
    with echo_server() as server, agent(f"target: {{ url: '{server.url}' }}\n", tmp_path) as first:
        second = tmp_path / "second.yaml"
        second.write_text(f"listen: 127.0.0.1:{first.port}\nadmin: off\ntarget: {{ url: '{server.url}' }}\n")
        code, _out, err = wshealthd("run", "-c", second)
        assert code == 3 and "another agent" in err and str(first.pid) in err and "`admin`" in err, err
        second.write_text(f"listen: off\nadmin: unix:{first.admin}\ntarget: {{ url: '{server.url}' }}\n")
        code, _out, err = wshealthd("run", "-c", second)
        assert code == 3 and "another agent" in err and "`listen`" in err, err
        second.write_text(f"listen: 127.0.0.1:{server.port}\nadmin: off\ntarget: {{ url: '{server.url}' }}\n")
        code, _out, err = wshealthd("run", "-c", second)
        assert code == 3 and f"process {server.pid}" in err and "choose another address" in err, err


def test_the_demo_knows_its_commands(tmp_path):
    with subprocess.Popen([BINARY, "demo", "--listen", f"127.0.0.1:{free_port()}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=environment(HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))) as demo:
        out, _err = demo.communicate("statsu\nsilent-drp\nquit\n", timeout=30)
    assert "did you mean 'status'" in out, out
    assert "did you mean 'silent-drop'" in out, out
