"""A whole arena from its configuration: who plays what, how often, and the tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.context import outside_a_run
from agent.profile import Choice, LoadedProfile, load_profile
from agent.session import check_all, prepare
from core.errors import UserError
from core.progress import Progress, counter, silent
from core.text import to_csv
from evaluation import cluster as clusters
from evaluation.arena import Player, Score, Trial, play_trials, rows
from evaluation.scoring import Disturbance
from evaluation.window_arena import play_in_windows

BASELINES = ("oracle", "random")
LONGEST_LATENCY_MS = 2000.0


@dataclass(frozen=True)
class ArenaConfig:
    """What is played.

    :param profile: its capture must be an environment, and its mode lock-step.
    :param plugins: plugin files, beside those that the profile names.
    :param overrides: of the profile's settings, as `--set` takes them.
    :param episodes: of each player, scenario and latency.
    :param baselines: some of BASELINES.
    :param controllers: with which all but `random` play, a player each; the profile's own by default.
    :param scenarios: in place of the profile's.
    :param variants: by name, further overrides with each of which all is played.
    :param seed: of the first episode; the next have the next.
    :param latencies_ms: injected, one curve point each.
    :param jitter_ms: latency by chance, up to this more; `drop` and `noise_px` as in `Disturbance`.
    :param engine: of the detector, in place of the profile's; `precisions` likewise, a player each.
    :param processes: episodes at a time; the processor's cores by default.
    :param cluster: a Ray cluster's address, or `local`.
    :param live: whether the real mouse may be moved, as a game in a window needs.
    :param xvfb: play a game in a window on a display of its own, though there is one.
    """

    profile: Path
    plugins: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    episodes: int = 20
    baselines: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ()})
    seed: int = 7
    latencies_ms: tuple[float, ...] = (0.0,)
    jitter_ms: float = 0.0
    drop: float = 0.0
    noise_px: float = 0.0
    engine: str | None = None
    precisions: tuple[str, ...] = ()
    processes: int | None = None
    cluster: str | None = None
    live: bool = False
    xvfb: bool = False

    def __post_init__(self) -> None:
        unknown = next((name for name in self.baselines if name not in BASELINES), None)
        if unknown is not None:
            raise UserError(f'there is no baseline "{unknown}"; known are: {", ".join(BASELINES)}')
        if not all(0 <= delay <= LONGEST_LATENCY_MS for delay in self.latencies_ms):
            raise UserError(f"a latency of {LONGEST_LATENCY_MS:.0f} ms is the longest, and 0 the shortest")


@dataclass(frozen=True)
class ArenaResult:
    """The scores of all episodes, and the table of them.

    :param rows: a row a player, scenario and latency: means with 95 % intervals.
    :param shown: the measures that tables show, the environment's first.
    :param runs: of a game in a window, each player's report.
    """

    rows: list[dict[str, Any]]
    trials: list[Trial]
    scores: list[Score]
    shown: tuple[str, ...]
    profile: Path
    runs: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return rows and episodes as docs/reports.md describes them."""
        table = {"rows": self.rows, "episodes": self.episodes()}
        return {**table, "runs": self.runs} if self.runs else table

    def episodes(self) -> list[dict[str, Any]]:
        """Return every episode: what was played, and what came of it."""
        return [
            {
                **score.to_dict(),
                "who": trial.player.name or score.who,
                "variant": trial.variant,
                "latency_ms": trial.disturbance.latency_ms,
            }
            for trial, score in zip(self.trials, self.scores, strict=True)
        ]

    def csv(self) -> str:
        """Return the episodes as CSV, a line each."""
        return to_csv(self.episodes())

    def provenance(self) -> dict[str, Any]:
        """Return what `core.provenance.provenance` is to be told."""
        agent = next((score.detector for score in self.scores if score.who == "agent"), {})
        seeds = sorted({score.seed for score in self.scores})
        return {"profile": self.profile, "seeds": seeds, **agent}


def arena(config: ArenaConfig, progress: Progress = silent) -> ArenaResult:
    """Play every episode and score it.

    :raises UserError: the profile cannot be played in the arena, or an episode cannot be played.
    """
    return played(check(config), config, progress)


