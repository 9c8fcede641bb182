"""Hands the tests over to an environment that has every engine, when uv runs them in the lean one.

`uv run agent.py` and `uv run pytest` share an environment, and the first must stay without TensorFlow. So
`uv run pytest` starts itself again with the extras. Loaded by `-p` before pytest captures any output.
"""

import importlib.util
import os
import subprocess
import sys

MARK = "RETICLE_TESTS_HANDED_OVER"
NEEDED = {
    "--extra tensorflow": "tensorflow",
    "--extra train": "tensorboardX",
    "--extra onnx": "onnxruntime",
    "--extra plots": "jinja2",
    "--extra trace": "perfetto",
    "--extra cluster": "ray",
    "--extra levdoom": "levdoom",
    "--extra rerun": "rerun",
    "--group tests": "trackers",
}
NEEDED |= {} if sys.platform == "darwin" else {"--extra trt-rtx": "tensorrt_rtx_bindings"}
NEEDED |= {"--extra trt-lean": "tensorrt_lean_bindings"} if sys.platform == "linux" else {}
"""A module by which each extra and group is known to be installed."""


def hand_over() -> None:
    uv = os.environ.get("UV")
    if not uv or MARK in os.environ or all(importlib.util.find_spec(module) for module in NEEDED.values()):
        return
    extras = [word for option in NEEDED for word in option.split()]
    print(f"the tests need every engine: going on with `uv run {' '.join(extras)} pytest`", file=sys.stderr, flush=True)
    command = [uv, "run", *extras, "python", "-m", "pytest", *sys.argv[1:]]
    sys.exit(subprocess.call(command, env={**os.environ, MARK: "1"}))


hand_over()
