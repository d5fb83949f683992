"""The diagnosis over all checks, on real faults: its cause, and where it is told."""
import re

from harness import agent, free_port, until, wshealthd


def wait_cause(child, cause):
    """Waits until the agent comes to that cause. The diagnosis."""
    found = {}

    def come():
        found.update(child.status()["diagnosis"])
        return found["cause"] == cause

    try:
        until(cause, come)
    except AssertionError:
        raise AssertionError(f"want {cause}, have {found}: {child.get('/ready?verbose').text}") from None
    return found


def test_explain_every_word():
    code, listed, err = wshealthd("explain")
    assert code == 0 and not err
    words = re.findall(r"^  ([a-z0-9_]+) ", listed, re.M)
    assert {"server_hung", "closed_abnormal", "healthy", "broker_down"} <= set(words), listed
    for word in ("server_hung", "flood", "healthy"):
        code, row, err = wshealthd("explain", word)
        assert code == 0 and not err
        assert all(part in row for part in ("Seen:", "Means:", "Do:", word)), row
    code, row, _err = wshealthd("explain", "draining")
    assert "wshealthd resume" in row


def test_explain_wants_a_word_that_exists():
    code, out, err = wshealthd("explain", "server_hnug")
    assert code == 3 and not out and "did you mean 'server_hung'?" in err and len(err.splitlines()) == 1, err
    code, out, err = wshealthd("explain", "x\ny" * 100)
    assert code == 3 and not out and len(err.splitlines()) == 1, err


def test_the_cause_is_the_same_everywhere(tmp_path):
    """/ready, /status, the log and /metrics name one cause, and every cause is in /metrics from the first scrape."""
    conf = f"target: {{ url: ws://127.0.0.1:{free_port()}/ }}\ndefaults: {{ interval: 200ms }}\nchecks: [ {{ type: handshake }} ]\n"
    with agent(conf, tmp_path) as child:
        series = dict(re.findall(r'^wshealthd_diagnosis\{cause="(\w+)"\} (\d)$', child.get("/metrics").text, re.M))
        assert len(series) > 50 and list(series.values()).count("1") == 1, series
        wait_cause(child, "server_down")
        text = child.get("/metrics").text
        assert 'wshealthd_diagnosis{cause="server_down"} 1\n' in text
        assert len(re.findall(r"^wshealthd_diagnosis\{.*\} 1$", text, re.M)) == 1
        assert "Nothing listens on the server's address" in child.get("/ready?verbose").text
        until("the log has it", lambda: "cause=server_down" in child.err())
