"""Fitting a network: epochs with a warm-up and a cosine, a moving average of the weights, the best kept by AP50.

After every epoch all of it is written down, so that a training which was cut off goes on with the same numbers.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from core.errors import UserError
from core.files import write_atomically
from core.progress import Progress
from core.text import to_json
from engine.boxes import Decoder, Rows
from engine.darknet import Network, Weights, random_weights, write_weights
from engine.keras_network import build_untrained, load, unload
from training.backend import on_cpu
from training.feed import Arrays, Feed, Make
from training.loss import HeadLoss
from training.samples import Augment, Batches, Picture
from training.targets import assign
from training.transfer import backbone

CONFIDENCE, NMS = 0.005, 0.45
"""How boxes are found for scoring; the figures are COCO's."""
SCORED_AT_ONCE = 16

Measure = Callable[[Sequence[Rows], Sequence[Picture]], tuple[float, float]]
"""AP and AP50, points, of what was found in pictures."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    `rate` is the highest learning rate (AdamW); `plain` the last part of the epochs, which have no mosaic; `half`
    computes in bfloat16 with float32 weights; `hold` leaves the layers that all heads share as they are, their
    batch-norm statistics too.
    """

    epochs: int = 50
    batch: int = 16
    rate: float = 1e-3
    warm_up_epochs: float = 1.0
    decay: float = 5e-4
    average: float = 0.998
    plain: float = 0.15
    half: bool = False
    hold: bool = False
    workers: int = 2
    seed: int = 0
    augment: Augment = field(default_factory=Augment)


@dataclass(frozen=True)
class Score:
    """What a network scores on the validation set, points."""

    ap: float
    ap50: float


@dataclass
class Epoch:
    """What an epoch came to; the losses are means of its batches, AP values points."""

    epoch: int
    loss: float
    box: float
    objectness: float
    classes: float
    ap: float
    ap50: float


def fit(
    network: Network,
    start: Weights | None,
    pictures: Sequence[Picture],
    held_out: Sequence[Picture],
    measure: Measure,
    plan: Plan,
    folder: Path,
    progress: Progress,
    done: Callable[[Epoch | Score], None],
) -> tuple[Score | None, list[Epoch]]:
    """Train; leave `best.weights` (of the moving average), `last.weights` and `history.json` in a folder.

    What it begins with is scored first, and stays the best until an epoch is better.

    A training that was cut off in this folder goes on after its last whole epoch. Call `training.backend.choose` first.

    :param start: the weights to begin with; None begins with random ones.
    :param done: called with the score of `start` and after each epoch, but not with those of a call that was cut off.
    :return: the score of `start`, None where that is random, and the epochs.
    :raises UserError: the folder holds another training, cannot be written, or the loss is no number any more.
    """
    size = (network.width, network.height)
    batches = Batches(pictures, size, plan.batch, plan.augment, plan.seed)
    steps = len(batches)
    with contextlib.ExitStack() as stack:
        # Whatever is built afterwards in this process is built in float32.
        stack.callback(keras.mixed_precision.set_global_policy, "float32")
        feed = stack.enter_context(contextlib.closing(Feed(_batch_source(batches, network), steps, plan.workers)))
        keras.utils.set_random_seed(plan.seed)
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if plan.half else "float32")
        model = Trainable(network)
        load(model.body, network, start or first_weights(network, plan.seed))
        if plan.hold:
            _hold(model.body, network)
        optimizer = _optimizer(plan, steps)
        jit = False if keras.backend.backend() == "tensorflow" else "auto"
        model.compile(optimizer=optimizer, jit_compile=jit)
        optimizer.build(model.trainable_variables)
        first, history = _resume(folder, plan, network, model, optimizer)
        if start is not None and first is None:
            progress("scoring what it begins with", 0, 0)
            ap, ap50 = measure(_detect(model.body, network, held_out), held_out)
            first = Score(round(ap, 2), round(ap50, 2))
            write_weights(folder / "best.weights", network, start)
            done(first)
        for epoch in range(len(history), plan.epochs):
            best = max([-1.0 if first is None else first.ap50, *(e.ap50 for e in history)])
            said = f"epoch {epoch + 1} of {plan.epochs}" + (
                f", loss {history[-1].loss:.2f}, AP50 {history[-1].ap50:.1f} (best {best:.1f})" if history else ""
            )
            tell = _Tell(lambda done, said=said: progress(said, done, steps))  # type: ignore[misc]
            fed = feed.epoch(epoch, epoch < plan.epochs * (1 - plan.plain))
            data = ((images, tuple(targets)) for images, *targets in fed)
            logs = model.fit(data, verbose=0, shuffle=False, steps_per_epoch=steps, callbacks=[tell]).history
            loss = float(logs["loss"][-1])
            if not math.isfinite(loss):
                raise UserError(f"the loss is no number any more in epoch {epoch + 1}; use a lower learning rate")
            parts = [float(logs[name][-1]) for name in ("box", "objectness", "classes")]
            current = [ops.convert_to_numpy(v) for v in model.trainable_variables]
            optimizer.average_into(model.trainable_variables)
            ap, ap50 = measure(_detect(model.body, network, held_out), held_out)
            box, objectness, kinds = (round(part, 4) for part in parts)
            history.append(Epoch(epoch + 1, round(loss, 4), box, objectness, kinds, round(ap, 2), round(ap50, 2)))
            write_weights(folder / "last.weights", network, unload(model.body, network))
            # As they are told and stored: else what was rounded down to would be beaten by itself.
            if history[-1].ap50 > best:
                write_weights(folder / "best.weights", network, unload(model.body, network))
            for variable, value in zip(model.trainable_variables, current, strict=True):
                variable.assign(value)
            _save(folder, plan, network, model, optimizer, first, history)
            done(history[-1])
        return first, history


