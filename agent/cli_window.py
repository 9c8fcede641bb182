"""The commands on a game in its window: game, demo-window.

They reach evaluation, and that when called.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from agent import report
from agent.cli_console import JsonOption, PluginOption, check_writable, err, out, plain_context
from agent.errors import UserError
from agent.files import write_atomically
from agent.profile import MAX_SEED, Choice, LoadedProfile, find_profile, load_profile
from agent.session import Options, check_all, prepare

WHO = ("agent", "oracle", "random")
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
        Path | None, typer.Option(metavar="OUT.mp4", help="Write a video with boxes, target and crosshair.")
    ] = None,
    json_file: JsonOption = None,
    plugin: PluginOption = None,
) -> None:
    """Start a profile's game in a window of its own process and play it through the screen and the mouse.

    Without a display it starts one that nobody sees (Xvfb), and holds the arm key itself there; on yours you hold it.
    """
    from evaluation.arena import interval
    from evaluation.window import Game, hand_on_the_keys, own_display, play_window

    check_writable(json_file)
    check_writable(record)
    if who not in WHO:
        raise UserError(f'--who is "{who}"; known are: {", ".join(WHO)}')
    loaded = load_profile(find_profile(profile), plugin or [])
    _game(loaded)
    prepare(loaded.detector, plain_context(loaded.path.resolve().parent))  # before the game's time runs
    start = loaded.profile.seed if seed is None else seed
    alone = xvfb or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "win32")
    with contextlib.ExitStack() as stack:
        if alone:
            err.print(f"playing on a display of its own, {stack.enter_context(own_display())}")
        window = Game(loaded.path, tuple(plugin or ()), start, episodes)
        stack.callback(window.close)

        def ready() -> None:
            key = _arm_key(loaded)
            if alone and live:
                stack.enter_context(hand_on_the_keys(key))
            elif live:
                err.print(f"hold {key} to let it play; the game's window needs the focus")

        result = play_window(loaded, window, Options(live=live, seed=start, overlay=record), who, ready)
    report.show(result, out)
    if json_file is not None:
        kills = interval([float(episode.kills) for episode in result.episodes])
        data = {"who": who, "kills": kills, **report.as_json(result)}
        write_atomically(json_file, json.dumps(data, indent=2) + "\n")
    if record is not None:
        out.print(f"video: {record}", style="dim", soft_wrap=True)
    if result.error is not None:
        raise result.error
    if result.signal:
        raise SystemExit(128 + result.signal)


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


COMMANDS = (game, demo_window)
