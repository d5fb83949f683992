"""Where an agent is reached: the default admin socket of root and of a user, --listen, --admin and their variables, and commands that look
in the same places."""
import contextlib
import os
import pathlib
import shutil
import socket
import tempfile

import pytest

from harness import RELEASE, Process, connects, environment, free_port, until

NOBODY = 65534
TARGET = "target: { url: 'ws://127.0.0.1:1/' }\nchecks: [{ name: handshake, type: handshake, gates: [] }]\n"
CLEAN = ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "WSHEALTHD_ADMIN", "WSHEALTHD_LISTEN")


@pytest.fixture
def place():
    """A directory that every user may enter, with the program in it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="wshealthd-test-"))
    path.chmod(0o755)
    shutil.copy(RELEASE, path / "wshealthd")
    yield path
    shutil.rmtree(path)


def settings(**more):
    env = {k: v for k, v in environment().items() if k not in CLEAN}
    return {**env, **{k: str(v) for k, v in more.items()}}


@contextlib.contextmanager
def running(place, env, *flags, prefix=(), file=True):
    port = free_port()
    (place / "w.yaml").write_text(f"listen: 127.0.0.1:{port}\n{TARGET}")
    child = Process([*prefix, place / "wshealthd", "run", *(["-c", place / "w.yaml"] if file else ["ws://127.0.0.1:1/"]), *flags],
                    place, env=env)
    try:
        wanted = next((int(f.rsplit(":", 1)[1]) for f in flags if f.startswith("127.0.0.1:")), port)
        until(f"the health port answers: {child.err()}", lambda: connects(wanted))
        yield child
        assert child.end() == 0, child.err()
    finally:
        child.cleanup()


def ask(place, env, *args, prefix=()):
    done = Process([*prefix, place / "wshealthd", *args], place, env=env)
    try:
        return done.child.wait(20), done.out(), done.err()
    finally:
        done.cleanup()


def user(place):
    """What a command is prefixed with to be another user's, and a directory of that user's."""
    if os.geteuid() != 0:
        pytest.skip("another user needs root")
    (place / "mine").mkdir(mode=0o700)
    os.chown(place / "mine", NOBODY, NOBODY)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"], place / "mine"


def test_the_directory_of_the_unit(place):
    directory = place / "unit"
    directory.mkdir()
    env = settings(RUNTIME_DIRECTORY=directory)
    with running(place, env) as child:
        assert (directory / "admin.sock").is_socket() and "admin_off" not in child.err()
        code, out, err = ask(place, env, "status")
        assert code in (0, 1, 2) and "handshake" in out, err


def test_a_user_runs_it_from_a_file(place):
    """The directory in /run is not theirs to make."""
    prefix, mine = user(place)
    if os.path.exists("/run/wshealthd/admin.sock"):
        pytest.skip("an agent of this machine has the default socket")
    env = settings(XDG_RUNTIME_DIR=mine)
    with running(place, env, prefix=prefix) as child:
        assert (mine / "wshealthd" / "admin.sock").is_socket(), child.err()
        code, out, err = ask(place, env, "status", prefix=prefix)
        assert code in (0, 1, 2) and "handshake" in out, err
        assert ask(place, env, "wait", "--timeout", "5s", prefix=prefix)[0] == 0


def test_a_user_without_any_directory_still_gets_an_agent(place):
    prefix, _ = user(place)
    with running(place, settings(), prefix=prefix) as child:
        lines = [line for line in child.err().splitlines() if "event=admin_off" in line]
        assert len(lines) == 1 and "level=info" in lines[0], child.err()


def test_the_agent_of_another_user(place):
    prefix, _ = user(place)
    directory = place / "unit"
    directory.mkdir(mode=0o750)
    env = settings(RUNTIME_DIRECTORY=directory)
    with running(place, env):
        code, _, err = ask(place, env, "status", prefix=prefix)
        assert code == 3 and "permission denied" in err and "sudo" in err, err


def test_no_agent_at_all(place):
    if os.path.exists("/run/wshealthd/admin.sock"):
        pytest.skip("an agent of this machine has the default socket")
    code, _, err = ask(place, settings(RUNTIME_DIRECTORY=place), "status")
    assert code == 3 and f"no agent answers on {place}/admin.sock" in err and "--admin" in err, err


def test_what_is_said_without_an_agent(place):
    """Where it looked, why that failed, and what to do."""
    env = settings(RUNTIME_DIRECTORY=place, XDG_RUNTIME_DIR=place / "user")
    _, _, err = ask(place, env, "status")
    assert f"looked also at:    {place}/user/wshealthd/admin.sock: no such socket" in err and "to start one:" in err, err
    stale = place / "stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
        sock.listen()
    code, _, err = ask(place, env, "status", "--admin", f"unix:{stale}")
    assert code == 3 and "connection refused" in err and "is gone" in err, err
    (place / "off.yaml").write_text('admin: off\ntarget: { url: "ws://127.0.0.1:1/" }\n')
    code, _, err = ask(place, env, "status", "-c", place / "off.yaml")
    assert code == 3 and "admin is off" in err and "/status" in err, err
    for one in (("--admin", "off"), ()):
        code, _, err = ask(place, {**env, "WSHEALTHD_ADMIN": "off"}, "status", *one)
        assert code == 3 and "is off: there is no socket to ask through" in err, err


def test_flags_go_before_variables_and_these_before_the_file(place):
    """Commands look where `run` was told to be."""
    flag, variable = free_port(), free_port()
    env = settings(RUNTIME_DIRECTORY=place, WSHEALTHD_LISTEN=f"127.0.0.1:{variable}", WSHEALTHD_ADMIN=f"unix:{place}/variable.sock")
    with running(place, env, "--listen", f"127.0.0.1:{flag}"):
        assert not connects(variable)
        assert (place / "variable.sock").is_socket() and not (place / "admin.sock").exists()
        assert ask(place, env, "status", "-c", place / "w.yaml")[0] in (0, 1, 2)
        assert ask(place, env, "reload")[0] == 0
        assert connects(flag) and ask(place, env, "status")[0] in (0, 1, 2), "they hold after a reload too"
    with running(place, env, "--listen", f"127.0.0.1:{flag}", "--admin", f"unix:{place}/flag.sock"):
        assert (place / "flag.sock").is_socket() and not (place / "variable.sock").exists()


def test_a_wrong_address_is_named(place):
    code, _, err = ask(place, settings(), "run", "-c", place / "none.yaml", "--listen", "nonsense")
    assert code == 3
    (place / "w.yaml").write_text(TARGET)
    code, _, err = ask(place, settings(), "run", "-c", place / "w.yaml", "--listen", "nonsense")
    assert code == 3 and "listen" in err, err
    code, _, err = ask(place, settings(), "run", "-c", place / "w.yaml", "--admin", "tcp:1")
    assert code == 3 and "want unix:/path, auto or off" in err, err