def _batch_source(batches: Batches, network: Network) -> Make:
    def make(epoch: int, index: int, mosaic: bool) -> Arrays:
        images, pictures = batches.get(epoch, index, mosaic)
        targets, boxes = assign(network, pictures)
        return [images, *(part for target in targets for part in (target.cells, target.values)), boxes]

    return make


def _hold(body: Any, network: Network) -> None:
    """Train nothing of the backbone."""
    held = backbone(network)
    names = {f"convolutional_{i}{part}" for i in held for part in ("", "_bn")}
    for layer in body.layers:
        if layer.name in names:
            layer.trainable = False


class Trainable(keras.Model):  # type: ignore[misc]
    """The network with its loss: takes uint8 RGB."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.body = build_untrained(network)
        self._head_losses = [HeadLoss(network, head) for head in network.heads]
        self._trackers = [keras.metrics.Mean(name=name) for name in ("box", "objectness", "classes")]
        self.build((None, network.height, network.width, network.channels))

    def call(self, image: Any, training: bool = False) -> Any:
        """Return the heads."""
        return self.body(ops.cast(image, "float32") / 255.0, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of all heads, and keep its parts as metrics."""
        del x, sample_weight, training
        *targets, boxes = y
        heads = y_pred if isinstance(y_pred, list | tuple) else [y_pred]
        given = zip(self._head_losses, heads, targets[::2], targets[1::2], strict=True)
        parts = [loss(raw, cells, values, boxes) for loss, raw, cells, values in given]
        sums = [sum(column) for column in zip(*parts, strict=True)]
        for tracker, value in zip(self._trackers, sums, strict=True):
            tracker.update_state(ops.stop_gradient(value))
        return sum(sums)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the metrics that the loss kept."""
        del x, y, y_pred, sample_weight
        return self.get_metrics_result()


class _Tell(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._tell(batch + 1)


class AveragedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW with a moving average of the weights, which are left as they are until the average is asked for.

    Keras puts the average in the weights' place whenever `fit` ends, so that each epoch would begin with it.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the weights as they are."""

    def average_into(self, variables: Any) -> None:
        """Put the moving average in the place of the weights."""
        super().finalize_variable_values(variables)


