"""The application: its commands by groups, and how one ends."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import threading
import time
from typing import Any, NoReturn

import typer
import typer.core

from cli import (
    arena,
    bench,
    calibrate,
    check,
    collect,
    convert,
    demo_window,
    detect,
    doctor,
    evaluate,
    fetch,
    game,
    latency,
    leaderboard,
    migrate,
    new,
    plan,
    plugins,
    replay,
    report,
    run,
    train,
)
from cli.console import err, log_to_console
from core.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "RETICLE_DEBUG"
"""Where it is set, an error's traceback is printed before its sentence."""


class GroupedCommands(typer.core.TyperGroup):
    """Lists the commands of `--help` by groups, without rich, which takes as long to import as all the rest."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group's commands with the first sentence of their help."""
        for group, commands in GROUPS.items():
            rows = [(_name(command), _summary(command.__doc__)) for command in commands]
            with formatter.section(group):
                formatter.write_dl(rows)
        with formatter.section("Extend"):
            formatter.write_dl([("new plugin", "Write a plugin that works, its test, and a pyproject.toml.")])


def _name(command: Any) -> str:
    return str(command.__name__.replace("_", "-"))


def _summary(doc: str | None) -> str:
    """Return the first sentence of a command's help."""
    return " ".join((doc or "").strip().split("\n\n")[0].split()).split(". ")[0].rstrip(".") + "."


GROUPS: dict[str, tuple[Any, ...]] = {
    "Run": (check.check, plugins.plugins, migrate.migrate, replay.replay, latency.latency, report.report),
    "Play and score": (arena.arena, leaderboard.leaderboard, game.game, demo_window.demo_window, calibrate.calibrate),
    "Models": (
        detect.detect,
        fetch.fetch,
        convert.convert,
        evaluate.evaluate,
        bench.bench,
        doctor.doctor,
        plan.plan,
    ),
    "Data and training": (collect.collect, train.train),
}
"""The commands, as `--help` groups them."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    cls=GroupedCommands,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True, help=run.HELP)(run.run)
for _command in (command for commands in GROUPS.values() for command in commands):
    app.command()(_command)
app.add_typer(new.app, name="new")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can put right ends in one sentence and status 2."""
    log_to_console()
    try:
        app(args=arguments, prog_name="agent.py")
    except UserError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        err.print("interrupted")
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if not error.filename:
            raise
        _refuse(f"{error.filename}: {error.strerror}")


def _refuse(sentence: str) -> NoReturn:
    """End with what the user can put right, called where the exception is at hand."""
    if os.environ.get(DEBUG_VARIABLE):
        err.console.print_exception()
    err.print(sentence, style="red", markup=False, soft_wrap=True)
    raise SystemExit(EXIT_USER_ERROR) from None


LEAKED_S = 2.0


def entry() -> None:
    """Run the command line as a process of its own; a thread that a plugin left behind does not keep the process."""
    status: Any = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a code page that lacks a character shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except SystemExit as end:
        status = end.code
    until = time.monotonic() + LEAKED_S
    left = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in left:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in left):
        names = ", ".join(thread.name for thread in left if thread.is_alive())
        err.print(f"left running, and ended with the process: the threads {names}", markup=False, soft_wrap=True)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else 1 if status else 0)
    raise SystemExit(status)
