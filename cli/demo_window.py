"""The command `demo-window`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import out
from cli.game import Episodes, Seed, folder_or_video
from cli.options import Json, Overrides, Plugins, load, one_of
from cli.run import leave

WHO = ("agent", "oracle", "random")


def demo_window(
    profile: Annotated[str, typer.Option("--profile", "-p", help="A profile that names a game.")] = "doom-window.yaml",
    live: Annotated[
        bool, typer.Option("--live", help="Really move the mouse; otherwise it only says it would.")
    ] = False,
    episodes: Episodes = 1,
    seed: Seed = None,
    who: Annotated[
        str, typer.Option(help="agent, or a baseline through the same window: oracle (the ground truth), random.")
    ] = "agent",
    xvfb: Annotated[bool, typer.Option("--xvfb", help="On a display of its own, though there is one.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="A video with boxes and target (.mp4), or a folder to replay from."),
    ] = None,
    overrides: Overrides = None,
    json_file: Json = None,
    plugin: Plugins = None,
) -> None:
    """Start a profile's game in a window of its own process and play it through the screen and the mouse.

    Without a display it starts one that nobody sees (Xvfb), and holds the arm key itself there; on yours you hold it.
    """
    from agent.context import outside_a_run
    from agent.plan import Options
    from agent.report import as_json
    from agent.session import prepare
    from cli.output import announce, save_json
    from cli.run_report import show_report
    from cli.windows import game_of, opened
    from core.files import check_writable
    from evaluation.statistics import mean_interval
    from evaluation.window import play_window, seen_by

    check_writable(json_file)
    check_writable(record)
    one_of("--who", who, WHO)
    loaded = load(profile, plugin, overrides)
    game_of(loaded)
    loaded = seen_by(loaded, who)
    prepare(loaded.roles.detector, outside_a_run(loaded.path.resolve().parent))  # before the game's time runs
    start = loaded.profile.seed if seed is None else seed
    with opened(loaded, plugin, xvfb, live, start, episodes) as (window, ready):
        overlay, recording = folder_or_video(record)
        options = Options(live=live, seed=start, overlay=overlay, record=recording)
        result = play_window(loaded, window, options, who, ready)
    report = as_json(result)
    show_report(report, out)
    shown = [measure.name for measure in result.measures if measure.in_run]
    scores = {name: mean_interval([episode.scores.get(name) for episode in result.episodes]) for name in shown}
    save_json(json_file, {"who": who, **scores, **report})
    if record is not None and record.exists():
        announce("recording", record)
    leave(result)
