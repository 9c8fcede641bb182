"""The runtime `tensorflow`: the Keras network as one compiled TensorFlow graph, or by XLA."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.precision import Precision
from engine.engine import GraphStages, Model
from engine.runtime import Runtime


class TensorFlowEngine:
    """Runs a Keras model with batch 1, traced once."""

    layout: Literal["NHWC", "NCHW"] = "NHWC"

    def __init__(self, model: Any, xla: bool = False) -> None:
        import tensorflow as tf

        self.description = "XLA" if xla else "graph"
        _, height, width, channels = model.inputs[0].shape
        self.input: NDArray[Any] = np.zeros((1, height, width, channels), np.float32)
        signature = tf.TensorSpec(self.input.shape, tf.float32)

        @tf.function(input_signature=[signature], jit_compile=xla or None)  # type: ignore[untyped-decorator]
        def call(image: Any) -> Any:
            heads = model(image, training=False)
            return heads if isinstance(heads, list | tuple) else [heads]  # Keras gives one head as it is

        self._call = call.get_concrete_function()
        self._constant = tf.constant

    def infer(self) -> list[NDArray[np.float32]]:
        """Run; see `Engine.infer`."""
        heads = self._call(self._constant(self.input))
        return [head.numpy()[0] for head in heads]


def _load(model: Model, precision: Precision, stages: GraphStages, device: str) -> TensorFlowEngine:
    """Build the network by Keras and trace it.

    :raises UserError: Keras runs on another backend in this process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from engine.keras_network import backend, build

    if backend() != "tensorflow":
        raise UserError(
            f"Keras runs on {backend()} here, and the engine tensorflow needs it on TensorFlow: "
            "set KERAS_BACKEND=tensorflow"
        )
    return TensorFlowEngine(build(*model.darknet()), device == "xla")


RUNTIME = Runtime(
    "tensorflow",
    _load,
    packages=("tensorflow",),
    install="start with `uv run --extra tensorflow agent.py` (without uv: `pip install tensorflow`)",
    precisions=("fp32",),
    devices=("xla",),
    present=lambda: ("tensorflow", "tensorflow:xla"),
    distributions=("tensorflow", "keras", "numpy"),
    reads_onnx=False,
    darknet_only=True,
)
