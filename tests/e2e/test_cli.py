"""The command line as people and scripts use it: forms of output, exit codes, one line for each error."""
import json
import os
import pty
import re
import subprocess

import pytest

from harness import BINARY, ROOT, check, environment, free_port, only, wshealthd


def test_version_and_help():
    code, out, err = wshealthd("--version")
    assert code == 0 and re.match(r"wshealthd \d+\.\d+\.\d+", out) and not err
    code, out, _err = wshealthd("help")
    assert code == 0
    for command in ("run", "check", "status", "wait", "drain", "resume", "reload", "explain", "config", "demo", "help"):
        assert re.search(rf"^\s+{command}\b", out, re.M), out
        code, page, _err = wshealthd("help", command)
        assert code == 0 and command in page
        code, again, _err = wshealthd(command, "--help")
        assert (code, again) == (0, page)


@pytest.mark.parametrize("args", [
    ("chekc",), ("check", "--tiemout", "1s", "ws://127.0.0.1:1/"), ("check", "http//x"), ("check",), ("check", "--type", "handshaek", "ws://127.0.0.1:1/"),
    ("check", "--timeout", "2", "ws://127.0.0.1:1/"), ("check", "--timeout"), ("check", "ws://127.0.0.1:1/", "ws://127.0.0.1:2/"),
    ("check", "--header", "nocolon", "ws://127.0.0.1:1/"), ("check", "--ca", "/nonexistent/ca.pem", "wss://127.0.0.1:1/"),
    ("check", "--token-file", "/nonexistent/token", "ws://127.0.0.1:1/"), ("check", "-c", "/nonexistent/file.yaml"), ("run", "-c", "/nonexistent/file.yaml"),
    ("check", "ws://"), ("check", "ws://127.0.0.1:99999/"), ("check", "ftp://127.0.0.1/"), ("check", "ws://[::1/"), ("wait", "--for", "lunch"),
    ("config", "chekc"), ("help", "nothing"), ("demo", "--fault", "nope"),
])
def test_usage_errors(args):
    if args == ("check",) and os.path.exists("/etc/wshealthd/wshealthd.yaml"):
        pytest.skip("this machine has a configuration of its own")
    code, out, err = wshealthd(*args, HOME="/nonexistent")
    assert code == 3, (out, err)
    assert not out, out
    assert len(err.strip().splitlines()) == 1, err


@pytest.mark.parametrize("kind, said", [
    ("script", "--type (it needs a file, -c FILE): steps: required, but not set\n"),
    ("broker", "--type (it needs a file, -c FILE): broker: 'broker' needs a broker, and `brokers` has none\n"),
    ("tls", "--type: 'tls' needs the URL to begin with wss://\n"),
])
def test_a_check_that_needs_more_than_a_flag_says_what(kind, said):
    code, out, err = wshealthd("check", "ws://127.0.0.1:1/", "--type", kind)
    assert (code, out, err) == (3, "", said)


def test_did_you_mean():
    for args, hint in ((("chekc",), "check"), (("check", "--tiemout", "1s", "ws://127.0.0.1:1/"), "timeout"),
                       (("check", "--type", "handshaek", "ws://127.0.0.1:1/"), "handshake")):
        _code, _out, err = wshealthd(*args)
        assert f"did you mean '{hint}'" in err or f"did you mean '--{hint}'" in err, err


def test_check_for_people(server):
    code, out, err = wshealthd("check", server.url)
    assert code == 0 and not err, (out, err)
    for word in ("handshake", "ping", "connect", "upgrade", "pass"):
        assert word in out, out
    assert "\x1b" not in out
    code, out, _err = wshealthd("check", f"ws://127.0.0.1:{free_port()}/")
    assert code == 2
    assert "connect_refused" in out, out
    assert "handshake" in out


def test_check_nagios(server):
    code, out, _err = wshealthd("check", server.url, "--nagios")
    assert code == 0 and len(out.strip().splitlines()) == 1, out
    assert re.match(r"\S+ OK - .*\|.*=", out), out
    code, out, _err = wshealthd("check", f"ws://127.0.0.1:{free_port()}/", "--nagios")
    assert code == 2 and "CRITICAL" in out, out


