"""Messages as the services get them, from a real agent: bodies by the services' documents (schemas/), words for people, a real Alertmanager, a real
mailer. When something is told, and retries, are test_notify.py's."""
import contextlib
import email
import email.policy
import http.client
import http.server
import json
import os
import pathlib
import shutil
import socketserver
import threading

import pytest

from harness import PATIENCE, agent, free_port, process, until
from schema import accepts
from test_target import served

SCHEMAS = pathlib.Path(__file__).resolve().parent / "schemas"
# Markup of every kind, mentions, links, an end of the line and a header behind it.
ATTACK = "Sorry <!channel> @everyone <@U1> [x](http://evil.example) {{DATE(2017-02-14T06:08:39Z)}} *b* `c` ||s||\r\nBcc: evil@example.com\r\n\r\n.\r\n\x1b[31m \u202e \U0001f600"
PAGE = "https://status.example.com/chat-1?a=1&b=2"
ANSWERS = {"slack": (200, b"ok"), "discord": (200, b'{"id":"1"}'), "teams": (202, b""), "pagerduty": (202, b'{"status":"success"}'), "alertmanager": (200, b"")}
CHECKS = "checks: [ { type: handshake, interval: 200ms, fast_interval: 100ms, rise: 1, fall: 1, timeout: 10s } ]\n"


@contextlib.contextmanager
def services():
    """One HTTP server for all of them, by the first part of the path. Yields (port, {service: [body]})."""
    got = {name: [] for name in ANSWERS}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            name = self.path.strip("/").split("/")[0].split("?")[0]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"].startswith("application/json")
            got[name].append(json.loads(body))
            status, answer = ANSWERS[name]
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextlib.contextmanager
def target(attack=ATTACK):
    """A WebSocket server that can be broken: it then refuses with a text that is an attack. Yields its URL and the switch."""
    broken = threading.Event()

    async def one(peer):
        if broken.is_set():
            await peer.request()
            body = attack.encode()
            await peer.send(f"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n", body)
            return
        await peer.upgrade()
        await peer.serve()

    with served(one) as port:
        yield f"ws://127.0.0.1:{port}/ws", broken


def sendmail(directory):
    """A mailer that keeps what it gets: its arguments and its input, a file each."""
    program = directory / "sendmail"
    program.write_text(f'#!/bin/sh\nn=$(ls {directory}/mail 2>/dev/null | wc -l)\nmkdir -p {directory}/mail\n'
                       f'{{ printf "%s\\n" "$*"; cat; }} >{directory}/sent.$$ && mv {directory}/sent.$$ {directory}/mail/$n\n')
    program.chmod(0o755)

    def mails():
        files = sorted((directory / "mail").glob("*"), key=lambda file: int(file.name))
        return [file.read_text().split("\n", 1) for file in files]

    return program, mails


def notifiers(port, program):
    return f"""notify:
  - {{ type: slack, url: "http://127.0.0.1:{port}/slack/T1", after: 100ms }}
  - {{ type: discord, url: "http://127.0.0.1:{port}/discord", after: 100ms }}
  - {{ type: teams, url: "http://127.0.0.1:{port}/teams", after: 100ms }}
  - {{ type: pagerduty, url: "http://127.0.0.1:{port}/pagerduty", routing_key: 0123456789abcdef0123456789abcdef, after: 100ms }}
  - {{ type: alertmanager, url: "http://127.0.0.1:{port}/alertmanager", after: 100ms, labels: {{ team: chat }} }}
  - {{ type: email, to: [ops@example.com, root], from: wshealthd@example.com, program: {program}, after: 100ms }}
"""


def by_schema(name, body):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    assert accepts(schema, body, schema), f"{name}: {json.dumps(body, indent=1)}"


def runs(card):
    return [run["text"] for block in card["body"] for run in block["inlines"]]


