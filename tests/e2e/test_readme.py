"""What README, docs/*.md, ARCHITECTURE and CONTRIBUTING print is what the program does.

Every fenced block names its language, and each language has one rule:

  console  `$ command` and its output. The line above the fence says what must run meanwhile: <!-- run: SCENE -->, see SCENES. The commands are
           executed as they are printed, in a directory that has the YAML block before it as wshealthd.yaml.
  text     what `wshealthd demo` prints in its own terminal: <!-- run: demo-start --> or <!-- run: demo-log FAULT -->.
  sh       commands of wshealthd and make must exist with these flags, and so must those in `code` in the text. test_systemd_docs.py, test_helm.py,
           test_load_balancers.py and test_rolling_restart.py run the blocks of their documents; `make fresh` runs those of README.
  yaml     a configuration passes `wshealthd config check`, a part of one too when it is put beside a target and a broker; what belongs to
           Kubernetes, a load balancer or a monitor must be well-formed, ask paths that the agent has at its port, or series that it has.
           test_load_balancers.py runs those of the programs that can be had.
           <!-- run: FILE --> above it: its fields are in that manifest. <!-- run: CHART -->: values that the chart takes.
  helm     <!-- run: FILE --> above it: the lines are in that file of a chart, in this order.
  haproxy, nginx, caddyfile, ini (systemd)   pass the check of that program.
  hcl      Consul's: asks paths that the agent has.
  json     the members of an object.
  nagios, icinga   the commands of wshealthd in it exist with these flags.
  c        compiles against the headers without a warning.

Output is compared word by word. What differs from run to run is taken out of both sides, by `plain`: ports, measured times (not those
behind "within"), keys of the handshake, bars, clocks and dates, rows of # . and ~, "N of its last N rounds", where the demo has its admin socket, where the program
lies, how many blanks there are and where lines break. A state needs some rounds to settle, so a command is repeated until its output fits
or PATIENCE is over.

To print the blocks anew after a change of the program: README_WRITE=1 pytest tests/e2e/test_readme.py
"""
import contextlib
import functools
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

import pytest
import yaml

from demo import Demo
from harness import BINARY, BUILD, MODULES, PATIENCE, RELEASE, ROOT, SERVERS, agent, echo_server, environment, free_port, process, until, wshealthd
from test_helm import helm
from test_nchan import own_state, redis

WRITE = os.environ.get("README_WRITE")
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
LANGUAGES = ("console", "text", "sh", "yaml", "helm", "haproxy", "nginx", "caddyfile", "hcl", "nagios", "icinga", "json", "ini", "c")
FENCE = re.compile(r"(?:^ *<!-- run: (?P<run>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```$", re.M | re.S)


class Block:
    def __init__(self, name, match, text):
        self.file, self.run, self.language = name, match["run"], match["language"]
        indent = len(match["indent"])
        self.text = "".join(line[indent:] if line.strip() else line for line in match["text"].splitlines(True))
        self.line = text[: match.start("text")].count("\n") + 1
        self.before = ""  # the YAML block before it

    def __repr__(self):
        return f"{self.file}:{self.line}"

    def commands(self):
        """[(command, the lines of its output)] of a console block."""
        found = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
        return found


def blocks(*languages):
    found = []
    for name in DOCUMENTS:
        text, before = (ROOT / name).read_text(), ""
        for match in FENCE.finditer(text):
            block = Block(name, match, text)
            block.before = before
            before = block.text if block.language == "yaml" else before
            if not languages or block.language in languages:
                found.append(block)
    return found


def each(*languages):
    return pytest.mark.parametrize("block", blocks(*languages), ids=repr)


# --- output -------------------------------------------------------------------------------------------------------------------


