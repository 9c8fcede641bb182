"""Profiles: YAML with a typed schema, and errors that say file, line, column, path and what is wrong.

A profile names one plugin a role (`plugin: NAME`, the plugin's own settings beside it), and sets the loop, the
calibration and the guards. Any setting can be overridden (`--set aim.gain=0.5`). Every error is found before anything
starts, and all are reported at once.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.calibration import Calibration
from agent.discovery import Catalogue, discover
from agent.factories import PluginSettings
from agent.overrides import Override, apply_overrides, parse_overrides
from agent.roles import Role, Roles
from core.command import COMMAND
from core.errors import UserError
from core.files import shipped
from core.text import quoted, read_text

ModelT = TypeVar("ModelT", bound=BaseModel)

Fraction = Annotated[float, Field(ge=0, le=1)]

MAX_SEED = 2**31 - 1

PROFILE_FOLDER = shipped("profiles")


class Section(BaseModel):
    """A role's plugin; every other key is a setting of that plugin, checked by the plugin's own schema."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str = Field(description="The plugin's name, as `agent.py plugins` lists it.")


class Safety(BaseModel):
    """The interlock's own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    watchdog_ms: float = Field(
        500,
        gt=0,
        le=60_000,
        description="A live loop silent for longer than this has its buttons released, milliseconds.",
    )


class LoopSettings(BaseModel):
    """What the loop may take of the machine, which the game needs too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_fps: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Live, work on no more frames a second than this; the newest wins, and the network rests.",
    )
    max_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Live, work on frames for no more than this part of the time, by how long the last one took; the "
        "game has the rest of the card or processor.",
    )
    cpus: tuple[int, ...] = Field((), description="Run on these processors only, numbered from 0 (Linux, Windows).")
    nice: int | None = Field(
        None,
        ge=-20,
        le=19,
        description="The process's priority, -20 the highest; below 0 needs the right to it. Windows' classes by it.",
    )


class Profile(BaseModel):
    """The top level of a profile."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field("", description="What reports call the profile; its file's name by default.")
    mode: Literal["live", "lock-step"] = Field(
        "live",
        description="`live`: the newest frame wins and others are dropped. `lock-step`: every frame is "
        "worked on and capture waits, so that the same profile, seed and footage decide the same.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seeds the environment; `--seed` overrides it.")
    episodes: int | None = Field(
        None, gt=0, description="Stop after this many episodes of the environment; `--episodes` overrides it."
    )
    duration_s: float | None = Field(
        None, gt=0, le=1e9, description="Stop after this many seconds; `--duration` overrides it."
    )
    crosshair: tuple[Fraction, Fraction] = Field(
        (0.5, 0.5), description="Where the crosshair is, as fractions of the frame's width and height."
    )
    plugins: tuple[Path, ...] = Field(
        (), description="Plugin files to load, relative to the profile, as `--plugin` does."
    )
    capture: Section = Field(description="Screen -> frame.")
    detector: Section = Field(description="Frame -> detections.")
    selection: Section = Field(description="Detections -> target.")
    game: Section | None = Field(
        None, description="The game in its window, for `agent.py game` and `demo-window`: a capture that can open one."
    )
    aim: Section | None = Field(
        None, description="Target -> action: the controller; the first that is installed by default (`proportional`)."
    )
    actuation: Section = Field(description="Action -> mouse.")
    guards: tuple[Section, ...] = Field((), description="Who may veto an action, asked in this order.")
    observers: tuple[Section, ...] = Field((), description="Who is told afterwards.")
    calibration: Calibration = Field(
        Calibration(), description="What is measured of the game and the mouse; `agent.py calibrate` writes it."
    )
    loop: LoopSettings = Field(LoopSettings(), description="What the loop may take of the machine.")
    safety: Safety = Field(Safety(), description="The interlock's watchdog.")


@dataclass(frozen=True)
class Choice:
    """A role filled: the factory, its checked settings, and the place that asked for it, for messages."""

    factory: Any
    settings: PluginSettings
    where: str = ""

    @property
    def name(self) -> str:
        """The plugin's name."""
        return str(self.factory.name)


