"""Play an episode of Doom and look on between the roles: how far off the aim is when it shoots."""

from dataclasses import replace

import numpy as np

import reticle

errors: list[float] = []


class Watched:
    """A controller that notes the aim error of each shot and decides as the profile's does."""

    def __init__(self, controller: reticle.Controller) -> None:
        self._controller = controller

    def decide(self, target: reticle.Target | None, frame: reticle.Frame) -> reticle.Action:
        """Decide as the profile's controller does."""
        action = self._controller.decide(target, frame)
        if target is not None and action.buttons & reticle.LEFT:
            errors.append(float(np.hypot(target.error_x, target.error_y)))
        return action

    def sent(self, action: reticle.Action, frame: reticle.Frame) -> None:
        """Hand it on."""
        self._controller.sent(action, frame)

    def begin(self, episode: int) -> None:
        """Hand it on."""
        if isinstance(self._controller, reticle.Stateful):
            self._controller.begin(episode)


def watch(roles: reticle.ActiveRoles, context: reticle.Context) -> reticle.ActiveRoles:
    """Put the watched controller in the place of the profile's."""
    return replace(roles, controller=Watched(roles.controller))


result = reticle.play("doom.yaml", episodes=1, seed=4, overrides=["detector.engine=openvino"], middleware=[watch])
if result.error is not None:
    raise result.error
report = result.to_dict()
infer = report["stages_ms"]["infer"]
print(f"{report['frames']} frames, {report['episodes'][0]['kills']} kills; the network takes {infer['p50']} ms (p50)")
print(f"{len(errors)} frames with the trigger down, aim error {np.median(errors):.1f} px (median)")