def test_each_service_is_told_in_its_own_way_once_begun_once_ended(tmp_path):
    program, mails = sendmail(tmp_path)
    with services() as (port, got), target() as (url, broken):
        conf = f"identity: {{ id: chat-1, region: eu-west }}\npage: {{ url: '{PAGE}' }}\ntarget: {{ url: '{url}' }}\n{CHECKS}{notifiers(port, program)}"
        with agent(conf, tmp_path) as there:
            there.wait_ready()
            broken.set()
            until("all are told of the begin", lambda: all(got.values()) and mails())
            broken.clear()
            until("all are told of the end", lambda: all(len(bodies) > 1 for bodies in got.values()) and len(mails()) > 1)
            there.wait_ready()
    assert [len(bodies) for bodies in got.values()] == [2] * 5 and len(mails()) == 2, got
    for name, bodies in got.items():
        for body in bodies:
            by_schema(name, body)
    begin, end = ({name: bodies[i] for name, bodies in got.items()} for i in range(2))
    title, over = begin["slack"]["blocks"][0]["text"]["text"], end["slack"]["blocks"][0]["text"]["text"]
    assert title == "chat-1 is not ready: the server answers the upgrade with an error of its own", title
    assert over.startswith("chat-1 is ready again after "), over
    assert begin["slack"]["text"].startswith(title + "\n") and end["slack"]["text"].startswith(over + "\n")
    assert begin["discord"]["embeds"][0]["title"] == title and end["discord"]["embeds"][0]["title"] == over
    assert runs(begin["teams"]["attachments"][0]["content"])[0] == title
    assert [begin["pagerduty"]["event_action"], end["pagerduty"]["event_action"]] == ["trigger", "resolve"]
    assert begin["pagerduty"]["dedup_key"] == end["pagerduty"]["dedup_key"] and begin["pagerduty"]["payload"]["summary"] == title
    assert begin["alertmanager"][0]["labels"] == end["alertmanager"][0]["labels"] == {
        "alertname": "WebSocketServerUnhealthy", "severity": "critical", "instance": "chat-1", "region": "eu-west", "service": url, "team": "chat"}
    assert begin["alertmanager"][0]["endsAt"] > end["alertmanager"][0]["endsAt"]  # it would have fired on
    # What the server said is told, and is nothing but text.
    said = json.dumps(begin, ensure_ascii=False)
    assert "channel" in begin["slack"]["text"] and "channel" in begin["pagerduty"]["payload"]["custom_details"]["diagnosis"]
    assert "<!" not in json.dumps(begin["slack"]) and "@everyone" not in json.dumps([begin["slack"], begin["discord"]])
    assert "{{DATE" not in json.dumps(begin["teams"]) and "\x1b" not in said and "\u202e" not in said
    links = [begin["discord"]["embeds"][0]["url"], begin["teams"]["attachments"][0]["content"]["actions"][0]["url"],
             begin["pagerduty"]["links"][0]["href"], begin["alertmanager"][0]["generatorURL"], begin["slack"]["text"].splitlines()[-1]]
    assert links == [PAGE] * 5, links
    check_mails(mails(), title, over)


