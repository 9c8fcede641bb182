"""The commands on a game in its window: game, demo-window, calibrate.

They reach evaluation, and that when called.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent import report
from agent.cli_console import JsonOption, PluginOption, check_writable, err, leave, out, plain_context
from agent.errors import UserError
from agent.files import write_atomically
from agent.hookspecs import Context
from agent.loop import Parts
from agent.profile import MAX_SEED, Choice, LoadedProfile, find_profile, load_profile
from agent.profile_edit import set_values
from agent.session import Options, check_all, play, prepare

if TYPE_CHECKING:
    from evaluation.window import Game

WHO = ("agent", "oracle", "random")
CALIBRATION_EPISODES = 20
"""More than it takes, should the player be shot."""
EpisodesOption = Annotated[int, typer.Option(min=1, help="Episodes to play.")]
SeedOption = Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="Of the first episode; the profile's.")]


def game(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile that names a game.")] = "doom-window.yaml",
    episodes: EpisodesOption = 1,
    seed: SeedOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when a line comes on standard input.")] = False,
    tell: Annotated[bool, typer.Option("--tell", help="Print each step's ground truth as JSON lines.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Open the profile's game in a window and play it from the mouse and keyboard, as any other game."""
    from evaluation.window import tells, wait_for_line

    loaded = load_profile(find_profile(profile), plugin or [])
    choice = _game(loaded)
    assert choice.maker.game is not None
    start = loaded.profile.seed if seed is None else seed
    context = replace(plain_context(loaded.path.resolve().parent), seed=start, episodes=episodes, lock_step=False)
    check_all([choice], context)
    write = tells(_line)

    def told(what: dict[str, Any]) -> None:
        if tell:
            write({**what, "names": choice.maker.names} if "ready" in what else what)
        elif "episode" in what:
            episode = what["episode"]
            out.print(f"episode {episode['seed'] - start + 1}: {episode['kills']} kills, {episode['shots']} shots")

    with _unwinding():
        choice.maker.game(choice.settings, context, wait_for_line if wait else lambda: None, told)


