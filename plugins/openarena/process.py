"""The game's process: in a folder of its own, without a network, told what to do on its standard input."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import UserError
from core.workers import shielded
from plugins.desktop.lifeline import GameLifeline
from plugins.openarena.installation import GAME, Installation

TITLE = "ioquake3"
"""What its window is called."""
END_S = 3.0
POLL_S = 0.02
ONCE = (
    "com_standalone 0", "com_basegame baseoa", "com_legacyprotocol 71", "com_protocol 71", "net_enabled 0",
    "sv_pure 0", "com_introplayed 1", "s_initsound 0", "cl_motd 0",
)  # fmt: skip
"""What must be known before a configuration is read: only some 32 arguments survive, so there are few.

Without a network nothing listens, and no port can be taken: the game plays with its own server inside the process.
"""


class Process:
    """A running game.

    :param folder: its home, which is its own.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._told = 0
        self.folder = folder / GAME

    @property
    def log(self) -> Path:
        """Where it writes who killed whom."""
        return self.folder / "games.log"

    def say(self, *commands: str) -> None:
        """Give commands, as its console takes them.

        :raises UserError: the game has ended.
        """
        assert self._process.stdin is not None
        # It reads 256 bytes at a time and drops the last of each: what is longer goes by a file.
        self._told += 1
        name = f"told{self._told}.cfg"
        (self.folder / name).write_text("".join(f"{command}\n" for command in commands), encoding="ascii")
        try:
            self._process.stdin.write(f"exec {name}\n".encode("ascii"))
            self._process.stdin.flush()
        except OSError:
            raise self.ended() from None

    def check(self) -> None:
        """See that it runs.

        :raises UserError: it has ended.
        """
        if self._process.poll() is not None:
            raise self.ended()

    def wait(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait until something is so.

        :param what: for the message.
        :raises UserError: it took too long, or the game ended.
        """
        until = time.monotonic() + limit_s
        while not done():
            self.check()
            if time.monotonic() > until:
                raise UserError(f"OpenArena did not {what} within {limit_s:.0f} s{self._last_words()}")
            time.sleep(POLL_S)

    def end_of_it(self, limit_s: float) -> None:
        """Wait until it ends by itself.

        :raises UserError: it does not.
        """
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise UserError(f"OpenArena did not end within {limit_s:.0f} s{self._last_words()}") from None

    def ended(self) -> UserError:
        """Return what to say when it has ended unasked."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return UserError(f"OpenArena ended by itself{self._last_words()}")

    def _last_words(self) -> str:
        """Return the error that it wrote last, or its last line."""
        try:
            said = (self.folder.parent / "said").read_text("latin-1").splitlines()
        except OSError:
            return ""
        said = [line.strip() for line in said if line.strip(" -^0123456789*")]
        wrong = [line for line in said if re.search(r"\b(ERROR|[Ee]rror:|[Cc]ouldn't|[Cc]an't)", line)]
        words = (wrong or said)[-1:]
        return f': it said "{words[0][:200]}"' if words else ""


@contextlib.contextmanager
def running(
    installation: Installation, configuration: str, *arguments: str, files: dict[str, Path | str] | None = None
) -> Iterator[Process]:
    """Start the game, yield it, and end it, its process group and its folder whatever happens.

    :param configuration: read when it starts.
    :param arguments: of its command line, beside those that every game has.
    :param files: what to put into its folder: a text, or a file to copy.
    :raises UserError: it cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="reticle-openarena-") as name, contextlib.ExitStack() as stack:
        home = Path(name)
        (home / GAME).mkdir()
        (home / GAME / "autoexec.cfg").write_text(configuration, encoding="ascii")
        for path, content in (files or {}).items():
            if isinstance(content, str):
                (home / GAME / path).write_text(content, encoding="ascii")
            else:
                shutil.copyfile(content, home / GAME / path)
        lifeline = GameLifeline(home)
        stack.callback(lifeline.close)
        first = [part for value in ONCE for part in ("+set", *value.split())]
        paths = ["+set", "fs_basepath", str(installation.folder), "+set", "fs_homepath", str(home)]
        environment = {
            **os.environ,
            **lifeline.variables,
            "HOME": str(home),
            "SDL_AUDIODRIVER": "dummy",
            "MESA_SHADER_CACHE_DISABLE": "true",
            # Without a graphics card Mesa draws on every core; the agent needs one.
            "LP_NUM_THREADS": os.environ.get("LP_NUM_THREADS", "1"),
        }
        said = stack.enter_context((home / "said").open("wb"))
        try:
            with shielded():
                process = subprocess.Popen(
                    [str(installation.engine), *first, *paths, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    cwd=home,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise UserError(f"{installation.engine}: the game cannot be started ({error.strerror})") from error
        stack.callback(_end, process)
        yield Process(process, home)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a game; one that is busy loading does not listen."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.write(b"quit\n")
            process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
