"""The runtime `tensorrt-lean`: NVIDIA's runtime without a builder, for engines that later versions can run too."""

from __future__ import annotations

from engine.runtime import Runtime
from engine.tensorrt_engine import engine_name, load

RUNTIME = Runtime(
    "tensorrt-lean",
    load,
    packages=("tensorrt_lean", "tensorrt_lean_bindings"),
    install="start with `uv run --extra trt-lean agent.py` (without uv: `pip install tensorrt-lean-cu13-libs "
    "tensorrt-lean-cu13-bindings cuda-bindings`)",
    distributions=("tensorrt-lean", "tensorrt-lean-cu13-libs"),
    one_size=True,
    needs=lambda precision: engine_name("tensorrt-lean", precision),
)
