"""Completion in real shells: zsh as a person types in a terminal, fish by its own command."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from program import PROGRAM, environment

LINES = {
    "xstilts resc": "rescore",
    "xstilts run demo --track wan": "run demo --track wandb",
    "xstilts tasks show mini-xent": "tasks show mini-xentities",
    "xstilts run demo see": "run demo seeds=",
    "xstilts plan min": "plan mine.py",
}
SECONDS = 120


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """A folder with the program and a study file, and an environment whose shells find the program."""
    path = tmp_path / "bin" / "xstilts"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{PROGRAM[2]}\n")
    path.chmod(0o755)
    (tmp_path / "mine.py").touch()
    found = environment() | {"HOME": str(tmp_path), "TERM": "dumb", "XSTILTS_CACHE": str(tmp_path / "cache")}
    return found | {
        "PATH": f"{path.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
def test_fish_itself_completes(program: dict[str, str], tmp_path: Path) -> None:
    asked = "; ".join(f"echo (complete -C '{line}' | string split -f 1 \\t)" for line in LINES)
    script = f"env _XSTILTS_COMPLETE=source_fish xstilts | source; {asked}"
    done = subprocess.run(
        ["fish", "-N", "-c", script], cwd=tmp_path, env=program, capture_output=True, text=True, check=False
    )
    last = [line.split()[-1] for line in LINES.values()]
    assert done.stdout.splitlines() == [*last[:3], "seeds= seeds=0,1", last[4]], done


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not here")
def test_zsh_itself_completes(program: dict[str, str], tmp_path: Path) -> None:
    setup = 'autoload -Uz compinit; compinit -u -D; eval "$(_XSTILTS_COMPLETE=source_zsh xstilts)"'
    typed = [f'{setup}; xstilts() {{ echo "GOT:${{(j: :)@}}:" }}', *(f"{line}\t" for line in LINES), "exit"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], program)
    os.write(terminal, "".join(f"{line}\n" for line in typed).encode())
    shown, end = b"", time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 1.0)[0]:
                shown += os.read(terminal, 4096)
    except OSError:  # zsh has ended
        pass
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    got = [
        line.strip().removeprefix("GOT:").rstrip(":").strip() for line in shown.decode().splitlines() if "GOT:" in line
    ]
    assert [line for line in got if "echo" not in line] == list(LINES.values()), shown.decode()
