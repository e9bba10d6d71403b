"""C51's settings in Value Flows' experiments: arXiv 2510.07650, official code."""

OFFLINE = {
    "cube-double": {"discount": 0.995, "num_atoms": 101},
    "cube-triple": {"discount": 0.995},
    "scene": {},
    "puzzle-3x3": {"discount": 0.995, "num_atoms": 101},
    "puzzle-4x4": {"num_atoms": 101, "q_agg": "min"},
}
