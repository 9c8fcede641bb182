"""Guard `arm-key`: nothing moves unless a key is held (or was toggled); a panic key ends the run at once."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent.errors import UserError
from agent.hookspecs import Context, Maker, PluginSettings, hookimpl
from agent.types import Action, Frame


class Settings(PluginSettings):
    """Which keys. A key is one character, or pynput's name of it: shift, ctrl, alt, caps_lock, f8, pause."""

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
        try:
            # pynput looks for the display when it is imported, so not before it is needed.
            from pynput import keyboard
        except ImportError as error:
            raise UserError(
                "the arm key needs a keyboard to listen to, and pynput finds no display "
                f"({str(error).splitlines()[0]}): start it in a desktop session, with DISPLAY set"
            ) from error
        self._arm = _key(keyboard, "arm", settings.arm)
        self._panic_key = _key(keyboard, "panic", settings.panic)
        if self._arm == self._panic_key:
            raise UserError(f"arm-key: the arm key and the panic key are both {settings.arm!r}; use two keys")
        self._toggle = settings.mode == "toggle"
        self._panic = context.panic
        self._name = settings.panic
        self._reason = f"{settings.arm} is not held" if not self._toggle else f"{settings.arm} has not armed"
        self._armed = False
        self._down = False
        self._listener = keyboard.Listener(on_press=self._pressed, on_release=self._released)
        self._canonical = self._listener.canonical
        self._listener.start()
        self._listener.wait()

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto while disarmed, or when the listener has died and would not hear a panic."""
        if not self._listener.is_alive():
            return "the keyboard is no longer listened to"
        return None if self._armed else self._reason

    def close(self) -> None:
        """Stop listening, before the display goes."""
        self._listener.stop()
        self._listener.join(2.0)

    def _pressed(self, key: Any) -> None:
        key = self._same(key)
        if key == self._panic_key:
            self._armed = False
            self._panic(f"the panic key ({self._name})")
        elif key == self._arm and not self._down:  # a held key repeats
            self._down = True
            self._armed = not self._armed if self._toggle else True

    def _released(self, key: Any) -> None:
        if self._same(key) == self._arm:
            self._down = False
            if not self._toggle:
                self._armed = False

    def _same(self, key: Any) -> Any:
        """Return left and right Shift as Shift, and A as a."""
        return self._canonical(key) if key is not None else None


def _key(keyboard: Any, role: str, name: str) -> Any:
    if len(name) == 1:
        return keyboard.KeyCode.from_char(name.lower())
    try:
        # As the listener will report it: without the difference of left and right.
        key = keyboard.Key[name]
    except KeyError:
        raise UserError(
            f'arm-key: {role}: there is no key "{name}"; use one character or one of: '
            f"{', '.join(k.name for k in keyboard.Key)}"
        ) from None
    same = {"shift_l": "shift", "shift_r": "shift", "ctrl_l": "ctrl", "ctrl_r": "ctrl",
            "alt_l": "alt", "alt_r": "alt", "cmd_l": "cmd", "cmd_r": "cmd"}  # fmt: skip
    return keyboard.Key[same[name]] if name in same else key


@hookimpl
def reticle_guard() -> Maker:
    """Offer `arm-key`."""
    return Maker(
        "arm-key",
        ArmKeyGuard,
        Settings,
        "an arm key that is held or toggled, and a panic key",
        duties=frozenset({"arm", "panic"}),
        live_only=True,
    )
