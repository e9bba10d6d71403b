"""CODAC's settings in Value Flows' experiments: arXiv 2510.07650, official code. kappa is 0.95 in all environments."""

OFFLINE = {
    "cube-double": {"discount": 0.995, "alpha": 300.0},
    "cube-triple": {"discount": 0.995, "alpha": 100.0},
    "scene": {"alpha": 100.0},
    "puzzle-3x3": {"discount": 0.995, "alpha": 1000.0},
    "puzzle-4x4": {"alpha": 1000.0},
}
