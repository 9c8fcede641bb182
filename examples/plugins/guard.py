"""Guard `first-seconds`: nothing moves in the first seconds of a run, while the game still fades in."""

from pydantic import Field

from reticle import Action, Context, Frame, GuardFactory, PluginSettings, hookimpl


class Settings(PluginSettings):
    """What a profile can set."""

    seconds: float = Field(0.5, ge=0, description="How long, on the run's own clock.")


class FirstSeconds:
    """Vetoes by `Frame.at_ns`, so that a recording decides the same again."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._ns = int(settings.seconds * 1e9)
        self._first_ns: int | None = None

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto until the time is over."""
        if self._first_ns is None:
            self._first_ns = frame.at_ns
        return "the game has only begun" if frame.at_ns - self._first_ns < self._ns else None


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `first-seconds`."""
    return GuardFactory("first-seconds", FirstSeconds, Settings, "nothing moves in the first seconds")
