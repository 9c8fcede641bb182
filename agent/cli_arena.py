"""The command `arena`: a profile scored in its game, beside the ground truth and chance."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from agent.aim import how_to_calibrate
from agent.cli_console import JsonOption, PluginOption, check_writable, counter, out, plain_context, progress
from agent.errors import UserError
from agent.files import write_atomically
from agent.profile import MAX_SEED, LoadedProfile, find_profile, load_profile
from agent.session import prepare

BASELINES = ("oracle", "random")
SUITE_SEEDS = 4
"""Runs of each case of a suite in which there is chance."""


def arena(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="A profile whose capture knows the truth; any with --suite.")
    ] = "doom.yaml",
    suite: Annotated[
        str | None,
        typer.Option(help="`aim`: the profile's aim against simulated targets, beside the other methods; no game."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each player and scenario.")] = 20,
    baselines: Annotated[str | None, typer.Option(help="oracle, random, or both with a comma.")] = None,
    scenarios: Annotated[
        str | None, typer.Option("--scenario", help="Other scenarios than the profile's, with commas between them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of the first episode; the next have the next.")] = 7,
    latency: Annotated[
        str, typer.Option("--latency-ms", help="Injected latency, or several with commas: a curve.")
    ] = "0",
    jitter: Annotated[float, typer.Option("--jitter-ms", min=0, help="Latency by chance, up to this more.")] = 0.0,
    drop: Annotated[float, typer.Option(min=0, max=1, help="How many frames' detections are lost.")] = 0.0,
    noise: Annotated[float, typer.Option("--noise-px", min=0, help="Boxes are off by this, standard deviation.")] = 0.0,
    engine: Annotated[str | None, typer.Option(help="The detector's engine, in place of the profile's.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="The detector's precision, in place of the profile's; several with commas.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Episodes at a time; the processor's cores.")] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Play on a Ray cluster; `local` starts Ray on this machine.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--out", help="Draw kills and aim error to this PNG.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown.")] = None,
    json_file: JsonOption = None,
    plugin: PluginOption = None,
) -> None:
    """Play a profile's game many times and score it: kills, hits a shot, aim error, each with a 95 % interval."""
    from evaluation import arena as playing
    from evaluation import cluster as on

    for path in (picture, markdown_file, json_file):
        check_writable(path)
    path = find_profile(profile)
    loaded = load_profile(path, plugin or [])
    if suite is not None:
        given: dict[str, object] = {
            "--baselines": baselines,
            "--scenario": scenarios,
            "--engine": engine,
            "--precision": precision,
        }
        given |= {"--cluster": cluster, "--latency-ms": latency != "0", "--drop": drop, "--noise-px": noise}
        useless = next((name for name, value in given.items() if value), None)
        if useless is not None:
            raise UserError(f"--suite {suite} plays no game and has its own cases, so it takes no {useless}")
        _suite(suite, loaded, picture, markdown_file, json_file)
        return
    if loaded.profile.mode != "lock-step":
        raise UserError(f'{path}: the arena plays in lock-step, and this profile\'s mode is "{loaded.profile.mode}"')
    asked = [name.strip() for name in baselines.split(",")] if baselines else []
    strange = next((name for name in asked if name not in BASELINES), None)
    if strange is not None:
        raise UserError(f'--baselines has "{strange}"; known are: {", ".join(BASELINES)}')
    delays = _delays(latency)
    players = _players(engine, precision, asked)
    names: list[str | None] = [name.strip() for name in scenarios.split(",")] if scenarios else [None]
    plugins = tuple(plugin or ())
    detectors = [
        playing.changed(loaded, loaded.detector, "arena", **dict(settings))
        for who, settings, _ in players
        if who == "agent"
    ]
    if cluster is not None:
        on.check(cluster, [playing.Trial(path, plugins, "agent", None, seed)])
    for detector in detectors:
        prepare(detector, plain_context(path.resolve().parent))  # once, not in every process that plays
    trials = [
        playing.Trial(path.resolve(), plugins, who, scenario, seed + i, delay, jitter, drop, noise, settings, name)
        for scenario in names
        for who, settings, name in players
        for delay in delays
        for i in range(episodes)
    ]
    with progress() as tell:
        count = counter(tell, "episodes", len(trials))
        scores = playing.arena(trials, processes, count) if cluster is None else on.play_on(cluster, trials, count)
    table = playing.rows(trials, scores)
    _show(table, len(delays) > 1)
    if json_file is not None:
        data = {"rows": table, "episodes": [asdict(score) for score in scores]}
        write_atomically(json_file, json.dumps(data, indent=2) + "\n")
    if markdown_file is not None:
        write_atomically(markdown_file, playing.markdown(table))
    if picture is not None:
        first = table[0]["scenario"]
        mine = [row for row in table if row["scenario"] == first]
        write_atomically(picture, playing.draw(mine, delays, f"{first}, {episodes} episodes, 95 % intervals"))