def test_check_quiet_is_one_line(server):
    for flag in ("-q", "--quiet"):
        code, out, err = wshealthd("check", flag, server.url)
        assert code == 0 and not err and re.fullmatch(r"ready: [^\n]*\n", out), (out, err)
    code, out, err = wshealthd("check", "-q", f"ws://127.0.0.1:{free_port()}/")
    assert code == 2 and not err and re.fullmatch(r"not ready: [^\n]*\n", out), (out, err)
    for other in ("--json", "--nagios"):
        code, out, err = wshealthd("check", "-q", other, server.url)
        assert code == 3 and not out and len(err.splitlines()) == 1, (out, err)


def test_check_json_matches_the_contract(server):
    code, document = check(server.url, "handshake", "ping", "echo")
    assert code == 0
    assert [c["type"] for c in document["checks"]] == ["handshake", "ping", "echo"]
    for row in document["checks"]:
        assert row["state"] == row["status"] == "pass"
        assert row["timings_ms"]["total"] >= row["timings_ms"]["upgrade"] > 0
    assert document["checks"][1]["rtt_ms"] > 0
    assert document["checks"][0]["http_status"] == 101


def test_headers_and_origin_arrive(tmp_path):
    from harness import PYTHON, process

    script = tmp_path / "show.py"
    script.write_text("""
import asyncio, json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from peer import serve
async def handler(p):
    await p.upgrade()
    pathlib.Path(sys.argv[3]).write_text(json.dumps(p.headers + [["target", p.target]]))
    await p.serve()
async def main():
    await serve(handler, port=int(sys.argv[2]))
    await asyncio.Event().wait()
asyncio.run(main())
""")
    port = free_port()
    seen = tmp_path / "seen.json"
    with process(PYTHON, script, os.path.dirname(os.path.abspath(__file__)), port, seen, port=port):
        code, _document = check(f"ws://127.0.0.1:{port}/a/b?c=d", "handshake",
                                flags=("--header", "X-One: 1", "--header", "X-Two:two words", "--origin", "https://app.example"))
        assert code == 0
    headers = {name.lower(): value for name, value in json.loads(seen.read_text())}
    assert headers["x-one"] == "1" and headers["x-two"] == "two words" and headers["origin"] == "https://app.example"
    assert headers["host"] == f"127.0.0.1:{port}" and headers["target"] == "/a/b?c=d"
    assert headers["sec-websocket-version"] == "13" and len(headers["sec-websocket-key"]) == 24


def test_slo(server):
    code, document = check(server.url, "echo", flags=("--slo", "1ms"))
    assert code in (0, 1)
    code, document = check(server.url, "echo", flags=("--slo", "4s"))
    assert (code, only(document)["status"]) == (0, "pass")


def test_unix_socket_target(tmp_path):
    from harness import PYTHON, process, until

    path = tmp_path / "ws.sock"
    script = tmp_path / "unix.py"
    script.write_text("""
import asyncio, sys
import websockets
async def echo(connection, _path=None):
    async for message in connection:
        await connection.send(message)
async def main():
    async with websockets.unix_serve(echo, sys.argv[1]):
        await asyncio.Event().wait()
asyncio.run(main())
""")
    with process(PYTHON, script, path, ready=lambda _child: path.exists()):
        code, document = check(f"ws+unix://{path}:/chat", "handshake", "ping", "echo")
        assert code == 0, document
    until("gone", lambda: True)
    code, document = check(f"ws+unix://{tmp_path}/nobody.sock:/chat", "handshake")
    assert (code, only(document)["phase"]) == (2, "connect"), document


def run_on_terminal(*args, **env):
    master, slave = pty.openpty()
    child = subprocess.Popen([BINARY, *args], stdin=slave, stdout=slave, stderr=slave, env=environment(TERM="xterm", **env))
    os.close(slave)
    out = b""
    try:
        while True:
            piece = os.read(master, 4096)
            if not piece:
                break
            out += piece
    except OSError:
        pass
    finally:
        os.close(master)
    return child.wait(30), out.decode()


def test_colour_only_on_a_terminal(server):
    code, out = run_on_terminal("check", server.url)
    assert code == 0 and "\x1b[" in out, out
    code, out = run_on_terminal("check", server.url, NO_COLOR="1")
    assert code == 0 and "\x1b" not in out, out


