"""The loss of YOLOv3 and YOLOv4: CIoU for boxes, binary cross-entropy for objectness and classes.

Sources: Zheng et al., Distance-IoU Loss, AAAI 2020 (CIoU); Darknet's yolo_layer.c for the rest: sums over a picture,
`iou_normalizer`, `obj_normalizer` and `cls_normalizer` of the cfg, and no penalty for objectness where a predicted box
overlaps some truth by more than `ignore_thresh`. With `objectness_smooth` the objectness of a box that is to learn a
truth learns its IoU with that in place of 1, as YOLOv5 has it; Darknet's does so for every box above `ignore_thresh`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from engine.darknet import Head, Network

EPSILON = 1e-7


class HeadLoss:
    """The loss of one head. All in float32, whatever the network computes in."""

    def __init__(self, network: Network, head: Head) -> None:
        layer = network.layers[head.index]
        height, width, _ = layer.shape
        y, x = np.mgrid[:height, :width]
        self._head = head
        self._shape = (height, width, len(head.anchors), 5 + head.classes)
        self._grid = np.stack((x, y), axis=-1)[None, :, :, None, :].astype(np.float32)
        self._stride = np.array((network.width / width, network.height / height), np.float32)
        self._anchors = np.array(head.anchors, np.float32)
        section = layer.section
        self._ignore = section.real("ignore_thresh", 0.5)
        self._smooth = section.real("objectness_smooth", 0.0) > 0
        self._weights = tuple(section.real(f"{name}_normalizer", 1.0) for name in ("iou", "obj", "cls"))

    def __call__(self, raw: Any, cells: Any, values: Any, boxes: Any) -> tuple[Any, Any, Any]:
        """Return the loss of boxes, of objectness and of classes, each summed over a picture, mean of the batch.

        :param raw: the head, (batch, h, w, anchors * (5 + classes)).
        :param cells: of `training.targets.Targets`, and `values` too; `boxes` as `assign` gives them.
        """
        raw = ops.reshape(ops.cast(raw, "float32"), (-1, *self._shape))
        target = self._spread(cells, values)
        predicted, objectness, classes = self._decoded(raw)
        there = target[..., 4]
        count = ops.cast(ops.shape(raw)[0], "float32")
        wanted = corners(target[..., :4])
        box_loss = ops.sum(there * (1 - ciou(predicted, wanted))) / count
        seen = self._best_overlap(ops.stop_gradient(predicted), boxes)
        background = (1 - there) * ops.cast(seen <= self._ignore, "float32")
        good = there * ops.stop_gradient(iou(predicted, wanted)) if self._smooth else there
        entropy = self._entropy(objectness, good)
        object_loss = ops.sum((there + background) * entropy) / count
        class_loss = ops.sum(there[..., None] * self._entropy(classes, target[..., 5:])) / count
        weights = self._weights
        return weights[0] * box_loss, weights[1] * object_loss, weights[2] * class_loss

    def _spread(self, cells: Any, values: Any) -> Any:
        """Return the targets where they belong, (batch, h, w, anchors, 5 + classes); zeros elsewhere."""
        batch = ops.shape(cells)[0]
        height, width, anchors, depth = self._shape
        size = height * width * anchors
        # One place more for what is nowhere. (ops.scatter adds, in a Python loop on torch.)
        first = ops.arange(batch, dtype="int32")[:, None] * (size + 1)
        places = ops.reshape(ops.cast(cells, "int32") + first, (-1, 1))
        empty = ops.zeros((batch * (size + 1), depth))
        flat = ops.scatter_update(empty, places, ops.reshape(values, (-1, depth)))
        return ops.reshape(ops.reshape(flat, (-1, size + 1, depth))[:, :size], (-1, *self._shape))

    def _decoded(self, raw: Any) -> tuple[Any, Any, Any]:
        head = self._head
        # Not in the constructor: a tensor belongs to the device, and to the graph, of the step it is made in.
        grid, stride, anchors = (ops.convert_to_tensor(x) for x in (self._grid, self._stride, self._anchors))
        xy, wh = raw[..., 0:2], raw[..., 2:4]
        if head.new_coords:
            wh = ops.square(2 * wh) * anchors
        else:
            xy = ops.sigmoid(xy)
            wh = ops.exp(ops.clip(wh, -20.0, 8.0)) * anchors
        xy = (xy * head.scale_x_y - 0.5 * (head.scale_x_y - 1) + grid) * stride
        return corners(ops.concatenate((xy, wh), axis=-1)), raw[..., 4], raw[..., 5:]

    def _entropy(self, x: Any, target: Any) -> Any:
        if self._head.new_coords:  # the convolution before the head is logistic already
            x = ops.clip(x, EPSILON, 1 - EPSILON)
            return -(target * ops.log(x) + (1 - target) * ops.log(1 - x))
        return ops.maximum(x, 0.0) - x * target + ops.log1p(ops.exp(-ops.abs(x)))

    def _best_overlap(self, predicted: Any, boxes: Any) -> Any:
        """Return each predicted box's largest IoU with a truth, (batch, h, w, anchors)."""
        height, width, anchors, _ = self._shape
        mine = ops.reshape(predicted, (-1, height * width * anchors, 1, 4))
        return ops.reshape(ops.max(iou(mine, boxes[:, None]), axis=-1), (-1, height, width, anchors))


def corners(boxes: Any) -> Any:
    """Return centre and size as xyxy."""
    half = boxes[..., 2:4] / 2
    return ops.concatenate((boxes[..., :2] - half, boxes[..., :2] + half), axis=-1)


def iou(a: Any, b: Any) -> Any:
    """Return the IoU of boxes xyxy that broadcast."""
    inside, union = _areas(a, b)
    return inside / (union + EPSILON)


def _areas(a: Any, b: Any) -> tuple[Any, Any]:
    low, high = ops.maximum(a[..., :2], b[..., :2]), ops.minimum(a[..., 2:], b[..., 2:])
    sides = ops.maximum(high - low, 0.0)
    inside = sides[..., 0] * sides[..., 1]
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    return inside, size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - inside


def ciou(a: Any, b: Any) -> Any:
    """Return the complete IoU of boxes xyxy, -1.5 to 1."""
    overlap = iou(a, b)
    around = ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2])
    diagonal = ops.sum(ops.square(around), axis=-1) + EPSILON
    apart = ops.sum(ops.square((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2), axis=-1)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    angle_a = ops.arctan(size_a[..., 0] / (size_a[..., 1] + EPSILON))
    angle_b = ops.arctan(size_b[..., 0] / (size_b[..., 1] + EPSILON))
    shape = 4 / math.pi**2 * ops.square(angle_b - angle_a)
    weight = ops.stop_gradient(shape / (1 - overlap + shape + EPSILON))
    return overlap - apart / diagonal - weight * shape