def _suite(
    suite: str, loaded: LoadedProfile, picture: Path | None, markdown_file: Path | None, json_file: Path | None
) -> None:
    from evaluation import aim_suite
    from evaluation.arena import markdown_table

    if suite != "aim":
        raise UserError(f'--suite is "{suite}"; there is one: aim')
    if not loaded.profile.aim.calibrated:
        raise UserError(
            f"{loaded.path}: aim is not calibrated, and the suite needs degrees: {how_to_calibrate(loaded.path)}"
        )
    half_deg = loaded.profile.aim.half_view_deg(aim_suite.WIDTH)
    if half_deg <= aim_suite.STEP_DEG:
        raise UserError(
            f"{loaded.path}: the view is {2 * half_deg:.0f} degrees wide, and the "
            f"suite's targets begin {aim_suite.STEP_DEG:g} degrees from its middle; raise aim.fov_deg, or take away "
            "view_width_px"
        )
    todo = list(aim_suite.cases(SUITE_SEEDS))
    done = []
    with progress() as tell:
        count = counter(tell, "cases", len(todo))
        for case in todo:
            done.append((case, aim_suite.simulate(case, loaded.profile.aim)))
            count()
    table = aim_suite.rows(done)
    heads, lines = aim_suite.digest(table)
    shown = Table(*heads)
    for line in lines:
        shown.add_row(*line)
    out.print(shown)
    if json_file is not None:
        write_atomically(json_file, json.dumps({"rows": table}, indent=1) + "\n")
    if markdown_file is not None:
        write_atomically(markdown_file, markdown_table(heads, lines))
    if picture is not None:
        write_atomically(picture, aim_suite.draw(table))


Settings = tuple[tuple[str, str], ...]


def _players(engine: str | None, precision: str | None, baselines: list[str]) -> list[tuple[str, Settings, str]]:
    """Return who plays, the settings of his detector, and what tables call him."""
    base: Settings = (("engine", engine),) if engine is not None else ()
    if precision is None:
        return [("agent", base, ""), *((who, (), "") for who in baselines)]
    several = [part.strip() for part in precision.split(",")]
    agents: list[tuple[str, Settings, str]] = [
        ("agent", (*base, ("precision", part)), f"agent {part}" if len(several) > 1 else "") for part in several
    ]
    return [*agents, *((who, (), "") for who in baselines)]


def _show(table: list[dict[str, Any]], with_delay: bool) -> None:
    from evaluation.arena import SHOWN, said

    shown = Table("who", "scenario", *(["latency ms"] if with_delay else []), *(key.replace("_", " ") for key in SHOWN))
    for row in table:
        delay = [f"{row['latency_ms']:g}"] if with_delay else []
        shown.add_row(row["who"], row["scenario"], *delay, *(said(row[key]) for key in SHOWN))
    out.print(shown)


def _delays(text: str) -> list[float]:
    try:
        delays = [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f'--latency-ms is "{text}"; give milliseconds, or several with commas between them') from None
    if not all(0 <= delay <= 2000 for delay in delays):
        raise UserError(f"--latency-ms is {text}; 0 to 2000 is possible")
    return delays


COMMANDS = (arena,)