def plain(text):
    """The words, without what differs from run to run."""
    for pattern, by in ((r"\r", ""), (r"[▏▎▍▌▋▊▉█]+", " "), (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"), (r"\d{4}-\d\d-\d\d[T ]", "DATE "),
                        (r"\d\d:\d\d:\d\d(\.\d+)?", "TIME"), (r"(?<!within )\b\d+(\.\d+)?(us|ms|s)\b", "N"), (r"[#.~]{4,}", ""),
                        (r"\d+\.\d{3}(?= [*<>] )|(?<=rtt )[\d.]+ ms \(smoothed [\d.]+\)", "N"), (r"(?<=Sec-WebSocket-)(Key|Accept): \S+", r"\1"),
                        (r"\d+ of its last \d+ rounds", "N of its last N rounds"), (r"\S*/wshealthd-demo-\w+/", "DEMO/"),
                        (r"(?<=  )\S*/wshealthd (?=[a-z])", "wshealthd ")):
        text = re.sub(pattern, by, text)
    return text.split()


@pytest.fixture(scope="module")
def printed():
    """printed(block, text): the block must say this text; in a run that writes, the document gets it where it does not."""
    new = {}

    def say(block, text):
        if WRITE and plain(block.text) != plain(text):
            new[block.file, block.line] = text
        elif not WRITE:
            assert plain(block.text) == plain(text), f"{block}: the program says\n{text}"

    yield say
    for name in {file for file, _line in new}:
        text = (ROOT / name).read_text()

        def put(match, name=name, text=text):
            line = text[: match.start("text")].count("\n") + 1
            begin, end = match.start("text") - match.start(), match.end("text") - match.start()
            return match[0][:begin] + new.get((name, line), match["text"]) + match[0][end:]

        (ROOT / name).write_text(FENCE.sub(put, text))


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """shell(command, directory): what a terminal of 80 columns shows."""
    bin_directory = tmp_path_factory.mktemp("bin")
    (bin_directory / "wshealthd").symlink_to(RELEASE)

    def run(command, directory):
        env = environment(LC_ALL="C.UTF-8", COLUMNS="80", NO_COLOR="1", PATH=f"{bin_directory}:{os.environ['PATH']}")
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=env, check=False, cwd=directory).stdout

    return run


class Scene:
    """What runs beside a block: the ports of the document stand for real ones, by `ports`."""

    def __init__(self, **ports):
        self.ports = {name.strip("_"): str(port) for name, port in ports.items()}

    def real(self, text):
        return re.sub(r"(?<=:)\d{4}\b", lambda match: self.ports.get(match[0], match[0]), text)

    def shown(self, text):
        for name, port in self.ports.items():
            text = text.replace(f":{port}", f":{name}")
        return text


@contextlib.contextmanager
def scene_server(_fault, _block, _fixtures):
    """A server that is well."""
    with echo_server() as child:
        yield Scene(_8080=child.port)


@contextlib.contextmanager
def scene_stopped(_fault, _block, _fixtures):
    """The same, stopped: its kernel accepts connections, and nobody reads from them."""
    with echo_server() as child:
        child.send(signal.SIGSTOP)
        yield Scene(_8080=child.port)


@contextlib.contextmanager
def scene_agent(_fault, _block, fixtures):
    """The agent beside a server, as the block's command with & starts it."""
    with echo_server() as server, agent(f"target: {{ url: '{server.url}' }}\n", fixtures.directory) as child:
        child.wait_ready()
        yield Scene(_8080=server.port, _9717=child.port)


@contextlib.contextmanager
def scene_demo(fault, _block, fixtures):
    """`wshealthd demo`, with a fault on."""
    demo = fixtures.demo
    if fault:
        demo.type(fault)
        until("the fault is seen", lambda: not demo.get("/ready")[1].startswith("ready"))
    try:
        yield Scene(_9717=demo.port)
    finally:
        demo.type("clear")


@contextlib.contextmanager
def scene_socket_io(_fault, _block, fixtures):
    """A stock Socket.IO server with its Redis adapter."""
    for name in ("socket.io", "redis", "@socket.io/redis-adapter"):
        if not (MODULES / name).is_dir():
            pytest.skip(f"npm's {name} is missing (tests/tools/npm)")
    with redis(fixtures.tool, fixtures.directory) as broker:
        port = free_port()
        with process(fixtures.node(), SERVERS / "socketio_adapter.js", port, broker.port, port=port, env=environment(WSHEALTHD_MODULES=str(MODULES))):
            yield Scene(_3000=port, _6379=broker.port)


SCENES = {"server": scene_server, "stopped": scene_stopped, "agent": scene_agent, "demo": scene_demo, "socket.io": scene_socket_io}


class PrintedDemo(Demo):
    """A terminal of 80 columns, and the text that matters."""

    def __init__(self):
        super().__init__(RELEASE, env=environment(LC_ALL="C.UTF-8", COLUMNS="80", NO_COLOR="1"))

    def wait_well(self):
        until("all is well", lambda: self.get("/ready?verbose")[1].count("[+]") == 6, 90)


@pytest.fixture
def demo():
    """A demo of its own for each block, as its sentences remember what failed before."""
    running = PrintedDemo()
    try:
        running.wait_well()
        yield running
    finally:
        running.cleanup()