def check(config: ArenaConfig) -> LoadedProfile:
    """Load the profile, and see that it can be played: before anything is, and before any process is started.

    :raises UserError: the profile is wrong, or something that it names is not there.
    """

    def load(more: tuple[str, ...]) -> LoadedProfile:
        return load_profile(config.profile, list(config.plugins), (*config.overrides, *more))

    loaded = load(())
    in_window = loaded.profile.mode != "lock-step"
    if in_window:
        _check_window(config, loaded)
    elif config.cluster is not None:
        clusters.check(config.cluster, [Trial(config.profile, config.plugins, Player("agent"), None, config.seed)])
    context = outside_a_run(config.profile.resolve().parent)
    for more in config.variants.values():
        variant = load(more) if more else loaded
        choices = _detectors(variant, config)
        # A window's display may not be there yet, and another cluster's machines have scenarios of their own.
        if not in_window and config.cluster in (None, clusters.LOCAL):
            captures = [variant.with_settings("capture", scenario=name) for name in config.scenarios]
            choices += captures or [variant.roles.capture]
        check_all(choices, replace(context, calibration=variant.profile.calibration))
    return loaded


def played(loaded: LoadedProfile, config: ArenaConfig, progress: Progress = silent) -> ArenaResult:
    """Play every episode of a profile that `check` has loaded.

    :raises UserError: the profile cannot be played in the arena, or an episode cannot be played.
    """
    players = _players(config)
    if loaded.profile.mode != "lock-step":
        return _in_windows(config, loaded, players, progress)
    _prepare(loaded, config)
    trials = list(_trials(config, players))
    count = counter(progress, "episodes", len(trials))
    if config.cluster is None:
        scores = play_trials(trials, config.processes, count)
    else:
        scores = clusters.play_on(config.cluster, trials, count)
    return ArenaResult(rows(trials, scores), trials, scores, scores[0].shown, loaded.path)


def _check_window(config: ArenaConfig, loaded: LoadedProfile) -> None:
    if loaded.game is None or loaded.game.factory.game is None:
        raise UserError(
            f"{config.profile}: the arena plays in lock-step, or a game in its window that the profile names (game:); "
            f'this profile\'s mode is "{loaded.profile.mode}", and it names none'
        )
    if not config.live:
        raise UserError(f"{config.profile}: a game in its window is played by the real mouse, so it needs --live")
    given: dict[str, object] = {
        "--scenario": config.scenarios,
        "--controllers": config.controllers,
        "--latency-ms": any(config.latencies_ms),
        "--jitter-ms": config.jitter_ms,
        "--drop": config.drop,
        "--noise-px": config.noise_px,
        "--cluster": config.cluster,
        "--processes": (config.processes or 1) > 1,
    }
    useless = next((name for name, value in given.items() if value), None)
    if useless is not None:
        raise UserError(f"{config.profile}: a game in its window is played as it is, so it takes no {useless}")


def _in_windows(
    config: ArenaConfig, loaded: LoadedProfile, players: Sequence[Player], progress: Progress
) -> ArenaResult:
    _prepare(loaded, config)
    count = counter(progress, "episodes", config.episodes * len(players))
    trials, scores, runs = play_in_windows(
        loaded, config.plugins, players, config.seed, config.episodes, config.xvfb, count
    )
    return ArenaResult(rows(trials, scores), trials, scores, scores[0].shown, loaded.path, runs)


def _players(config: ArenaConfig) -> list[Player]:
    base: tuple[tuple[str, Any], ...] = () if config.engine is None else (("engine", config.engine),)
    precisions = config.precisions
    agents = [
        Player("agent", (*base, ("precision", name)), name=f"agent {name}" if len(precisions) > 1 else "")
        for name in precisions
    ] or [Player("agent", base)]
    players = [*agents, *(Player(who) for who in config.baselines)]
    if not config.controllers:
        return players
    return [
        replace(player, controller=name, name=f"{player.name or player.who}, {name}")
        for player in players
        for name in config.controllers
        if player.who != "random"
    ] + [player for player in players if player.who == "random"]


def _detectors(loaded: LoadedProfile, config: ArenaConfig) -> list[Choice]:
    """Return the detectors that play, each once."""
    settings = dict.fromkeys(player.settings for player in _players(config) if player.who == "agent")
    return [loaded.with_settings("detector", **dict(each)) for each in settings]


def _prepare(loaded: LoadedProfile, config: ArenaConfig) -> None:
    """Let detectors do what may take long once, and not in every process that plays."""
    for detector in _detectors(loaded, config):
        prepare(detector, outside_a_run(config.profile.resolve().parent))


def _trials(config: ArenaConfig, players: Sequence[Player]) -> Sequence[Trial]:
    return [
        Trial(
            config.profile.resolve(),
            config.plugins,
            player,
            scenario,
            config.seed + i,
            Disturbance(delay, config.jitter_ms, config.drop, config.noise_px),
            (*config.overrides, *more),
            variant,
        )
        for variant, more in config.variants.items()
        for scenario in config.scenarios or (None,)
        for player in players
        for delay in config.latencies_ms
        for i in range(config.episodes)
    ]