def test_config_commands(tmp_path):
    code, starter, err = wshealthd("config", "init")
    assert code == 0 and starter, err
    file = tmp_path / "wshealthd.yaml"
    file.write_text(starter)
    code, out, err = wshealthd("config", "check", file)
    assert code == 0, (out, err)
    code, shown, err = wshealthd("config", "show", file)
    assert code == 0, err
    file.write_text(shown)
    code, again, err = wshealthd("config", "show", file)
    assert (code, again) == (0, shown), err
    code, schema, err = wshealthd("config", "schema")
    assert code == 0
    assert json.loads(schema)["$schema"].startswith("https://json-schema.org/")


def test_every_error_of_a_file_is_told_with_its_place(tmp_path):
    file = tmp_path / "wshealthd.yaml"
    file.write_text("""listen: 127.0.0.1:9717
target:
  url: ws://127.0.0.1:8080/ws
  compresion: off
defaults: { interval: 5, fall: 6/5 }
checks:
  - { name: handshake, type: handshake }
  - { name: handshake, type: ping }
  - name: echo
    type: echo
    timout: 2s
    timeout: soon
  - { name: x, type: hnadshake }
  - { name: y, type: echo, expect: { regex: "(" } }
""")
    code, out, err = wshealthd("config", "check", file)
    assert code == 3 and not out
    for place, *words in (("4:", "compresion", "did you mean 'compression'"), ("5:", "interval", "5"), ("5:", "fall"), ("8:", "handshake"),
                          ("11:5:", "checks[2].timout", "did you mean 'timeout'"), ("12:", "timeout", "soon"), ("13:", "hnadshake", "handshake"),
                          ("14:", "regex")):
        assert any(f"wshealthd.yaml:{place}" in line and all(word in line for word in words) for line in err.splitlines()), (place, words, err)


def test_an_unset_variable_and_an_unreadable_file_are_errors(tmp_path):
    file = tmp_path / "wshealthd.yaml"
    for value in ("${NO_SUCH_VARIABLE_HERE}", "${file:/nonexistent/token}"):
        file.write_text(f'target: {{ url: "ws://127.0.0.1:1/", headers: {{ X-A: "{value}" }} }}\n')
        code, _out, err = wshealthd("config", "check", file)
        assert code == 3 and "wshealthd.yaml:1:" in err, err
    file.write_text('target: { url: "ws://127.0.0.1:1/", headers: { X-A: "${NO_SUCH_VARIABLE_HERE:-fine}" } }\n')
    assert wshealthd("config", "check", file)[0] == 0


def test_the_manual_has_the_flags_that_exist():
    _code, overview, _err = wshealthd("help")
    code, roff, err = wshealthd("help", "--roff", "commands")
    assert code == 0, err
    sections = {part.split()[1]: part.replace("\\-", "-") for part in roff.split(".SS ")[1:]}
    for command in re.findall(r"^  (\w+) ", overview, re.M):
        if command in sections:
            _code, page, _err = wshealthd("help", command)
            known = set(re.findall(r"--[a-z][a-z-]*", page))
            assert set(re.findall(r"--[a-z][a-z-]*", sections[command])) == known, command
    manual = (ROOT / "docs" / "wshealthd.8.in").read_text()
    for name in ("EXAMPLES", "ENVIRONMENT"):
        assert f".SH {name}\n" in manual
    read = {name for path in (ROOT / "agent").rglob("*.c") for name in re.findall(r'"(WSHEALTHD_[A-Z]+)"', path.read_text())}
    assert read, "the program reads variables"
    environment_section = manual.split(".SH ENVIRONMENT\n")[1].split("\n.SH ")[0]
    for name in sorted(read):
        assert name in environment_section, name


def test_the_manual_says_what_a_match_is_before_it_is_used():
    manual = (ROOT / "docs" / "wshealthd.yaml.5.in").read_text()
    assert manual.index(".SS Matches\n") < manual.index("@options@")


def test_config_init_short(tmp_path):
    """A dozen lines that load, with the editor's line first; the long start has that line too."""
    file = tmp_path / "wshealthd.yaml"
    code, _, err = wshealthd("config", "init", "--short", file)
    assert code == 0, err
    lines = file.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=wshealthd.schema.json" and len(lines) < 20, lines
    code, out, err = wshealthd("config", "check", file)
    assert code == 0 and "3 checks" in out + err, out + err
    assert wshealthd("config", "init")[1].splitlines()[0] == lines[0]
    code, _, err = wshealthd("config", "check", "--short", file)
    assert code == 3 and "--short" in err, err
