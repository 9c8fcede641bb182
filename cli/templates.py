"""The files of a new plugin: its module, a test, a pyproject.toml and how to go on, for each role."""

from __future__ import annotations

_HEAD = '''"""{Role} `{name}`: say here in one line what it does."""

from __future__ import annotations

{imports}

'''

_BODIES = {
    "capture": (
        "import time\n\nimport numpy as np\nfrom pydantic import Field\n\n"
        "from reticle import CaptureFactory, Context, Frame, PluginSettings, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    frames: int = Field(100, gt=0, description="How many frames there are.")
    width: int = Field(320, gt=0, description="The frames' width, pixels.")
    height: int = Field(240, gt=0, description="The frames' height, pixels.")


class {Class}:
    """Gives frames of a plain colour; put your own source in its place."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._index = 0

    def grab(self) -> Frame | None:
        """Return the next frame, or None when there are no more."""
        if self._index == self._settings.frames:
            return None
        grab_ns = time.perf_counter_ns()
        pixels = np.full((self._settings.height, self._settings.width, 3), 127, np.uint8)  # BGR
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns())
        self._index += 1
        return frame


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `{name}`."""
    return CaptureFactory("{name}", {Class}, Settings, "frames of a plain colour")
''',
    ),
    "detector": (
        "import numpy as np\nfrom pydantic import Field\n\n"
        "from reticle import Context, DetectorFactory, Detections, Frame, PluginSettings, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    threshold: int = Field(200, ge=0, le=255, description="Pixels brighter than this belong to a target.")


class {Class}:
    """Finds the bright pixels of a frame, as one box; put your own detection in its place."""

    names = ("bright",)

    def __init__(self, settings: Settings, context: Context) -> None:
        self._threshold = settings.threshold

    def detect(self, frame: Frame) -> Detections:
        """Return what is in the frame: boxes xyxy in its pixels, float32."""
        rows, columns = np.nonzero(frame.pixels[:, :, :3].max(axis=2) > self._threshold)
        if not len(rows):
            return Detections.empty()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `{name}`."""
    return DetectorFactory("{name}", {Class}, Settings, "the bright pixels of a frame, as one box")
''',
    ),
    "selection": (
        "from pydantic import Field\n\n"
        "from reticle import Context, Detections, Frame, PluginSettings, SelectionFactory, Target, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    min_area_px: float = Field(0.0, ge=0, description="Boxes smaller than this are ignored, square pixels.")


class {Class}:
    """Picks the detection that fills the most of the picture; put your own choice in its place."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._min_area_px = settings.min_area_px
        self._crosshair = context.crosshair

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the detection to aim at, or None when there is none."""
        sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
        areas = sides[:, 0] * sides[:, 1]
        if not len(areas) or areas.max() < self._min_area_px:
            return None
        best = int(areas.argmax())
        left, top, right, bottom = detections.xyxy[best].tolist()
        x, y = (left + right) / 2, (top + bottom) / 2
        return Target(
            box=(left, top, right, bottom),
            class_id=int(detections.class_id[best]),
            confidence=float(detections.confidence[best]),
            aim_x=x,
            aim_y=y,
            error_x=x - self._crosshair[0] * frame.width,
            error_y=y - self._crosshair[1] * frame.height,
            at_ns=detections.at_ns,
        )


@hookimpl
def reticle_selection() -> SelectionFactory:
    """Offer `{name}`."""
    return SelectionFactory("{name}", {Class}, Settings, "the detection that fills the most of the picture")
''',
    ),
    "controller": (
        "from pydantic import Field\n\n"
        "from reticle import IDLE, Action, Context, ControllerFactory, Frame, PluginSettings, Target, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    step: int = Field(5, gt=0, description="The counts that one action moves by.")
    near_px: float = Field(4.0, ge=0, description="An aim error smaller than this is left alone, pixels.")


class {Class}:
    """Steps towards the target; put your own decision in its place."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self.steps = 0
        """Those that were carried out."""

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        self.steps = 0

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame; change nothing that would have to be taken back."""
        if target is None or abs(target.error_x) < self._settings.near_px:
            return IDLE
        return Action(self._settings.step if target.error_x > 0 else -self._settings.step, 0)

    def sent(self, action: Action, frame: Frame) -> None:
        """Take note of what was carried out: the decided action, or an idle one."""
        self.steps += not action.idle


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `{name}`."""
    return ControllerFactory("{name}", {Class}, Settings, "steps towards the target")
''',
    ),
    "actuation": (
        "from pydantic import Field\n\nfrom reticle import Action, ActuationFactory, Context, PluginSettings, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    scale: float = Field(1.0, gt=0, description="What an action's counts are multiplied by.")


class {Class}:
    """Adds up where the mouse would be; put your own device in its place.

    One that moves the real mouse or presses real keys says `reaches="desktop"` below, or nothing.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._scale = settings.scale
        self.x = self.y = 0.0
        self.buttons = 0

    def apply(self, action: Action) -> None:
        """Move by the action's counts, then press and release so that just its buttons are down."""
        self.x += action.dx * self._scale
        self.y += action.dy * self._scale
        self.buttons = action.buttons

    def release(self) -> None:
        """Release every button. Called from any thread, at any time, more than once."""
        self.buttons = 0


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `{name}`."""
    return ActuationFactory("{name}", {Class}, Settings, "adds up where the mouse would be", reaches="nothing")
''',
    ),
    "observer": (
        "from pydantic import Field\n\n"
        "from reticle import Context, FrameEvent, ObserverFactory, PluginSettings, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    interval: int = Field(100, gt=0, description="Print a line for each frame whose number this divides.")


class {Class}:
    """Counts shots and prints a line now and then; put your own notes in its place."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._interval = settings.interval
        self.shots = 0

    def observe(self, event: FrameEvent) -> None:
        """Take one frame's event, on the observers' thread, after the fact."""
        self.shots += bool(event.sent and event.action.buttons)
        if event.frame.index % self._interval == 0:
            print(f"frame {event.frame.index}: {len(event.detections)} detections, {self.shots} shots so far")

    def close(self) -> None:
        """Finish; called once at the end of the run."""


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `{name}`."""
    return ObserverFactory("{name}", {Class}, Settings, "counts shots")
''',
    ),
    "guard": (
        "from pydantic import Field\n\n"
        "from reticle import Action, Context, Frame, GuardFactory, PluginSettings, hookimpl",
        '''class Settings(PluginSettings):
    """What a profile can set."""

    max_counts: int = Field(500, gt=0, description="An action that moves farther along an axis is vetoed, counts.")


class {Class}:
    """Vetoes large motions; put your own condition in its place."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._max_counts = settings.max_counts

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Return None to let the action pass, or the reason for a veto. It must be quick."""
        if max(abs(action.dx), abs(action.dy)) > self._max_counts:
            return f"more than {self._max_counts} counts at once"
        return None


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `{name}`."""
    return GuardFactory("{name}", {Class}, Settings, "no large motions")
''',
    ),
}

_TEST = '''"""The plugin does what its role asks for, and what it is for."""

import {module}

from reticle.testing import conforms


def test_it_conforms_to_its_role() -> None:
    conforms({module}.reticle_{role}())
'''

_PYPROJECT = """[project]
name = "reticle-{name}"
version = "0.1.0"
description = "The {role} {name} for Reticle"
requires-python = ">=3.11"

[project.entry-points."reticle.plugins"]
{name} = "{module}"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

_README = """# {name}

A {role} for Reticle. With Reticle's environment:

- test it: `python -m pytest`
- try it from its file: `agent.py plugins --plugin {module}.py`, and in a profile `{section}: {{plugin: {name}}}` with
  `--plugin {module}.py`
- install it: `pip install .`; then every profile can name it
"""


def files(role: str, name: str) -> dict[str, str]:
    """Return the files of a new plugin, by their paths in its folder.

    :param role: one of `agent.roles.ROLES`.
    :param name: small letters, digits and hyphens.
    """
    module = name.replace("-", "_")
    imports, body = _BODIES[role]
    words = {
        "name": name,
        "role": role,
        "Role": role.capitalize(),
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "imports": imports,
        "section": {"controller": "aim", "observer": "observers", "guard": "guards"}.get(role, role),
    }
    return {
        f"{module}.py": _filled(_HEAD + "\n" + body, words),
        f"tests/test_{module}.py": _filled(_TEST, words),
        "pyproject.toml": _filled(_PYPROJECT, words),
        "README.md": _filled(_README, words).replace("{{", "{").replace("}}", "}"),
    }


def _filled(template: str, words: dict[str, str]) -> str:
    """Put the words in; other braces, as those of f-strings, stay."""
    for key, value in words.items():
        template = template.replace("{" + key + "}", value)
    return template