def _optimizer(plan: Plan, steps: int) -> Any:
    warm = max(1, round(plan.warm_up_epochs * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        plan.rate * 0.01,
        decay_steps=max(1, plan.epochs * steps - warm),
        alpha=0.01,
        warmup_target=plan.rate,
        warmup_steps=warm,
    )
    # A short training must not end with an average of its beginning.
    average = min(plan.average, max(0.0, 1 - 20 / (plan.epochs * steps)))
    optimizer = AveragedAdamW(
        schedule, weight_decay=plan.decay, global_clipnorm=10.0, use_ema=True, ema_momentum=average
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def first_weights(network: Network, seed: int) -> Weights:
    """Return what a training begins with: random weights, and hardly an object.

    Kernels have twice the usual variance, as rectifiers want (He et al., 2015).
    """
    weights = random_weights(network, seed, empty=True)
    for convolution, arrays in zip(network.convolutions, weights.arrays, strict=True):
        if convolution.batch_normalize:
            arrays["kernel"] *= np.float32(math.sqrt(2))
            arrays |= {
                "gamma": np.ones_like(arrays["gamma"]),
                "variance": np.ones_like(arrays["variance"]),
                "mean": np.zeros_like(arrays["mean"]),
                "beta": np.zeros_like(arrays["beta"]),
            }
    return weights


def _detect(body: Any, network: Network, pictures: Sequence[Picture]) -> list[Rows]:
    """Return what the network finds, by OpenVINO where Keras would run on the CPU: in half the time."""
    decoder = Decoder(network, CONFIDENCE, NMS)
    pixels = [picture.pixels for picture in pictures]
    found = _by_openvino(body, network, pixels) if on_cpu() else _by_keras(body, pixels)
    return [decoder.decode(heads) for heads in found]


def _by_openvino(body: Any, network: Network, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[Any]]:
    # Not needed, and not always installed, where a card trains.
    from engine.onnx_graph import to_onnx
    from engine.runtimes.openvino import OpenVinoEngine

    engine = OpenVinoEngine(to_onnx(network, unload(body, network)).SerializeToString())
    for pixels in pictures:
        np.multiply(pixels[:, :, ::-1].transpose(2, 0, 1), np.float32(1 / 255), out=engine.input[0])
        yield engine.infer()


def _by_keras(body: Any, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[Any]]:
    for i in range(0, len(pictures), SCORED_AT_ONCE):
        part = [pixels[:, :, ::-1] for pixels in pictures[i : i + SCORED_AT_ONCE]]
        filled = part + [part[-1]] * (SCORED_AT_ONCE - len(part))  # one shape, so that nothing is compiled again
        # Called as it is: predict() would give jax the weights away, which the next epoch still needs.
        heads = body(np.stack(filled).astype(np.float32) / 255, training=False)
        heads = heads if isinstance(heads, list | tuple) else [heads]
        heads = [np.asarray(ops.convert_to_numpy(ops.cast(head, "float32"))) for head in heads]
        yield from ([head[k] for head in heads] for k in range(len(part)))


def _key(plan: Plan, network: Network) -> dict[str, Any]:
    return {"cfg": network.text, "size": [network.width, network.height], "plan": asdict(plan)}


def _save(
    folder: Path,
    plan: Plan,
    network: Network,
    model: Any,
    optimizer: Any,
    first: Score | None,
    history: Sequence[Epoch],
) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for name, values in (("model", model.body.weights), ("optimizer", optimizer.variables)):
        arrays |= {f"{name}_{i}": ops.convert_to_numpy(v) for i, v in enumerate(values)}
    start = None if first is None else asdict(first)
    done = {**_key(plan, network), "start": start, "history": [asdict(epoch) for epoch in history]}
    stream = io.BytesIO()
    # One file, so that weights and history are always of the same epoch.
    np.savez(stream, state=np.frombuffer(json.dumps(done).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    write_atomically(folder / "state.npz", stream.getvalue())
    write_atomically(folder / "history.json", to_json(done["history"], indent=1))


def _resume(folder: Path, plan: Plan, network: Network, model: Any, optimizer: Any) -> tuple[Score | None, list[Epoch]]:
    path = folder / "state.npz"
    if not path.is_file():
        return None, []
    try:
        with np.load(path) as stored:
            state = json.loads(stored["state"].tobytes())
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: the training cannot be read ({error}); remove the folder to begin anew") from error
    for key, value in json.loads(json.dumps(_key(plan, network))).items():
        if state.get(key) != value:
            raise UserError(
                f"{folder}: a training with another {key} was begun here; give the same options to go on with it, or "
                "remove the folder to begin anew"
            )
    for name, variables in (("model", model.body.weights), ("optimizer", optimizer.variables)):
        for i, variable in enumerate(variables):
            variable.assign(arrays[f"{name}_{i}"])
    start = state.get("start")
    return None if start is None else Score(**start), [Epoch(**epoch) for epoch in state["history"]]