@dataclass(frozen=True)
class LoadedProfile:
    """A profile with each role's plugin found and its settings checked."""

    path: Path
    profile: Profile
    catalogue: Catalogue
    roles: Roles[Choice]
    game: Choice | None = None
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The profile's name, its file's where it gives none."""
        return self.profile.name or self.path.stem

    def with_roles(self, **changes: Any) -> LoadedProfile:
        """Return the profile with other choices for some roles."""
        return replace(self, roles=replace(self.roles, **changes))

    def with_settings(self, role: Literal["capture", "detector", "selection", "controller"], **changes: Any) -> Choice:
        """Return a role's choice with some of its settings changed.

        :raises UserError: it has no such setting, or not with that value.
        """
        choice: Choice = getattr(self.roles, role)
        settings = choice.settings.model_dump(exclude_unset=True)
        return choose(choice.factory, choice.where or role, **{**settings, **changes})


def find_profile(name: str) -> Path:
    """Return the path of a profile given by path, or by bare name looked up in profiles/.

    :raises UserError: there is none; the message lists the profiles there are.
    """
    given = Path(name)
    candidates = [given, PROFILE_FOLDER / name, PROFILE_FOLDER / f"{name}.yaml"]
    for candidate in candidates if given.parent == Path() else candidates[:1]:
        with contextlib.suppress(OSError, ValueError):  # a name too long, or with a NUL
            if candidate.is_file():
                return candidate
    there = sorted(p.name for p in PROFILE_FOLDER.glob("*.yaml"))
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"{name}: there is no such profile; {hint}in profiles/ there are {', '.join(there)}")


def load_profile(path: Path, plugin_files: Sequence[Path] = (), overrides: Sequence[str] = ()) -> LoadedProfile:
    """Read and check a profile, the settings of its plugins included.

    :param plugin_files: plugin files from the command line, loaded beside those the profile names.
    :param overrides: `path.to.setting=value` each, the value as YAML has it; they take the place of the file's.
    :raises UserError: one line `file:line:column: path: what is wrong` for every error there is.
    """
    root, data, problems = _read(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}:1:1: a profile is a mapping of settings, as profiles/footage.yaml shows")
    changes = parse_overrides(overrides)
    overridden = "aim" not in data
    apply_overrides(data, changes)
    source = _Source(path, root, changes)
    if nulls := [
        Problem(where, "holds a NUL character, which no name and no path may") for where in _nulls(data, (), set())
    ]:
        raise UserError("\n".join(source.report(nulls)))
    named = data.get("plugins")
    files = [path.parent / name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    catalogue = discover([*plugin_files, *files])
    if overridden and isinstance(data.get("aim"), dict):  # `--set aim.gain=1` where the file leaves the controller open
        data["aim"].setdefault("plugin", next(iter(catalogue.offers["controller"])))
    _recognise_old_form(data, problems, path)
    checked = _validated(Profile, data, (), problems)
    choices: dict[tuple[Any, ...], Choice | None] = {}
    for role, where, section in _sections(data):
        choices[where] = _choose(catalogue, role, where, section, problems)
    if problems or checked is None:
        raise UserError("\n".join(source.report(problems)))
    chosen = {
        where: replace(choice, where=source.place(Problem(where, "")))
        for where, choice in choices.items()
        if choice is not None
    }
    controller = chosen.get(("aim",)) or choose(next(iter(catalogue.offers["controller"].values())).factory, "aim")
    roles = Roles(
        capture=chosen["capture",],
        detector=chosen["detector",],
        selection=chosen["selection",],
        controller=controller,
        actuation=chosen["actuation",],
        guards=tuple(chosen["guards", i] for i in range(len(checked.guards))),
        observers=tuple(chosen["observers", i] for i in range(len(checked.observers))),
    )
    return LoadedProfile(path, checked, catalogue, roles, chosen.get(("game",)), tuple(overrides))


OLD_AIM = ("method", "fov_deg", "view_width_px", "degrees_per_count", "delay_ms")
"""Settings that `aim` had before it named a controller; the measured ones are `calibration`'s now."""


