"""What travels through the loop: Frame, Detections, Target, Action.

Boxes are `xyxy` in pixels of the frame, float32. Times are integer nanoseconds of
`time.perf_counter_ns()` and end in `_ns`; 0 means "not reached".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_FLOAT32, _INT32 = np.dtype(np.float32), np.dtype(np.int32)

LEFT, RIGHT, MIDDLE = 1, 2, 4
BUTTON_NAMES = {LEFT: "left", RIGHT: "right", MIDDLE: "middle"}

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action: whether it passed the interlock, and whether what the capture shows moved by it.

    In a dry run an action is sent, and nothing moves.
    """

    sent: bool
    moved: bool
    sent_ns: int = 0
    """In a recording, when it was sent (see `Frame.sent_ns`); 0 means at the frame's own time."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Frame:
    """One picture of the region, and when each stage of its way through the loop ended.

    `pixels` is uint8, (height, width, 3) in BGR or (height, width, 4) in BGRA, as the capture got it.
    It is read-only, since detectors, observers and the recording all see the same, and may be a view of a buffer that
    the capture reuses: whoever changes pixels, or keeps them past the frame, copies them.
    """

    pixels: NDArray[np.uint8]
    index: int
    grab_ns: int
    """When the grab began; end-to-end latency and the frame's age count from here."""
    grabbed_ns: int
    origin: tuple[int, int] = (0, 0)
    """Left and top of the region on the screen, pixels."""
    episode: int = 0
    at_ns: int = 0
    """When the picture was, nanoseconds on the clock of the run: real where the run is, the game's or the recording's
    in lock-step. What decides by time goes by this, so that it decides the same again. By default, the grab's begin."""
    recorded: Outcome | None = None
    """In a recording, what became of the frame's action then; None elsewhere."""
    cropped: bool = False
    """Whether the detector looked at a part of it alone; a detector that does says so here."""
    taken_ns: int = 0
    """When the loop took the frame up; what lies between grabbed and taken is waiting."""
    preprocessed_ns: int = 0
    inferred_ns: int = 0
    decoded_ns: int = 0
    selected_ns: int = 0
    acted_ns: int = 0
    sent_ns: int = 0
    """When its action was sent, on the clock of `at_ns`: live, when the actuation took it; in lock-step, `at_ns`."""

    def __post_init__(self) -> None:
        self.at_ns = self.at_ns or self.grab_ns
        if isinstance(self.pixels, np.ndarray):  # what is none is refused at the border
            self.pixels = self.pixels.view()  # the capture may go on writing into its own
            self.pixels.flags.writeable = False

    @property
    def width(self) -> int:
        """Pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class Detections:
    """Parallel arrays, one row a detection, checked once on construction.

    :param xyxy: float32 (n, 4), left, top, right, bottom in pixels of the frame.
    :param confidence: float32 (n,), 0 to 1.
    :param class_id: int32 (n,), an index into the detector's `names`.
    :raises ValueError: when a shape or dtype is another; the message says expected and actual.
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]
    at_ns: int = 0
    """When the picture they are of was (see `Frame.at_ns`); 0 means the frame they are given for."""

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        for name, array, shape, dtype in (
            ("xyxy", self.xyxy, (n, 4), _FLOAT32),
            ("confidence", self.confidence, (n,), _FLOAT32),
            ("class_id", self.class_id, (n,), _INT32),
        ):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"Detections.{name}: expected {dtype} {shape}, got {array.dtype} {array.shape}")

    def __len__(self) -> int:
        return len(self.xyxy)

    @staticmethod
    def empty() -> Detections:
        """No detections; always the same object, so that an empty frame allocates nothing."""
        return _NOTHING


_NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros((0,), np.float32), np.zeros((0,), np.int32))


@dataclass(frozen=True, slots=True)
class Target:
    """The detection to aim at.

    `aim_x`, `aim_y` are the aim point in pixels of the frame; `error_x`, `error_y` the aim error: pixels
    from the crosshair to the aim point, right and down positive.
    """

    box: Box
    class_id: int
    confidence: float
    aim_x: float
    aim_y: float
    error_x: float
    error_y: float
    at_ns: int = 0
    """When the picture was that it was seen in; 0 means the frame it is given for."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the hand does after one frame.

    `dx`, `dy` are relative motion in counts (right and down positive). `buttons` is the set of buttons
    that are down from now on, as a bit mask of LEFT, RIGHT, MIDDLE. `point` is the aim point on the
    screen in pixels, for actuation that is absolute; None when there is no target.
    """

    dx: int = 0
    dy: int = 0
    buttons: int = 0
    point: tuple[int, int] | None = None

    @property
    def idle(self) -> bool:
        """True when the action moves nothing and holds nothing."""
        return not (self.dx or self.dy or self.buttons or self.point)


IDLE = Action()


@dataclass(frozen=True, slots=True)
class Measure:
    """One score that an environment keeps of an episode.

    :param name: its key in reports, the unit included where it has one.
    :param description: what it counts.
    :param in_run: whether the table of a run shows it.
    :param in_arena: whether the arena's tables show it, as a mean over episodes.
    :param lower_is_better: as of a time or an error; otherwise the more the better.
    """

    name: str
    description: str
    in_run: bool = True
    in_arena: bool = True
    lower_is_better: bool = False


@dataclass(slots=True)
class Episode:
    """How one episode of an environment went: its scores, by the names of the environment's measures.

    A score is None where there is nothing to count or divide by.
    """

    scenario: str
    seed: int
    scores: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameEvent:
    """What happened to one frame, as observers get it, after the fact.

    `pixels` is a read-only copy of the frame's picture where an observer asked for it, else None. `sent` says whether
    the action was carried out, `moved` whether what the capture shows moves by it (see `Outcome`); `veto` is the
    guard's name and reason where one held it back.
    """

    frame: Frame
    detections: Detections
    target: Target | None
    action: Action
    sent: bool
    moved: bool
    veto: tuple[str, str] | None = None
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)