@pytest.fixture
def fixtures(request, tmp_path):
    class Fixtures:
        directory = tmp_path

        @property
        def demo(self):
            return request.getfixturevalue("demo")

        @property
        def tool(self):
            return request.getfixturevalue("tool")

        @staticmethod
        def node():
            return request.getfixturevalue("node")

    return Fixtures()


def settled(take, wanted):
    """The output of take() once it fits, or once PATIENCE is over; in a run that writes, after some rounds."""
    end = time.monotonic() + (5 if WRITE else PATIENCE)
    while True:
        text = take()
        if time.monotonic() > end or (not WRITE and plain(text) == plain(wanted)):
            return text
        time.sleep(0.3)


@each("console")
def test_output(block, fixtures, shell, printed):
    name, _, fault = (block.run or "").partition(" ")
    assert name in SCENES, f"{block}: a console block needs a line <!-- run: SCENE --> above it, with one of {', '.join(SCENES)}"
    said = []
    with SCENES[name](fault, block, fixtures) as scene:
        (fixtures.directory / "wshealthd.yaml").write_text(scene.real(block.before))
        previous = 0
        for command, wanted in block.commands():
            said.append(f"$ {command}\n")
            if command.endswith(" &"):
                continue  # the scene has started it
            if command == "echo $?":
                said.append(f"{previous}\n")
                continue

            def take(command=command):
                nonlocal previous
                out = shell(f"{scene.real(command)}\necho :$?", fixtures.directory)
                out, _, code = out.rpartition(":")
                previous = int(code)
                return scene.shown(out)

            said.append(settled(take, "\n".join(wanted)))
    printed(block, "\n".join("".join(said).rstrip().splitlines()) + "\n")


@each("text")
def test_the_demo_in_its_own_terminal(block, demo, printed):
    what, _, fault = (block.run or "").partition(" ")
    assert what in ("demo-start", "demo-log"), f"{block}: a text block needs a line <!-- run: demo-start --> or <!-- run: demo-log FAULT --> above it"
    if what == "demo-start":
        text = demo.child.out()[: demo.child.out().index("\n\n  refuse") + 1]
        text = re.sub(r"(?<=  )\S*/wshealthd (?=[a-z])", "wshealthd ", text.replace(f":{demo.port}", ":9717"))
        text = re.sub(r"(?<=ws://127\.0\.0\.1):\d+", ":8080", text)
        printed(block, re.sub(r"wshealthd-demo-\w+", "wshealthd-demo-XXXXXX", text))
        return
    # Which check is on its turn when a fault begins decides whether another cause is told first: the last one is the document's.
    for attempt in range(5):
        before = len(demo.child.out())
        demo.type(fault)
        until("it is told", lambda: re.search(r"ready -> .*\n", demo.child.out()[before:]))
        time.sleep(2)
        text = demo.child.out()[before:]
        demo.type("clear")
        demo.wait_well()
        if WRITE or plain(text) == plain(block.text):
            break
    printed(block, text)


# --- commands -----------------------------------------------------------------------------------------------------------------


@functools.cache
def commands():
    """{command: its help}."""
    overview = wshealthd("help")[1].split("Commands:\n")[1].split("\n\n")[0]
    return {name: wshealthd("help", name)[1] for name in re.findall(r"^  (\w+) ", overview, re.M)}


@functools.cache
def targets():
    return set(re.findall(r"\bmake ([a-z][a-z0-9]+)", subprocess.run(["make", "-s", "help"], capture_output=True, text=True, cwd=ROOT, check=True).stdout))


def spoken(name):
    """What a document tells people to type: lines of sh and console blocks, and `code` that begins with wshealthd or make."""
    text = (ROOT / name).read_text()
    for block in blocks("sh", "console"):
        if block.file == name:
            yield from (line.removeprefix("$ ") for line in block.text.splitlines() if block.language == "sh" or line.startswith("$ "))
    for block in blocks("ini", "yaml", "nagios", "icinga"):
        if block.file == name:
            yield from re.findall(r"/usr/bin/(wshealthd .*)", block.text)
            yield from (" ".join(re.findall(r"[\w-]+", words)) for words in re.findall(r'command = \[ "/usr/bin/(.*) \]', block.text))
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if re.match(r"(sudo )?(\w+=\S+ )*(wshealthd|make) ", code):
            yield code


