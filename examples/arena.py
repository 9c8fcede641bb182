"""Score the shipped detector against the ground truth and against chance, with intervals."""

import reticle

result = reticle.arena("doom.yaml", episodes=4, baselines=["oracle", "random"], overrides=["detector.engine=openvino"])
for row in result.to_dict()["rows"]:
    kills = row["kills"]
    span = f"{kills['mean']:.1f} ({kills['low']:.1f} to {kills['high']:.1f})"
    print(f"{row['who']}: {span} kills in {row['episodes']} episodes")
