"""Calls into packages of systems that this one is not, held to the packages' own text."""

import ast
import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.types import LEFT, MIDDLE, RIGHT
from core.errors import UserError
from plugins.actuation.quartz import QuartzMouse
from plugins.capture import dxgi, portal, wgc
from plugins.capture.region import RegionSettings
from plugins.desktop import quartz, uinput
from tests.agent.fakes import context

PACKAGES = {
    "x86_64-pc-windows-msvc": ("dxcam", "windows-capture"),
    "aarch64-apple-darwin": ("pyobjc-framework-Quartz",),
    "x86_64-manylinux_2_35": ("evdev-binary", "pipewire-capture"),
}
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locked versions' files."""
    locked = dict(re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text()))
    folder = tmp_path_factory.mktemp("packages")
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the PATH")
    for system, names in PACKAGES.items():
        wanted = [f"{name}=={locked[name.lower()]}" for name in names]
        options = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--target", str(folder)]
        done = subprocess.run(
            [uv, "pip", "install", "-q", "--python-platform", system, *options, *wanted], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"{', '.join(names)} cannot be fetched: {done.stderr.strip()[-200:]}")
    return folder


def parameters(path: Path, name: str) -> list[str]:
    """Of a function, or of a class's constructor, in a file of Python."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            node = next(each for each in node.body if getattr(each, "name", "") == "__init__")
        elif not (isinstance(node, ast.FunctionDef) and node.name == name):
            continue
        return [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    raise AssertionError(f"{path.name} has no {name}")


def keywords(module: object, name: str) -> set[str]:
    """With which our module calls something of that name."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    found = [call for call in calls if ast.unparse(call.func).split(".")[-1] == name]
    assert found, f"{module} calls no {name}"
    return {keyword.arg for call in found for keyword in call.keywords}


def test_dxcam(packages: Path) -> None:
    home = packages / "dxcam"
    assert keywords(dxgi, "create") <= set(parameters(home / "__init__.py", "create"))
    assert keywords(dxgi, "grab") <= set(parameters(home / "dxcam.py", "grab"))
    camera = (home / "dxcam.py").read_text()
    assert "self._output: Output = output" in camera
    assert "def release(self) -> None:" in camera
    assert "self.desc.DesktopCoordinates.left" in (home / "core" / "output.py").read_text()
    assert '"BGRA"' in (home / "types.py").read_text()
    assert "self.outputs[device_idx][output_idx]" in (home / "__init__.py").read_text(), "IndexError past the last"


def test_windows_capture(packages: Path) -> None:
    source = packages / "windows_capture" / "__init__.py"
    assert keywords(wgc, "_make") <= set(parameters(source, "WindowsCapture"))
    text = source.read_text()
    for used in ("self.frame_handler(frame, ", "self.closed_handler()", "def start_free_threaded", "self.frame_buffer"):
        assert used in text
    assert parameters(source, "stop") == ["self"]


def test_quartz(packages: Path) -> None:
    metadata = (packages / "Quartz" / "CoreGraphics" / "_metadata.py").read_text()
    source = inspect.getsource(quartz)
    names = set(re.findall(r"\b(kCG\w+|CG[A-Z]\w+)", source)) - {"kCGEvent", "kCGMouseButton"}
    for button in quartz.BUTTONS.values():
        names |= {f"kCGEvent{button}Mouse{what}" for what in ("Down", "Up", "Dragged")}
    names |= {f"kCGMouseButton{name}" for name in ("Left", "Right", "Center")}
    assert len(names) > 15
    assert not {name for name in names if name not in metadata}


def test_pipewire_capture(packages: Path) -> None:
    text = (packages / "pipewire_capture" / "__init__.py").read_text()
    assert {"PortalCapture", "CaptureStream", "is_available"} <= set(re.findall(r"\w+", text))
    native = (packages / "pipewire_capture" / "_native.abi3.so").read_bytes()
    for name in ("select_window", "get_frame", "window_invalid", "error", "node_id", "capture_interval", "stop"):
        assert name.encode() in native


def test_evdev(packages: Path) -> None:
    home = packages / "evdev"
    assert parameters(home / "uinput.py", "UInput")[:3] == ["self", "events", "name"]
    assert "UInputError" in (home / "__init__.py").read_text()


def test_a_button_of_the_kernels_device_goes_up_by_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "device"
    with path.open("wb") as file:
        uinput.send(file.fileno(), (uinput.EV_REL, uinput.REL_X, -3), (uinput.EV_KEY, uinput.BUTTONS[LEFT], 1))
        uinput.let_go(file.fileno(), LEFT | MIDDLE)
    events = [event[2:] for event in uinput._EVENT.iter_unpack(path.read_bytes())]
    assert events == [
        (uinput.EV_REL, uinput.REL_X, -3),
        (uinput.EV_KEY, 0x110, 1),
        (uinput.EV_SYN, 0, 0),
        (uinput.EV_KEY, 0x110, 0),
        (uinput.EV_KEY, 0x112, 0),
        (uinput.EV_SYN, 0, 0),
    ]
    assert uinput.BUTTONS[RIGHT] == 0x111


@pytest.mark.skipif(not Path("/dev/uinput").exists(), reason="this kernel has no /dev/uinput")
def test_the_kernels_device_moves_and_presses() -> None:
    import evdev

    from agent.types import Action
    from plugins.actuation.uinput import UinputMouse

    mouse = UinputMouse(None, context())
    try:
        device = evdev.InputDevice(mouse._device.device.path)
        mouse.apply(Action(5, -2, LEFT))
        mouse.release()
        got = [(event.type, event.code, event.value) for event in device.read() if event.type]
    finally:
        mouse.close()
    assert got == [(2, 0, 5), (2, 1, -2), (1, 0x110, 1), (1, 0x110, 0)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: dxgi.dxgi_capture(RegionSettings(), context()), "the capture dxgi is Windows' own; use mss"),
        (lambda: wgc.wgc_capture(RegionSettings(), context()), "the capture wgc is Windows' own; use mss"),
        (lambda: QuartzMouse(100), "needs the package pyobjc-framework-Quartz, which is not installed"),
        (lambda: portal.portal_capture(RegionSettings(window="x"), context()), "takes no window"),
    ],
)
def test_what_another_system_has_is_refused_in_one_sentence(make, says: str, display: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
