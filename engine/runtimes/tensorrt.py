"""The runtime `tensorrt`: NVIDIA's, with engines that conversion has built."""

from __future__ import annotations

from engine.runtime import Runtime
from engine.tensorrt_engine import engine_name, load

RUNTIME = Runtime(
    "tensorrt",
    load,
    packages=("tensorrt",),
    install="`pip install tensorrt cuda-bindings`",
    distributions=("tensorrt",),
    one_size=True,
    needs=lambda precision: engine_name("tensorrt", precision),
)
