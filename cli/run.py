"""Running a profile: what `agent.py` does without a command."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import err, out
from cli.options import MAX_SEED, Overrides, Plugins, load
from core.errors import UserError

if TYPE_CHECKING:
    from agent.session import Result
    from agent.statistics import RunStatistics

HELP = (
    "Watch a game's screen, find targets with YOLO, move the mouse, and measure all of it.\n\n"
    "--profile doom.yaml plays Doom, unseen: the game comes with the package.\n\n"
    "--profile footage.yaml --footage VIDEO detects on a recording.\n\n"
    "--profile desktop.yaml looks at the middle of your screen, and moves nothing.\n\n"
    "A run ends at Ctrl-C, at the end of the footage, or when --duration or --episodes is reached. It prints how "
    "many frames it saw, how long each stage took, and what it did.\n\n"
    "Reticle is for games you run yourself, offline. Nothing on the desktop moves without --live, an arm key held "
    "and every guard content."
)


def run(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", help="The profile: a path, or a name in profiles/.", metavar="NAME_OR_PATH"),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Really move the mouse. Without it nothing on the desktop moves.")
    ] = False,
    footage: Annotated[
        Path | None,
        typer.Option(help="Play this video or folder of images instead of capturing; acts dry, in lock-step."),
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Stop after so many episodes of the game.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="Seed the game with this.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, max=1e9, help="Stop after so many seconds.")] = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="OUT.json", help="Write the final tables as JSON.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window with boxes, target and crosshair.")] = False,
    overlay: Annotated[
        Path | None, typer.Option(metavar="OUT.mp4", help="Write a video with boxes, target and crosshair.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record all that was seen and decided; --footage DIR replays it."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Perfetto trace of the threads and stages (extra trace)."),
    ] = None,
    rerun: Annotated[
        Path | None,
        typer.Option(metavar="FILE.rrd", help="Write frames, boxes, aim error and times for Rerun's viewer."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Run a profile. See HELP."""
    if version:
        from core.version import __version__

        out.print(f"reticle {__version__}")
        return
    if context.invoked_subcommand is not None:
        _refuse_options_of_a_run(context, context.invoked_subcommand)
        return
    if profile is None:
        raise UserError("give a profile to run (--profile doom.yaml), or a command; --help lists them")
    if duration is not None and not math.isfinite(duration):
        raise UserError("--duration must be a number of seconds")
    from agent.plan import Options
    from agent.report import as_json
    from agent.session import play
    from cli.output import announce, save
    from cli.run_report import as_text, show_report
    from core.files import check_writable

    for path in (report_file, overlay, trace, rerun):
        check_writable(path)
    loaded = load(profile, plugin, overrides)
    if report_file is not None and report_file.resolve() == loaded.path.resolve():
        raise UserError(f"--report {report_file} would overwrite the profile; name another file")
    if live:
        for guard in loaded.roles.guards:
            if guard.factory.live_only:
                settings = ", ".join(f"{key}: {value}" for key, value in guard.settings.model_dump().items())
                err.print(f"live: {guard.name}: {settings}", markup=False, soft_wrap=True)
    options = Options(live, footage, episodes, seed, duration, show, overlay, record, trace, rerun)
    result = play(loaded, options, _watch)
    report = as_json(result)
    if report_file is not None:  # before the tables: whoever reads those may go away
        save(report_file, as_text(report), "report")
    show_report(report, out)
    for what, output in (("overlay", overlay), ("recording", record), ("trace", trace), ("rerun", rerun)):
        if output is not None and output.exists():
            announce(what, output)
    leave(result)


def leave(result: Result) -> None:
    """End a run's command as the run did, once all of it is said: by its error, or with its signal's status.

    What an observer failed at has been said when it did; that it is no success is for the status to say.
    """
    if result.error is not None:
        raise result.error
    if result.failures and not result.signal:
        raise SystemExit(2)
    if result.signal:
        raise SystemExit(128 + result.signal)


def _refuse_options_of_a_run(context: typer.Context, command: str) -> None:
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise UserError(f"{parameter.opts[0]} belongs to a run, and {command} is a command of its own")


class _Going:
    """One line that says how far a run is, made anew each time it is drawn."""

    def __init__(self, statistics: RunStatistics) -> None:
        self._statistics = statistics

    def __rich__(self) -> str:
        statistics = self._statistics
        seconds = (time.perf_counter_ns() - statistics.started_ns) / 1e9 if statistics.started_ns else 0.0
        rate = statistics.frames / seconds if seconds else 0.0
        found = statistics.detections
        return f"{statistics.frames} frames, {rate:.0f} a second, {found} detections; Ctrl-C ends the run"


def _watch(statistics: RunStatistics) -> Any:
    if err.is_terminal:
        from rich.live import Live

        return Live(_Going(statistics), console=err.console, transient=True, refresh_per_second=4)
    return _PlainLines(statistics)


class _PlainLines:
    """The same line without a terminal, every ten seconds."""

    def __init__(self, statistics: RunStatistics) -> None:
        import threading

        self._going = _Going(statistics)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._print, name="progress", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join(1.0)

    def _print(self) -> None:
        from cli.console import LINE_EVERY_S

        while not self._end.wait(LINE_EVERY_S):
            err.print(self._going.__rich__(), markup=False, soft_wrap=True)
