"""Make a few hundred annotated frames of Doom, and measure the shipped detector on them."""

import subprocess
import sys
import tempfile
from pathlib import Path

import reticle

AGENT = Path(__file__).resolve().parent.parent / "agent.py"

with tempfile.TemporaryDirectory() as folder:
    data = Path(folder, "val")
    command = [sys.executable, AGENT, "collect", "--profile", "doom.yaml", "--frames", "200", "--seed", "9"]
    subprocess.run([*command, "--out", data], check=True)
    for precision in ("fp32", "int8"):
        result = reticle.evaluate(
            "doom-yolov4-tiny", data / "images", data / "instances.json", engine="openvino", precision=precision
        )
        print(f"{precision}: AP50 {result.ap50:.1f}, AP {result.ap:.1f} on {result.images} frames")