def words_of(line):
    for part in re.split(r"\s(?:\||\|\||&&|;|>|&)(?:\s|$)|\s#\s", line):
        words = shlex.split(part, comments=False)
        while words and (words[0] == "sudo" or re.match(r"\w+=", words[0])):
            words = words[1:]
        if words:
            yield words


def wrong_command(words):
    """What is wrong with a command of wshealthd; None: nothing."""
    if len(words) > 1 and words[1] in commands():
        command, rest = words[1], words[2:]
    else:
        command, rest = "run", words[1:]
        if rest and not rest[0].startswith("-") and "://" not in rest[0]:
            return f"no command {rest[0]}"
        if rest == ["--version"]:
            return None
    page = commands()[command]
    for word in rest:
        flag = re.match(r"--?[a-z][a-z-]*", word)
        if flag and not re.search(rf"(?<![\w-]){re.escape(flag[0])}(?![\w-])", page):
            return f"{command} has no flag {flag[0]}"
    if command == "help" and rest and wshealthd("help", *rest)[0] != 0:
        return f"help knows nothing of {rest[0]}"
    if command == "config" and (not rest or not re.search(rf"[ |]{rest[0]}\b", page.split("Usage:")[1])):
        return "config takes another word"
    return None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist(name):
    for line in spoken(name):
        for words in words_of(line):
            program = os.path.basename(words[0])
            if program == "wshealthd":
                assert wrong_command(words) is None, f"{name}: {line}: {wrong_command(words)}"
            elif program == "make":
                for target in (word for word in words[1:] if re.fullmatch(r"[a-z][a-z0-9]*", word)):
                    assert target in targets() or re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"{name}: {line}: no target {target}"


def test_make_help_has_nothing_that_is_not_explained():
    text = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    missing = sorted(target for target in targets() if not re.search(rf"make (\w+=\S+ )*{target}\b", text))
    assert not missing, f"in `make help` only: {missing}"


# Words in code that no table of the program has: a hole of templates, what belongs to load balancers and monitors, and options of servers.
FOREIGN = {"payload_json", "hmac_sha256", "hmac_sha384", "hmac_sha512", "now_s", "session_token", "history_size", "history_ttl", "force_recovery", "unknown_session",
           "health_check_config", "port_value", "stream_idle_timeout", "healthy_panic_threshold", "grpc_health_check", "use_downstream_protocol_config", "explicit_http_config", "close_connections_on_host_health_failure",
           "use_backend", "reverse_proxy", "health_uri", "health_port", "health_status", "handle_errors", "stream_close_delay",
           "proxy_read_timeout", "auth_request", "error_page", "worker_shutdown_timeout", "health_check",
           "target_health_state", "connection_termination", "draining_interval_seconds", "proxy_protocol_v2", "only_passing", "runbook_url", "deregister_critical_service_after"}


@functools.cache
def known_words():
    """Every word_of_this_form in the program's own tables and in its schema, which also has what is not in this build."""
    tables = "".join(wshealthd("help", table)[1] for table in ("options", "reasons", "causes", "metrics", "checks", "brokers", "faults", "events"))
    return set(re.findall(r"[a-z]+(?:_[a-z0-9]+)+", tables + wshealthd("config", "schema")[1]))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.startswith(("README", "docs/"))])
def test_words_and_flags_exist(name):
    """`some_word` in code is a key, a reason, a cause, a series or an event; `--flag` is one of some command."""
    for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", (ROOT / name).read_text())):
        for word in [] if re.match(r"(\w+=\S+ )?(wshealthd|make|kill|sudo) |[\w.]+/", code) else re.findall(r"(?<![\w./])[a-z]+(?:_[a-z0-9]+)+", code):
            assert word in known_words() | FOREIGN, f"{name}: `{code}`: the program has no {word}"
        flag = re.match(r"--[a-z-]+", code)
        assert not flag or any(re.search(rf"{flag[0]}(?![\w-])", page) for page in commands().values()), f"{name}: no command has {flag[0]}"


# --- files of others ----------------------------------------------------------------------------------------------------------


TOP = set(json.loads(wshealthd("config", "schema")[1])["properties"])


