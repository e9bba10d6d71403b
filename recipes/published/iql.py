"""IQL's settings in FQL's experiments: arXiv 2502.02538, table 6, and appendix E for the networks in manipulation
tasks."""

_SMALL = {"actor_hidden_dims": (256, 256, 256, 256), "value_hidden_dims": (256, 256, 256, 256)}

OFFLINE = {
    "antmaze-large": {"alpha": 10.0},
    "antmaze-giant": {"alpha": 10.0, "discount": 0.995},
    "humanoidmaze-medium": {"alpha": 10.0, "discount": 0.995},
    "humanoidmaze-large": {"alpha": 10.0, "discount": 0.995},
    "antsoccer-arena": {"alpha": 1.0, "discount": 0.995},
    "cube-single": {"alpha": 1.0, **_SMALL},
    "cube-double": {"alpha": 0.3, **_SMALL},
    "scene": {"alpha": 10.0, **_SMALL},
    "puzzle-3x3": {"alpha": 10.0, **_SMALL},
    "puzzle-4x4": {"alpha": 3.0, **_SMALL},
}
VISUAL = {
    "visual-cube-single": {"alpha": 1.0},
    "visual-cube-double": {"alpha": 0.3},
    "visual-scene": {"alpha": 10.0},
    "visual-puzzle-3x3": {"alpha": 10.0},
    "visual-puzzle-4x4": {"alpha": 3.0},
}
