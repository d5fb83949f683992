"""Completion of the three shells, asked as a user's Tab asks it."""
import os
import pty
import select
import shutil
import subprocess

import pytest

from harness import PATIENCE, wshealthd

BASH = """
source /dev/stdin <<<"$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_wshealthd
printf '%s\\n' "${COMPREPLY[@]}"
"""


WORDS = [
    (("wshealthd", "dr"), {"drain"}),
    (("wshealthd", "check", "--type", "hand"), {"handshake"}),
    (("wshealthd", "check", "--dialect", "socket"), {"socket.io"}),
    (("wshealthd", "demo", "--fault", "silent"), {"silent-drop"}),
    (("wshealthd", "wait", "--for", "st"), {"startup"}),
    (("wshealthd", "explain", "server_hu"), {"server_hung"}),
    (("wshealthd", "help", "metr"), {"metrics"}),
    (("wshealthd", "config", "sch"), {"schema"}),
    (("wshealthd", "check", "--ca", "a-fi"), {"a-file.pem"}),
    (("wshealthd", "config", "check", "a-fi"), {"a-file.pem"}),
    (("wshealthd", "status", "--js"), {"--json"}),
]


def script_for(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    code, script, err = wshealthd("completion", shell)
    assert code == 0, err
    return script


def complete(shell, cwd, *words):
    """What the shell offers for the last word."""
    script = script_for(shell)
    command = ["bash", "-c", BASH, "bash", script, *words]
    if shell == "fish":
        (cwd / "completion.fish").write_text(script)
        command = ["fish", "--no-config", "-c", f"source completion.fish; complete -C'{' '.join(words)}'"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr, done.stderr
    return {line.split("\t")[0] for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_shell_takes_the_script(shell, tmp_path):
    (tmp_path / "script").write_text(script_for(shell))
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize("words, some", [*WORDS, (("wshealthd", "check", "--http", ""), {"1.1", "2", "both"})])
def test_words_of_commands_flags_and_values(shell, tmp_path, words, some):
    (tmp_path / "a-file.pem").write_text("")
    offered = complete(shell, tmp_path, *words)
    assert some <= offered and all(word.startswith(words[-1]) for word in offered), offered


def test_zsh_completes_in_a_terminal(tmp_path):
    """Tab, then the line is printed instead of run."""
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "_wshealthd").write_text(script_for("zsh"))
    (tmp_path / "a-file.pem").write_text("")
    typed = ["PS1= RPS1=; unsetopt zle_bracketed_paste; fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D\n"]
    typed += [f"{' '.join(words)}\t\x01print -r -- said \n" for words, _some in WORDS]
    leader, follower = pty.openpty()
    with subprocess.Popen(["zsh", "-f", "-i"], cwd=tmp_path, stdin=follower, stdout=follower, stderr=subprocess.STDOUT,
                          env={**os.environ, "TERM": "dumb", "HOME": str(tmp_path)}, start_new_session=True) as shell:
        os.close(follower)
        os.write(leader, "".join([*typed, "print the-end; exit\n"]).encode())
        said = b""
        while select.select([leader], [], [], PATIENCE)[0]:
            try:
                some = os.read(leader, 65536)
            except OSError:  # the shell has gone
                break
            said += some
        shell.kill()
    os.close(leader)
    lines = {line.strip() for line in said.decode(errors="replace").replace("\r", "\n").split("\n")}
    for words, some in WORDS:
        want = "said " + " ".join([*words[:-1], *some])
        assert want in lines, (want, said.decode(errors="replace"))
