"""Several instances of one service, each a server and an agent beside it, in one fleet: what test_fleet_haproxy.py and test_fleet_many.py share.

An instance breaks in two ways: by what is done to its server, or by its own health URL, which this process serves and which the agent's check `http`
asks. The latter takes no user's connection away, so a test can tell what the rotation did.
"""
import contextlib
import http.server
import threading

from harness import PYTHON, SERVERS, Agent, connects, free_port, process, until

EVERY = "every: 300ms, expire: 3s"


class Health(http.server.ThreadingHTTPServer):
    """GET /NAME: 200, or 500 for those in `broken`."""

    daemon_threads = True

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(500 if self.path.strip("/") in self.server.broken else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def __init__(self):
        self.broken = set()
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Instance:
    def __init__(self, place, number):
        self.place, self.name = place, f"chat-{number}"
        self.server_port, self.port, self.agent_check = free_port(), free_port(), free_port()
        self.folder = place.folder / self.name
        self.folder.mkdir()
        self.server = self.agent = None
        self.token = ""

    def start_server(self):
        self.server = self.place.stack.enter_context(process(PYTHON, SERVERS / "echo.py", self.server_port, "--name", self.name.replace("-", "_")))

    def start_agent(self, folder=None):
        place, folder = self.place, folder or self.folder
        conf = (f"target: {{ url: 'ws://127.0.0.1:{self.server_port}/'{self.token} }}\nidentity: {{ id: {self.name}, region: eu }}\n"
                f"agent_check: 127.0.0.1:{self.agent_check if folder == self.folder else free_port()}\n"
                f"brokers: [ {{ name: bus, type: {place.kind}, url: '{place.url}', timeout: {place.timeout}, retry: {{ min: 100ms, max: 500ms }} }} ]\n"
                f"fleet: {{ broker: bus, group: chat, {EVERY} }}\nreadiness: {{ min_ready: {place.min_ready} }}\n"
                f"defaults: {{ interval: 400ms, fast_interval: 100ms, timeout: {place.timeout}, fall: {place.fall} }}\n"
                f"checks: [ {{ type: handshake }}, {{ type: ping }}, {place.more.format(url=place.health_url(self.name))} ]\n")
        child = Agent(conf, folder, wait=False, port=self.port if folder == self.folder else free_port())
        place.stack.callback(child.cleanup)
        if folder == self.folder:
            self.agent = child
        return child

    def breaks(self):
        self.place.health.broken.add(self.name)

    def is_mended(self):
        self.place.health.broken.discard(self.name)

    # --- what its agent says ---
    def word(self):
        return self.agent.get("/ready").body.split(b"\n")[0].decode()

    def cause(self):
        return self.agent.status()["diagnosis"]["cause"]

    def sentence(self):
        return self.agent.status()["diagnosis"]["sentence"]

    def fleet(self):
        return self.agent.get("/fleet").json()

    def states(self):
        return {member["id"]: member["state"] for member in self.fleet()["members"]}

    def knows(self):
        """Whom it takes for ready."""
        return {name for name, state in self.states().items() if state == "ready"}


class Place:
    """So many instances on one broker. `more`: a check beside handshake and ping; {url} is the instance's own health URL."""

    fall, timeout = 2, "3s"  # for a busy machine; where something hangs, less

    def __init__(self, folder, url, count, min_ready, more="{{ type: http, url: '{url}', gates: [ready] }}", **settings):
        vars(self).update(settings)
        self.folder, self.url, self.kind, self.min_ready, self.more = folder, url, url.split(":")[0], min_ready, more
        self.stack = contextlib.ExitStack()
        self.health = self.stack.enter_context(Health())
        self.all = [Instance(self, number) for number in range(count)]

    def health_url(self, name):
        return f"http://127.0.0.1:{self.health.server_port}/{name}"

    def names(self, *numbers):
        return {f"chat-{number}" for number in numbers or range(len(self.all))}

    def start(self):
        for one in self.all:
            one.server or one.start_server()
        for one in self.all:
            until(f"the server of {one.name} is up", lambda one=one: connects(one.server_port))
            one.start_agent()
        self.all_know_each_other()

    def all_know_each_other(self):
        for one in self.all:
            until(f"{one.name} answers", one.agent.answers)
            until(f"{one.name} knows all, not {one.states()}", lambda one=one: one.knows() == self.names() and one.fleet()["linked"])

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *failure):
        try:
            if failure == (None, None, None):
                for one in self.all:
                    if one.agent.running():
                        one.agent.stop()
        finally:
            self.stack.close()
