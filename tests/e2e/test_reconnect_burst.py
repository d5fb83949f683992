"""A crowd that comes back at once (`reconnect` with `burst`), against Debian's python3-websockets."""
from harness import BINARY, PYTHON, SERVERS, check, environment, free_port, only, process, wshealthd


def burst(tmp_path, count, within="20s", **server):
    port = free_port()
    file = tmp_path / "c.yaml"
    file.write_text(f"""
target: {{ url: "ws://127.0.0.1:{port}/" }}
checks: [ {{ type: reconnect, burst: {count}, timeout: 28s, within: {within} }} ]
""")
    with process(PYTHON, SERVERS / "websockets_crowd.py", port, port=port, env=environment(**server)):
        code, document = check(None, conf=file, timeout=None, patience=60)
        return code, only(document)


def test_all_come_back(tmp_path):
    code, row = burst(tmp_path, 50)
    assert code == 0 and "; 50 of 50 came back within " in row["message"] and "; a bystander's ping took " in row["message"], row


def test_a_slow_accept(tmp_path):
    code, row = burst(tmp_path, 50, within="3s", ACCEPT_MS="200")
    assert code == 2 and row["reason"] == "reconnect_slow", row
    assert " of 50 connections came back within 3s; the others had no answer yet" in row["message"], row


def test_a_server_that_takes_some_only(tmp_path):
    code, row = burst(tmp_path, 50, MOST="22")
    assert code == 2 and row["reason"] == "reconnect_slow" and row["message"].split(" ")[0] in ("20", "21"), row
    assert " of 50 connections came back within 20s; the first failure: " in row["message"] and "503" in row["message"], row


def test_a_refusal_is_no_fault_of_the_server(tmp_path):
    code, row = burst(tmp_path, 50, MOST="22", MOST_POLICY="1")
    assert code == 1 and row["history"] == "~" and row["reason"] == "rate_limited" and "the burst was stopped" in row["message"], row


def test_descriptors_are_looked_at(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text('target: { url: "ws://127.0.0.1:1/" }\nchecks: [ { type: reconnect, burst: 1000 } ]\n')
    code, out, err = wshealthd("-c", f"ulimit -n 256; exec {BINARY} check -c {file}", binary="/bin/sh")
    assert code != 0 and "checks[0].burst: reconnect needs 1102 descriptors" in out + err, (code, out, err)
