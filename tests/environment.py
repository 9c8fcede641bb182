"""Hands the tests over to an environment that has TensorFlow, when uv runs them in the lean one.

`uv run agent.py` and `uv run pytest` share an environment, and the first must stay without TensorFlow. So
`uv run pytest` starts itself again with the extra. Loaded by `-p` before pytest captures any output.
"""

import importlib.util
import os
import subprocess
import sys

MARK = "RETICLE_TESTS_HANDED_OVER"


def hand_over() -> None:
    uv = os.environ.get("UV")
    if not uv or MARK in os.environ or importlib.util.find_spec("tensorflow") is not None:
        return
    print(
        "the tests need TensorFlow too: going on with `uv run --extra tensorflow pytest`", file=sys.stderr, flush=True
    )
    command = [uv, "run", "--extra", "tensorflow", "python", "-m", "pytest", *sys.argv[1:]]
    sys.exit(subprocess.call(command, env={**os.environ, MARK: "1"}))


hand_over()