def _recognise_old_form(data: dict[str, Any], problems: list[Problem], path: Path) -> None:
    """Say in one sentence what to write in place of an aim of before there were controllers, and take it out."""
    aim = data.get("aim")
    if not isinstance(aim, dict):
        return
    if "search_deg" in aim:
        said = "a search's speed is in degrees a second now: write search_deg_per_s"
        problems.append(Problem(("aim", "search_deg"), f'{said}; "{COMMAND} migrate {path}" does it', at_key=True))
        del aim["search_deg"]
    if "plugin" in aim:
        return
    controller = f"`plugin: {aim['method']}`" if "method" in aim else "`plugin:` and the controller's name"
    measured = [key for key in OLD_AIM[1:] if key in aim]
    calibration = f", and move {', '.join(measured)} to a section `calibration:`" if measured else ""
    problems.append(
        Problem(
            ("aim",),
            f'aim names a controller now: write {controller} in it{calibration}; "{COMMAND} migrate {path}" does it',
            at_key=True,
        )
    )
    del data["aim"]


@dataclass(frozen=True)
class Problem:
    """An error at a path in the profile; `at_key` when the key itself is at fault and not its value."""

    where: tuple[str | int, ...]
    what: str
    at_key: bool = False
    mark: Any = None


def _read(path: Path) -> tuple[yaml.Node | None, Any, list[Problem]]:
    text = read_text(path, "the profile")
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            # Before the data is made of it, which puts merged keys (<<) among the others.
            twice = list(_duplicate_keys(root, (), set()))
            return root, loader.construct_document(root) if root is not None else None, twice
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise UserError(f"{path}:{where}: the profile is not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}:1:1: the profile is not valid YAML: {reason}") from error
    except Exception as error:  # what a tag promises and its value is not: !!int "", 2026-13-45
        raise UserError(f"{path}:1:1: the profile is not valid YAML: {error}") from error


def _nulls(data: Any, where: tuple[Any, ...], seen: set[int]) -> Iterator[tuple[Any, ...]]:
    """Go through the texts that hold a NUL character, with which the system takes no path.

    :param seen: mappings and lists that were gone through: an alias may stand within its own anchor.
    """
    if isinstance(data, str):
        if "\0" in data:
            yield where
    elif isinstance(data, dict | list) and id(data) not in seen:
        seen.add(id(data))
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            if isinstance(key, str) and "\0" in key:
                yield where
            yield from _nulls(value, (*where, key), seen)


def _sections(data: dict[str, Any]) -> Iterator[tuple[Role, tuple[str | int, ...], dict[str, Any]]]:
    """Go through the plugin sections that look like sections; the schema complains about the others."""
    single: tuple[tuple[str, Role], ...] = (
        ("capture", "capture"),
        ("game", "capture"),
        ("detector", "detector"),
        ("selection", "selection"),
        ("aim", "controller"),
        ("actuation", "actuation"),
    )
    for key, role in single:
        if isinstance(data.get(key), dict):
            yield role, (key,), data[key]
    lists: tuple[tuple[str, Role], ...] = (("guards", "guard"), ("observers", "observer"))
    for key, role in lists:
        entries = data.get(key)
        for i, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                yield role, (key, i), entry


def _choose(
    catalogue: Catalogue,
    role: Role,
    where: tuple[str | int, ...],
    section: dict[str, Any],
    problems: list[Problem],
) -> Choice | None:
    name = section.get("plugin")
    if not isinstance(name, str):
        return None
    offer = catalogue.offers[role].get(name)
    if offer is None:
        problems.append(Problem((*where, "plugin"), catalogue.unknown(role, name)))
        return None
    given = {key: value for key, value in section.items() if key != "plugin"}
    settings = _validated(offer.factory.settings, given, where, problems)
    return None if settings is None else Choice(offer.factory, settings)


