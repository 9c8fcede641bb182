"""Guard `arm-key`: nothing moves unless a key is held (or was toggled); a panic key ends the run at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame
from plugins.desktop.keyboard import listen


class Settings(PluginSettings):
    """Which keys. A key is one character, or its name: shift, ctrl, alt, caps_lock, f8, pause."""

    arm: str = Field("shift", description="The key that arms.")
    mode: Literal["hold", "toggle"] = Field(
        "hold", description="`hold`: armed while it is down. `toggle`: each press arms or disarms."
    )
    panic: str = Field("pause", description="The key that releases everything and ends the run.")


class ArmKeyGuard:
    """Listens to the keyboard on a thread of its own.

    :raises UserError: there is no such key, both are the same, or the keyboard cannot be listened to.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._toggle = settings.mode == "toggle"
        self._panic = context.panic
        self._name = settings.panic
        self._reason = f"{settings.arm} is not held" if not self._toggle else f"{settings.arm} has not armed"
        self._armed = False
        self._down = False
        self._listener = listen({"arm": settings.arm, "panic": settings.panic}, self._changed)

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto while disarmed, or when the listener has died and would not hear a panic."""
        if not self._listener.is_alive():
            return "the keyboard is no longer listened to"
        return None if self._armed else self._reason

    def close(self) -> None:
        """Stop listening, before the display goes."""
        self._listener.close()

    def _changed(self, use: str, down: bool) -> None:
        if use == "panic":
            if down:
                self._armed = False
                self._panic(f"the panic key ({self._name})")
            return
        if down and not self._down:  # a held key repeats
            self._armed = not self._armed if self._toggle else True
        elif not down and not self._toggle:
            self._armed = False
        self._down = down


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `arm-key`."""
    return GuardFactory(
        "arm-key",
        ArmKeyGuard,
        Settings,
        "an arm key that is held or toggled, and a panic key",
        arm_key=lambda settings: settings.arm,
        panics=True,
        live_only=True,
    )
