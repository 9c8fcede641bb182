"""What the loss asks of a box's objectness."""

import numpy as np
import pytest

from engine.darknet import parse_cfg
from tests.networks import CFG
from training.samples import Picture
from training.targets import assign

BOX = np.array([[10, 20, 50, 70]], np.float32)


@pytest.mark.slow  # it imports Keras
@pytest.mark.parametrize(("smooth", "part", "best"), [(0, 1.0, 1.0), (0, 0.5, 1.0), (1, 1.0, 1.0), (1, 0.5, 0.5)])
def test_objectness_learns_the_iou_where_the_cfg_says_so(smooth: int, part: float, best: float) -> None:
    """The box is predicted where it is, and `part` as wide: its IoU is `part`. Which objectness costs least?"""
    from training.loss import HeadLoss

    network = parse_cfg(CFG.replace("[yolo]", f"[yolo]\nobjectness_smooth={smooth}"), size=(64, 96))
    head = network.heads[0]
    height, width, _ = network.layers[head.index].shape
    targets, boxes = assign(network, [Picture(np.zeros((96, 64, 3), np.uint8), BOX, np.array([1]), np.array([False]))])
    cells, values = targets[0].cells, targets[0].values
    raw = np.full((height, width, len(head.anchors), 5 + head.classes), -20, np.float32)
    places = []
    for k in np.flatnonzero(values[0, :, 4] == 1):
        y, x, a = place = np.unravel_index(cells[0, k], raw.shape[:3])
        offset = np.array((values[0, k, 0] / 64 * width - x, values[0, k, 1] / 96 * height - y))
        offset = (offset + 0.5 * (head.scale_x_y - 1)) / head.scale_x_y
        raw[y, x, a, :2] = np.log(offset / (1 - offset))
        raw[y, x, a, 2:4] = np.log(values[0, k, 2:4] * (part, 1) / np.array(head.anchors[a]))
        places.append(place)
    assert places
    loss = HeadLoss(network, head)
    candidates = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1 - 1e-6])
    costs = []
    for objectness in candidates:
        for y, x, a in places:
            raw[y, x, a, 4] = np.log(objectness / (1 - objectness))
        costs.append(float(loss(raw.reshape(1, height, width, -1), cells, values, boxes)[1]))
    assert candidates[np.argmin(costs)] == pytest.approx(best, abs=1e-3)
