"""The runtime `tensorrt-rtx`: TensorRT for RTX, with engines that conversion has built, on any machine."""

from __future__ import annotations

from engine.runtime import Runtime
from engine.tensorrt_engine import engine_name, load

RUNTIME = Runtime(
    "tensorrt-rtx",
    load,
    packages=("tensorrt_rtx", "tensorrt_rtx_bindings"),
    install="start with `uv run --extra trt-rtx agent.py` (without uv: `pip install tensorrt-rtx-cu13-libs "
    "tensorrt-rtx-cu13-bindings cuda-bindings`)",
    distributions=("tensorrt-rtx", "tensorrt-rtx-cu13-libs"),
    one_size=True,
    needs=lambda precision: engine_name("tensorrt-rtx", precision),
)