def whole(text, directory):
    """A part of a configuration as a whole one, and secrets from files that exist."""
    (directory / "secret").write_text("secret\n")
    (directory / "secret-url").write_text("https://127.0.0.1/secret\n")
    text = re.sub(r'(?<=url: ")\$\{file:[^}]*\}(?=")', lambda _: f"${{file@{directory}/secret-url}}", text)
    text = re.sub(r"\$\{file:[^}]*\}", f"${{file:{directory}/secret}}", text).replace("${file@", "${file:")
    parts = yaml.safe_load(text)
    if "target" not in parts:
        text += "\ntarget: { url: ws://127.0.0.1:8080/ws }\n"
    elif "url" not in parts["target"]:
        text = text.replace("target: {", "target: { url: ws://127.0.0.1:8080/ws,").replace("target:\n", "target:\n  url: ws://127.0.0.1:8080/ws\n")
    if "brokers" not in parts and any(check["type"] == "delivery" for check in parts.get("checks", [])):
        text += "\nbrokers: [ { name: bus, url: redis://127.0.0.1:6379 } ]\n"
    return text


PATHS = ("/ready", "/live", "/startup", "/healthz", "/prestop", "/metrics")


def paths_asked(node):
    """Every path and port of a probe or a health check in it, whoever's."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("httpGet", "http_health_check", "healthCheck", "httpHealthCheck"):
                yield value.get("path") or value["requestPath"], value.get("port", 9717)
            elif key == "grpc_health_check":
                yield f"/{value.get('service_name', 'ready')}", 9717  # services are named as paths are, and have a port of their own
            elif key.endswith("healthcheck-path"):
                yield value, int(node[key.removesuffix("path") + "port"])
            elif key == "scrape_configs":
                for job in value:
                    for target in (target for group in job["static_configs"] for target in group["targets"]):
                        yield job.get("metrics_path", "/metrics"), int(target.rpartition(":")[2])
            else:
                yield from paths_asked(value)
    elif isinstance(node, list):
        for value in node:
            yield from paths_asked(value)


def series_asked(node):
    """Every series in a query of Prometheus's in it."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("query", "expr"):
                yield from re.findall(r"\bwshealthd_\w+", value)
            else:
                yield from series_asked(value)
    elif isinstance(node, list):
        for value in node:
            yield from series_asked(value)


def within(part, whole_one, where):
    """Each field of a document's example is in what it is an example of; items of a list are found by their names."""
    if isinstance(part, dict):
        for key, value in part.items():
            assert key in whole_one, f"{where}.{key}"
            within(value, whole_one[key], f"{where}.{key}")
    elif isinstance(part, list) and part and isinstance(part[0], dict):
        for item in part:
            fitting = [one for one in whole_one if one.get("name") == item["name"]]
            assert fitting, f"{where}: no {item['name']}"
            within(item, fitting[0], f"{where}.{item['name']}")
    else:
        assert part == whole_one, f"{where}: {part}, and there {whole_one}"


@each("helm")
def test_lines_of_a_chart(block):
    lines = iter((ROOT / block.run).read_text().splitlines())
    for line in block.text.splitlines():
        assert any(line.strip() == other.strip() for other in lines), f"{block}: {block.run} has no such line there: {line}"