def choose(factory: Any, where: str, **given: Any) -> Choice:
    """Fill a role with given settings instead of a profile's.

    :param where: what the settings came from, for the message.
    :raises UserError: the settings are not what the factory's schema takes.
    """
    problems: list[Problem] = []
    settings = _validated(factory.settings, given, (), problems)
    if settings is None:
        raise UserError("; ".join(": ".join((where, *map(str, p.where), p.what)) for p in problems))
    return Choice(factory, settings, where)


def _validated(
    model: type[ModelT], data: dict[str, Any], where: tuple[str | int, ...], problems: list[Problem]
) -> ModelT | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for item in error.errors():
            problems.append(_translate(model, item, where))
        return None


def _translate(model: type[BaseModel], item: Any, where: tuple[str | int, ...]) -> Problem:
    # Pydantic adds the type that a value was tried as, such as tuple[int, int], to the path of a union.
    kind, path = item["type"], list(item["loc"])
    last = [path.pop()] if kind == "extra_forbidden" else []  # a key of the user's, whatever it looks like
    loc = [part for part in path if "[" not in str(part) and part not in ("int", "float", "str")] + last
    at = (*where, *loc)
    if kind == "extra_forbidden":
        known = _known_keys(model, loc[:-1])
        near = difflib.get_close_matches(str(at[-1]), known, n=1, cutoff=0.65)
        hint = f'did you mean "{near[0]}"?' if near else f"known are: {', '.join(known) or 'none'}"
        return Problem(at, f"unknown setting; {hint}", at_key=True)
    if kind == "missing":
        return Problem(at, "this setting is required and missing")
    plain = _SHAPES.get(kind)
    if plain is not None:
        return Problem(at, plain)
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    got = f" (got {quoted(given)})" if isinstance(given, str | int | float | bool | None) else ""
    return Problem(at, message + got)


_SHAPES = {
    "tuple_type": "this must be a list, such as [a, b]",
    "model_type": "this must be a mapping, such as {plugin: NAME}",
    "too_long": "this list is too long",
}


def _known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Return the keys that are allowed at a place within a model."""
    for part in loc:
        field = model.model_fields.get(str(part))
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))  # of `Model | None` too
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            return []
        model = models[0]
    return sorted(model.model_fields)


def _duplicate_keys(node: yaml.Node | None, where: tuple[str | int, ...], visited: set[int]) -> Iterator[Problem]:
    if id(node) in visited:  # an anchor that comes again, perhaps within itself
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield Problem((*where, str(key.value)), "this key stands here twice", mark=key.start_mark)
            seen.add(str(key.value))
            yield from _duplicate_keys(value, (*where, str(key.value)), visited)
    elif isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            yield from _duplicate_keys(entry, (*where, i), visited)


@dataclass(frozen=True)
class _Source:
    """Where a profile's settings were written: in a file, or in an override."""

    path: Path
    root: yaml.Node | None
    overrides: Sequence[Override]

    def report(self, problems: Sequence[Problem]) -> list[str]:
        ordered = sorted(problems, key=lambda problem: _position(self.root, problem))
        return [f"{self.place(problem)}: {problem.what}" for problem in ordered]

    def place(self, problem: Problem) -> str:
        for override in self.overrides:
            if override.covers(problem.where):
                return f"--set {override.text}: {_dotted(problem.where)}"
        line, column = _position(self.root, problem)
        return f"{self.path}:{line}:{column}: {_dotted(problem.where)}"


def _position(root: yaml.Node | None, problem: Problem) -> tuple[int, int]:
    mark = problem.mark or _mark(root, problem)
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _mark(node: yaml.Node | None, problem: Problem) -> Any:
    """Return the place of the deepest node on the problem's path that stands in the file."""
    mark = node.start_mark if node else None
    for depth, part in enumerate(problem.where):
        last = depth == len(problem.where) - 1
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                return mark
            node = pair[1]
            mark = pair[0].start_mark if problem.at_key and last else node.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            return mark
    return mark


def _dotted(where: Sequence[str | int]) -> str:
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "profile"
