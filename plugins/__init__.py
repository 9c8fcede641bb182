"""The built-in plugins: a folder a role and a file a plugin; a game and the desktop have folders of their own.

They use the same hooks as anyone else's.
"""

BUILT_IN = (
    "plugins.capture.mss",
    "plugins.capture.screen",
    "plugins.capture.dxgi",
    "plugins.capture.wgc",
    "plugins.capture.portal",
    "plugins.capture.footage",
    "plugins.capture.stream",
    "plugins.doom.capture",
    "plugins.openarena.capture",
    "plugins.openarena.colour",
    "plugins.detector.yolo",
    "plugins.detector.onnx",
    "plugins.detector.oracle",
    "plugins.selection.nearest",
    "plugins.selection.best",
    "plugins.selection.tracker",
    "plugins.controller.proportional",
    "plugins.controller.pid",
    "plugins.controller.predictive",
    "plugins.actuation.dry_run",
    "plugins.actuation.mouse",
    "plugins.actuation.uinput",
    "plugins.actuation.pynput",
    "plugins.actuation.environment",
    "plugins.observer.decisions",
    "plugins.observer.show",
    "plugins.observer.overlay",
    "plugins.observer.recorder",
    "plugins.observer.trace",
    "plugins.guard.arm_key",
    "plugins.guard.staleness",
    "plugins.guard.rate",
    "plugins.guard.window_title",
    "plugins.guard.process_argument",
)
"""Modules that the host loads by itself, in the order `agent.py plugins` lists them."""