@each("yaml")
def test_yaml(block, tmp_path):
    document = yaml.safe_load(block.text)
    assert isinstance(document, dict), block
    if block.run and (ROOT / block.run).is_dir():
        (tmp_path / "values.yaml").write_text(block.text)
        done = helm("template", "chat", ROOT / block.run, "--namespace", "shop", "-f", tmp_path / "values.yaml", check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"
        return
    if block.run:
        manifest = next(one for one in yaml.safe_load_all((ROOT / block.run).read_text()) if one["kind"] == "Deployment")
        within(document, manifest["spec"]["template"], str(block))
        return
    if not set(document) <= TOP:
        asked, series = list(paths_asked(document)), list(series_asked(document))
        assert asked or series or "wshealthd" in block.text.lower(), f"{block}: neither a configuration ({', '.join(sorted(set(document) - TOP))}) nor something that asks the agent"
        for path, port in asked:
            assert path.split("?")[0] in PATHS and port == 9717, (block, path, port)
        for name in series:
            assert re.search(rf"^  {name}[ {{]", wshealthd("help", "metrics")[1], re.M), f"{block}: the program has no {name}"
        return
    kinds = {broker.get("type") or broker["url"].split(":")[0] for broker in document.get("brokers", [])} & {"kafka", "mqtt"}
    for kind in kinds:
        if not re.search(rf"^  {kind} ", wshealthd("help", "brokers")[1], re.M):
            pytest.skip(f"this build has no broker of type {kind}")
    file = tmp_path / "wshealthd.yaml"
    file.write_text(whole(block.text, tmp_path))
    code, out, err = wshealthd("config", "check", file, NAME="name", REDIS_PASSWORD="secret")
    assert code == 0, f"{block}: {out}{err}"


@each("haproxy")
def test_haproxy(block, tool, tmp_path):
    file = tmp_path / "haproxy.cfg"
    backend = re.search(r"^backend (\S+)", block.text, re.M)[1]
    users = "" if "frontend " in block.text else f"frontend users\n    bind 127.0.0.1:8000\n    default_backend {backend}\n\n"
    file.write_text(f"defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\n{users}{block.text}")
    done = subprocess.run([tool("haproxy"), "-c", "-f", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


@each("nginx")
def test_nginx(block, tool, tmp_path):
    nginx = tool("nginx")
    file = tmp_path / "nginx.conf"
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if "nchan" in block.text and not module.exists():
        pytest.skip("libnginx-mod-nchan is missing")
    load = f"load_module {module};\n" if "nchan" in block.text else ""
    paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    file.write_text(f"{load}pid {tmp_path}/pid;\nevents {{}}\nhttp {{\naccess_log off; {paths}\n{block.text}\n}}\n")
    done = subprocess.run([*(own_state() if load else []), nginx, "-t", "-e", tmp_path / "error", "-p", tmp_path, "-c", file], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{block}: {done.stderr}"


@each("caddyfile")
def test_caddyfile(block, tool, tmp_path):
    (tmp_path / "Caddyfile").write_text(block.text)
    done = subprocess.run([tool("caddy"), "validate", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"], capture_output=True, text=True, timeout=30, check=False,
                          env=environment(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path)))
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


@each("hcl")
def test_consul(block):
    asked = re.findall(r"http://127\.0\.0\.1:9717([^\s\"?]+)", block.text)
    assert asked and set(asked) <= set(PATHS), (block, asked)


@each("json")
def test_json(block):
    assert json.loads(f"{{{block.text}}}"), block


@each("ini")
def test_systemd(block, tool, tmp_path):
    """A drop-in of a unit of its own."""
    unit = tmp_path / "chat.service"
    unit.write_text("[Service]\nExecStart=/bin/sleep 1\n\n" + block.text.replace("/usr/bin/wshealthd", BINARY))
    done = subprocess.run([tool("systemd-analyze"), "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "chat.service" not in done.stderr, f"{block}: {done.stderr}"


@each("c")
def test_samples_compile(block, tmp_path):
    """With the warnings of the build, which are errors."""
    compiler = shlex.split((BUILD / "flags").read_text())
    source = tmp_path / "sample.c"
    source.write_text(block.text)
    done = subprocess.run([*compiler, "-fsyntax-only", source], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{block}: {done.stderr}"



# --- the documents themselves -------------------------------------------------------------------------------------------------


# Who runs the sh blocks of a document.
RUN = {"README.md": "tools/fresh", "docs/fleet.md": "e2e/test_fleet_commands.py", "docs/kubernetes.md": "e2e/test_helm.py", "docs/load-balancers.md": "e2e/test_load_balancers.py", "docs/systemd.md": "e2e/test_systemd_docs.py"}


@each("sh")
def test_every_line_of_a_shell_is_run_somewhere(block):
    assert block.file in RUN and (ROOT / "tests" / RUN[block.file]).exists(), f"{block}: no test runs the sh blocks of this document: write a console block, or one"


def test_every_block_has_a_rule():
    for block in blocks():
        assert block.language in LANGUAGES, f"{block}: want one of {', '.join(LANGUAGES)}, not '{block.language}'"


def anchors(text):
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    yield from re.findall(r'<a id="([^"]+)">', text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = FENCE.sub("", (ROOT / name).read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{name}: {link}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name):
    """`a/b.c`, `b.c` and `a/b` in code, where a word in capitals stands for a name of the reader's."""
    sources = [path.relative_to(ROOT).as_posix() for top in ("agent", "probes", "brokers", "tests", "docs", "helm", "monitoring") for path in (ROOT / top).rglob("*.*")]
    for code in re.findall(r"`([^`\s]+)`", FENCE.sub("", (ROOT / name).read_text())):
        if re.search(r"[A-Z]{3}|[*{$]|://", code):
            continue
        if re.fullmatch(r"[\w./-]+\.(c|h|py)", code):
            assert any(source == code or source.endswith("/" + code) for source in sources), f"{name}: {code} is not in the tree"
        elif re.match(r"(agent|probes|brokers|tests|docs|helm|monitoring|systemd|\.ci)/", code):
            assert (ROOT / code).exists(), f"{name}: {code} is not in the tree"