def check_mails(sent, title, over):
    first, last = (email.message_from_string(text, policy=email.policy.default) for _args, text in sent)
    assert all(args == "-i -f wshealthd@example.com ops@example.com root" for args, _text in sent), sent
    assert (first["Subject"], last["Subject"]) == (title, over)
    assert first["Bcc"] is None and first["To"] == "ops@example.com, root" and first["From"].addresses[0].addr_spec == "wshealthd@example.com"
    assert last["References"] == last["In-Reply-To"] == first["Message-ID"] != last["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated" and first["Date"].datetime and not first.defects + last.defects
    text = first.get_content()
    assert text.startswith(title + ".\n\n") and "What to do:\n- " in text and "channel" in text and PAGE in text and "evil@example.com" in text
    assert max(len(line) for _args, mail in sent for line in mail.splitlines()) <= 76 and "\nBcc" not in sent[0][1]


def test_a_templated_mail_keeps_its_head(tmp_path):
    program, mails = sendmail(tmp_path)
    conf = f"""target: {{ url: 'ws://127.0.0.1:{free_port()}/' }}
identity: {{ id: chat-1 }}
notify: [ {{ name: ops, type: email, to: [root], program: {program}, body: "Look at {{{{agent}}}}: {{{{word}}}}\\n", after: 100ms }} ]
{CHECKS}"""
    with agent(conf, tmp_path):
        until("a mail is there", mails)
    mail = email.message_from_string(mails()[0][1], policy=email.policy.default)
    assert mail.get_content() == "Look at chat-1: not ready\n" and mail["Subject"].startswith("chat-1 is not ready"), mails()


@pytest.fixture(scope="module")
def installed():
    def find(name):
        return shutil.which(name) or pytest.skip(f"{name} is not installed")

    return find


def alerts(port, **query):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/api/v2/alerts?" + "&".join(f"{k}={v}" for k, v in query.items()))
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def test_a_real_alertmanager_fires_and_resolves(installed, tmp_path):
    """The alert is there while the incident lasts, with its cause; and its webhook is told once that it fires, once that it is over."""
    port, told = free_port(), []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=hook.serve_forever, args=(0.05,))
    thread.start()
    (tmp_path / "alertmanager.yml").write_text(f"""route: {{ receiver: hook, group_by: [alertname, instance], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers: [ {{ name: hook, webhook_configs: [ {{ url: 'http://127.0.0.1:{hook.server_address[1]}/', send_resolved: true }} ] }} ]
""")
    try:
        with process(installed("prometheus-alertmanager"), f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/am",
                     f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", ready=lambda _child: alerts(port) is not None), \
                target() as (url, broken):
            conf = f"""identity: {{ id: chat-1 }}
target: {{ url: '{url}' }}
notify: [ {{ type: alertmanager, url: 'http://127.0.0.1:{port}/', after: 100ms, alertname: ChatUnhealthy }} ]
{CHECKS}"""
            with agent(conf, tmp_path) as there:
                there.wait_ready()
                broken.set()
                until("the alert fires", lambda: alerts(port, active="true"))
                alert, = alerts(port)
                assert alert["labels"]["alertname"] == "ChatUnhealthy" and alert["labels"]["instance"] == "chat-1"
                assert alert["annotations"]["cause"] and alert["annotations"]["summary"].startswith("chat-1 is not ready: ")
                assert alert["status"]["state"] == "active"
                until("its receiver is told", lambda: told)
                broken.clear()
                until("the alert is over", lambda: alerts(port) == [])
                until("its receiver is told of the end", lambda: len(told) > 1)
    finally:
        hook.shutdown()
        thread.join(10)
        hook.server_close()
    assert [one["status"] for one in told] == ["firing", "resolved"], told
    assert [len(one["alerts"]) for one in told] == [1, 1], told


class Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as takes a mail."""

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 here")
        for line in iter(self.rfile.readline, b""):
            verb = line.split()[0].upper() if line.split() else b""
            if verb in (b"MAIL", b"RCPT"):
                self.server.envelope.append(line.decode().strip())
            if verb == b"DATA":
                self.say("354 go on")
                self.server.mail = b"".join(iter(self.rfile.readline, b".\r\n"))
            self.say("221 bye" if verb == b"QUIT" else "250 ok")
            if verb == b"QUIT":
                return


def test_a_real_mailer_delivers(installed, tmp_path):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)
    server.daemon_threads, server.envelope, server.mail = True, [], None
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    program = tmp_path / "sendmail"
    (tmp_path / "msmtprc").write_text(f"account default\nhost 127.0.0.1\nport {server.server_address[1]}\nfrom set@example.com\n")
    os.chmod(tmp_path / "msmtprc", 0o600)
    program.write_text(f'#!/bin/sh\nexec {installed("msmtp")} -C {tmp_path}/msmtprc "$@"\n')
    program.chmod(0o755)
    conf = f"""identity: {{ id: chat-1 }}
target: {{ url: 'ws://127.0.0.1:{free_port()}/' }}
notify: [ {{ type: email, to: [ops@example.com], from: wshealthd@example.com, program: {program}, after: 100ms }} ]
{CHECKS}"""
    try:
        with agent(conf, tmp_path):
            until("the mail has arrived", lambda: server.mail)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
    mail = email.message_from_bytes(server.mail, policy=email.policy.default)
    assert server.envelope == ["MAIL FROM:<wshealthd@example.com>", "RCPT TO:<ops@example.com>"], server.envelope
    assert mail["Subject"].startswith("chat-1 is not ready: nothing listens") and "What to do:" in mail.get_content() and not mail.defects
