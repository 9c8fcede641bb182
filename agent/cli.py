"""The command line: running a profile, checking one, listing plugins. `cli_models` has the commands on models."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from agent import __version__, cli_arena, cli_models, cli_recordings, cli_training, cli_window, report
from agent.cli_console import JsonOption, PluginOption, check_writable, err, leave, out, plain_context
from agent.discovery import Catalogue, discover
from agent.errors import UserError
from agent.files import write_atomically
from agent.hookspecs import ROLES, Context
from agent.loop import Tally
from agent.profile import MAX_SEED, LoadedProfile, find_profile, load_profile
from agent.session import Options, check_all, play

EXIT_USER_ERROR = 2

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", "-p", help="The profile: a path, or a name in profiles/.", metavar="NAME_OR_PATH"),
]


HELP = (
    "Watch a game's screen, find targets with YOLO, move the mouse, and measure all of it.\n\n"
    "[bold]--profile doom.yaml[/] plays Doom, unseen: the game comes with the package.\n\n"
    "[bold]--profile footage.yaml --footage VIDEO[/] detects on a recording.\n\n"
    "[bold]--profile desktop.yaml[/] looks at the middle of your screen, and moves nothing.\n\n"
    "A run ends at Ctrl-C, at the end of the footage, or when --duration or --episodes is reached. It prints how "
    "many frames it saw, how long each stage took, and what it did.\n\n"
    "Reticle is for games you run yourself, offline. Nothing on the desktop moves without --live, an arm key held "
    "and every guard content."
)


@app.callback(invoke_without_command=True, help=HELP)
def run(
    context: typer.Context,
    profile: ProfileOption = None,
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
    plugin: PluginOption = None,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="OUT.json", help="Write the final tables as JSON.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window with boxes, target and crosshair.")] = False,
    overlay: Annotated[
        Path | None, typer.Option(metavar="OUT.mp4", help="Write a video with boxes, target and crosshair.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep all that was seen and decided; --footage DIR replays it."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Perfetto trace of the threads and stages."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Run a profile. See HELP."""
    if version:
        out.print(f"reticle {__version__}")
        return
    if context.invoked_subcommand is not None:
        for parameter in context.command.params:
            source = context.get_parameter_source(parameter.name or "")
            if source is not None and source.name == "COMMANDLINE":
                name = context.invoked_subcommand
                raise UserError(f"{parameter.opts[0]} belongs to a run, and {name} is a command of its own")
        return
    if profile is None:
        raise UserError("give a profile to run (--profile doom.yaml), or a command; --help lists them")
    if duration is not None and not math.isfinite(duration):
        raise UserError("--duration must be a number of seconds")
    check_writable(report_file)
    check_writable(overlay)
    check_writable(trace)
    loaded = load_profile(find_profile(profile), plugin or [])
    if report_file is not None and report_file.resolve() == loaded.path.resolve():
        raise UserError(f"--report {report_file} would overwrite the profile; name another file")
    if live:
        for guard in loaded.guards:
            if guard.maker.live_only:
                err.print(f"live: {guard.maker.name}: {guard.settings!r}", soft_wrap=True)
    result = play(
        loaded,
        Options(
            live=live,
            footage=footage,
            episodes=episodes,
            seed=seed,
            duration_s=duration,
            show=show,
            overlay=overlay,
            record=record,
            trace=trace,
        ),
        _watch,
    )
    if report_file is not None:  # before the tables: whoever reads those may go away
        report.write(result, report_file)
    report.show(result, out)
    if report_file is not None:
        out.print(f"report: {report_file}", style="dim", soft_wrap=True)
    leave(result)


@app.command()
def check(
    profile: Annotated[str, typer.Argument(help="A path, or a name in profiles/.")],
    plugin: PluginOption = None,
) -> None:
    """Validate a profile and the settings of its plugins, and see that the files it names are there."""
    loaded = load_profile(find_profile(profile), plugin or [])
    choices = [loaded.capture, loaded.detector, loaded.selection, loaded.actuation]
    check_all([*choices, *loaded.guards, *loaded.observers], _context(loaded))
    names = ", ".join(choice.maker.name for choice in choices)
    out.print(f"{loaded.path}: a valid profile ({loaded.profile.mode}: {names})", soft_wrap=True)


@app.command()
def plugins(plugin: PluginOption = None, json_file: JsonOption = None) -> None:
    """List what is installed: each role's plugins, where they come from, and their settings."""
    rows = list(_plugin_rows(discover(plugin or [])))
    if json_file is not None:
        write_atomically(json_file, json.dumps(rows, indent=2) + "\n")
    for role in ROLES:
        table = Table(role, "from", "what it is", "settings", title_justify="left")
        for row in (r for r in rows if r["role"] == role):
            settings = "\n".join(f"{s['name']} = {s['default']}" for s in row["settings"])
            table.add_row(row["name"], row["source"], row["summary"], escape(settings))
        out.print(table)


for module in (cli_models, cli_training, cli_arena, cli_window, cli_recordings):
    for command in module.COMMANDS:
        app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can put right ends in one sentence and status 2."""
    from engine.errors import ModelError

    try:
        app(args=arguments, prog_name="agent.py")
    except (UserError, ModelError) as error:
        err.print(str(error), style="red", markup=False, soft_wrap=True)
        _exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        err.print("interrupted")
        _exit(130)
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(1)


def _exit(status: int) -> None:
    raise SystemExit(status)


class _Going:
    """One line that says how far a run is, made anew each time it is drawn."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __rich__(self) -> str:
        tally = self._tally
        seconds = (time.perf_counter_ns() - tally.started_ns) / 1e9 if tally.started_ns else 0.0
        rate = tally.frames / seconds if seconds else 0.0
        return f"{tally.frames} frames, {rate:.0f} a second, {tally.detections} detections; Ctrl-C ends the run"


def _watch(tally: Tally) -> Live:
    return Live(_Going(tally), console=err, transient=True, refresh_per_second=4)


def _context(loaded: LoadedProfile) -> Context:
    return plain_context(loaded.path.resolve().parent)


def _plugin_rows(catalogue: Catalogue) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for role in ROLES:
        for offer in catalogue.offers[role].values():
            fields = offer.maker.settings.model_fields
            rows.append(
                {
                    "role": role,
                    "name": offer.maker.name,
                    "source": offer.source,
                    "summary": offer.maker.summary,
                    "settings": [
                        {
                            "name": name,
                            "default": "required" if field.is_required() else _plain(field.default),
                            "description": field.description or "",
                        }
                        for name, field in fields.items()
                    ],
                }
            )
    return rows


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
