"""IQN's settings in Value Flows' experiments: arXiv 2510.07650, official code.

For the two mazes in offline-to-online training, no discount is stated, so we use the discounts of FQL's experiments
(arXiv 2502.02538).
"""

OFFLINE = {
    "cube-double": {"discount": 0.995, "kappa": 0.9},
    "cube-triple": {"discount": 0.995, "kappa": 0.8},
    "scene": {"kappa": 0.95},
    "puzzle-3x3": {"discount": 0.995, "kappa": 0.8},
    "puzzle-4x4": {"kappa": 0.95},
}
ONLINE = OFFLINE | {
    "antmaze-large": {"kappa": 0.7},
    "humanoidmaze-medium": {"discount": 0.995, "kappa": 0.7},
    "puzzle-4x4": {"kappa": 0.8},
}
