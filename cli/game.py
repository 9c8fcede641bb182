"""The command `game`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import out
from cli.options import MAX_SEED, Overrides, Plugins, load

Episodes = Annotated[int, typer.Option(min=1, help="Episodes to play.")]
Seed = Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="Of the first episode; the profile's.")]


def game(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile that names a game.")] = "doom-window.yaml",
    episodes: Episodes = 1,
    seed: Seed = None,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when a line comes on standard input.")] = False,
    tell: Annotated[bool, typer.Option("--tell", help="Print each step's ground truth as JSON lines.")] = False,
    overrides: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Open the profile's game in a window and play it from the mouse and keyboard, as any other game."""
    from dataclasses import replace

    from agent.context import outside_a_run
    from agent.session import check_all
    from cli.windows import game_of, unwinding
    from evaluation.window import tells, wait_for_line

    loaded = load(profile, plugin, overrides)
    choice = game_of(loaded)
    start = loaded.profile.seed if seed is None else seed
    context = outside_a_run(loaded.path.resolve().parent)
    context = replace(context, seed=start, episodes=episodes, lock_step=False)
    check_all([choice], context)
    write = tells(_line)

    def told(what: dict[str, Any]) -> None:
        if tell:
            write({**what, "names": choice.factory.class_names} if "ready" in what else what)
        elif "episode" in what:
            episode = what["episode"]
            scores = ", ".join(f"{name} {value}" for name, value in episode["scores"].items() if value is not None)
            out.print(f"episode {episode['seed'] - start + 1}: {scores}", soft_wrap=True)

    with unwinding():
        choice.factory.game(choice.settings, context, wait_for_line if wait else lambda: None, told)


def _line(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def folder_or_video(path: Path | None) -> tuple[Path | None, Path | None]:
    """Return what `--record` names as a video and as a recording's folder: one of them, by whether it has a suffix."""
    if path is None:
        return None, None
    return (path, None) if path.suffix else (None, path)