def demo_window(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile that names a game.")] = "doom-window.yaml",
    live: Annotated[
        bool, typer.Option("--live", help="Really move the mouse; otherwise it only says it would.")
    ] = False,
    episodes: EpisodesOption = 1,
    seed: SeedOption = None,
    who: Annotated[
        str, typer.Option(help="agent, or a baseline through the same window: oracle (the ground truth), random.")
    ] = "agent",
    xvfb: Annotated[bool, typer.Option("--xvfb", help="On a display of its own, though there is one.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="A video with boxes and target (.mp4), or a folder to replay from."),
    ] = None,
    json_file: JsonOption = None,
    plugin: PluginOption = None,
) -> None:
    """Start a profile's game in a window of its own process and play it through the screen and the mouse.

    Without a display it starts one that nobody sees (Xvfb), and holds the arm key itself there; on yours you hold it.
    """
    from evaluation.arena import interval
    from evaluation.window import play_window

    check_writable(json_file)
    check_writable(record)
    if who not in WHO:
        raise UserError(f'--who is "{who}"; known are: {", ".join(WHO)}')
    loaded = load_profile(find_profile(profile), plugin or [])
    _game(loaded)
    prepare(loaded.detector, plain_context(loaded.path.resolve().parent))  # before the game's time runs
    start = loaded.profile.seed if seed is None else seed
    with _opened(loaded, plugin, xvfb, live, start, episodes) as (window, ready):
        video = record is not None and bool(record.suffix)
        options = Options(live=live, seed=start, overlay=record if video else None, record=None if video else record)
        result = play_window(loaded, window, options, who, ready)
    report.show(result, out)
    if json_file is not None:
        kills = interval([float(episode.kills) for episode in result.episodes])
        data = {"who": who, "kills": kills, **report.as_json(result)}
        write_atomically(json_file, json.dumps(data, indent=2) + "\n")
    if record is not None:
        out.print(f"recorded: {record}", style="dim", soft_wrap=True)
    leave(result)


def calibrate(
    profile: Annotated[str, typer.Option("--profile", "-p", help="The profile of the game.")],
    live: Annotated[bool, typer.Option("--live", help="Turn by the real mouse.")] = False,
    fov: Annotated[
        float | None, typer.Option(min=2, max=178, help="The horizontal field of view, degrees; else the profile's.")
    ] = None,
    fit_fov: Annotated[bool, typer.Option("--fit-fov", help="Fit the field of view too.")] = False,
    write: Annotated[bool, typer.Option("--write/--no-write", help="Write what was found to the profile.")] = True,
    xvfb: Annotated[bool, typer.Option("--xvfb", help="On a display of its own, though there is one.")] = False,
    start_game: Annotated[bool, typer.Option("--game/--no-game", help="Start the game that the profile names.")] = True,
    json_file: JsonOption = None,
    plugin: PluginOption = None,
) -> None:
    """Measure how many degrees a mouse count turns the view: turns, and follows the picture.

    Stand still in a place with something to see, and let nothing else move the mouse.
    """
    from evaluation.calibrate import Turner, blind, fit, turning

    check_writable(json_file)
    loaded = load_profile(find_profile(profile), plugin or [])
    if loaded.actuation.maker.reaches == "nothing" or (loaded.actuation.maker.reaches == "desktop" and not live):
        raise UserError(
            f"{loaded.path}: calibrating turns the view, so it needs --live and an actuation that moves the mouse"
        )
    if loaded.actuation.maker.absolute:
        raise UserError(f"{loaded.path}: an absolute actuation goes to points on the screen and has no degrees a count")
    aim = loaded.profile.aim
    turner = Turner(loaded.profile.mode == "live", loaded.profile.crosshair)
    options = Options(live=live, seed=loaded.profile.seed)
    if loaded.game is not None and start_game:
        with _opened(loaded, plugin, xvfb, live, loaded.profile.seed, CALIBRATION_EPISODES) as (window, ready):

            def change(parts: Parts, context: Context) -> Parts:
                ready()
                window.begin()
                return turning(parts, context, turner)

            result = play(blind(loaded), options, change=change)
    else:
        result = play(blind(loaded), options, change=lambda parts, context: turning(parts, context, turner))
    leave(result)
    if not turner.done or turner.problem:
        vetoes = ", ".join(f"{guard} vetoed {n} times" for guard, n in result.vetoes.items() if n)
        raise UserError(f"{loaded.path}: {turner.problem or 'it ended too early'}{f' ({vetoes})' if vetoes else ''}")
    found = fit(turner.turns, aim.view_width_px or turner.width, fov or (None if fit_fov else aim.fov_deg))
    kind = "fitted" if found.fov_fitted else "given"
    out.print(
        f"{found.degrees_per_count:.6f} degrees a count ({found.low:.6f} to {found.high:.6f}); field of view "
        f"{found.fov_deg:.2f} degrees ({kind}); {found.turns} turns, {found.points} points, which the fit misses by "
        f"{found.residual_px:.2f} pixels (median)",
        soft_wrap=True,
    )
    if json_file is not None:
        write_atomically(json_file, json.dumps(asdict(found), indent=2) + "\n")
    if write:
        values: dict[str, Any] = {"degrees_per_count": round(found.degrees_per_count, 6)}
        if aim.fov_deg is None or fov is not None or fit_fov:
            values["fov_deg"] = round(found.fov_deg, 2)
        set_values(loaded.path, "aim", values)
        listed = ", ".join(f"{key}: {value}" for key, value in values.items())
        out.print(f"{loaded.path}: aim now has {listed}", soft_wrap=True)


@contextlib.contextmanager
def _opened(
    loaded: LoadedProfile, plugin: list[Path] | None, xvfb: bool, live: bool, seed: int, episodes: int
) -> Iterator[tuple[Game, Callable[[], None]]]:
    """Start the profile's game, on its own display where there is none; give it and what to call when all is made."""
    from evaluation.window import Game, hand_on_the_keys, own_display

    alone = xvfb or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "win32")
    key = _arm_key(loaded)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_unwinding())
        if alone:
            err.print(f"playing on a display of its own, {stack.enter_context(own_display())}")
        window = Game(loaded.path, tuple(plugin or ()), seed, episodes)
        stack.callback(window.close)

        def ready() -> None:
            if alone and live:
                stack.enter_context(hand_on_the_keys(key))
            elif live:
                err.print(f"hold {key} to let it play; the game's window needs the focus")

        yield window, ready


@contextlib.contextmanager
def _unwinding() -> Iterator[None]:
    """Let a signal end what is open in order, outside the run too, which has its own way."""

    def end(number: int, _frame: types.FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _game(loaded: LoadedProfile) -> Choice:
    choice = loaded.game
    if choice is None:
        raise UserError(f"{loaded.path}: this profile names no game; give it one, as profiles/doom-window.yaml has it")
    if choice.maker.game is None:
        raise UserError(f'{choice.where}: the capture "{choice.maker.name}" cannot open a game in a window')
    return choice


def _arm_key(loaded: LoadedProfile) -> str:
    for guard in loaded.guards:
        if "arm" in guard.maker.duties:
            return str(getattr(guard.settings, "arm", "shift"))
    return "shift"


def _line(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


COMMANDS = (game, demo_window, calibrate)
