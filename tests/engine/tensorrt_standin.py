"""A stand-in for TensorRT's running half, for cards that TensorRT for RTX refuses and machines without the builder.

It has the names and signatures of the real modules that `engine.tensorrt_engine` uses (a test compares them), and its
`execute_async_v3` puts the real network on the given stream, at the given addresses, by ONNX Runtime: so buffers, types,
order, capture as a CUDA graph, replay and errors are executed. An "engine" is the serialized ONNX graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__version__ = "10.0.0.standin"


class Logger:
    """As tensorrt.Logger."""

    ERROR = 1

    def __init__(self, min_severity: Any = ERROR) -> None:
        self.min_severity = min_severity


class TensorIOMode:
    """As tensorrt.TensorIOMode."""

    NONE, INPUT, OUTPUT = "none", "input", "output"


def nptype(trt_type: Any) -> Any:
    """Return numpy's type of one of TensorRT's."""
    return trt_type


class Runtime:
    """As tensorrt.Runtime."""

    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """Return the engine; None, as TensorRT does, where it is none."""
        import onnx

        try:
            graph = onnx.load_from_string(serialized_engine).graph
        except Exception:
            return None
        return ICudaEngine(serialized_engine, graph) if graph.node else None


class ICudaEngine:
    """As tensorrt.ICudaEngine."""

    def __init__(self, blob: bytes, graph: Any) -> None:
        self.blob = blob
        self._values = [(value, TensorIOMode.INPUT) for value in graph.input]
        self._values += [(value, TensorIOMode.OUTPUT) for value in graph.output]

    @property
    def num_io_tensors(self) -> int:
        """How many inputs and outputs there are."""
        return len(self._values)

    def get_tensor_name(self, index: int) -> str:
        """Return the name of the tensor with that number."""
        return self._values[index][0].name

    def get_tensor_mode(self, name: str) -> str:
        """Tell an input from an output."""
        return next(mode for value, mode in self._values if value.name == name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return its shape, -1 for what is not fixed."""
        kind = next(value for value, _ in self._values if value.name == name).type.tensor_type
        return tuple(dim.dim_value or -1 for dim in kind.shape.dim)

    def get_tensor_dtype(self, name: str) -> Any:
        """Return its type."""
        import onnx

        kind = next(value for value, _ in self._values if value.name == name).type.tensor_type
        return onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).type

    def create_execution_context(self) -> IExecutionContext:
        """Return a context."""
        return IExecutionContext(self)


class IExecutionContext:
    """As tensorrt.IExecutionContext."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._session: Any = None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Fix an input's shape."""
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Say where a tensor is."""
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put the network on the stream."""
        if self._session is None:
            self._begin(stream_handle)
        session, binding, options = self._session
        session.run_with_iobinding(binding, options)
        return True

    def _begin(self, stream: int) -> None:
        import onnxruntime

        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        provider = ("CUDAExecutionProvider", {"user_compute_stream": str(stream), "use_tf32": "0"})
        session = onnxruntime.InferenceSession(self._engine.blob, providers=[provider])
        binding = session.io_binding()
        for i in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(i)
            shape = self._shapes.get(name) or (1, *self._engine.get_tensor_shape(name)[1:])
            place = (name, "cuda", 0, np.dtype(self._engine.get_tensor_dtype(name)), shape, self._addresses[name])
            incoming = self._engine.get_tensor_mode(name) == TensorIOMode.INPUT
            (binding.bind_input if incoming else binding.bind_output)(*place)
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._session = session, binding, options
