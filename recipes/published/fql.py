"""FQL's settings: arXiv 2502.02538, tables 6 and 7; as the baseline of floq, arXiv 2509.06863."""

OFFLINE = {
    "antmaze-large": {"q_agg": "min"},
    "antmaze-giant": {"discount": 0.995, "q_agg": "min"},
    "humanoidmaze-medium": {"discount": 0.995, "alpha": 30.0},
    "humanoidmaze-large": {"discount": 0.995, "alpha": 30.0},
    "antsoccer-arena": {"discount": 0.995},
    "cube-single": {"alpha": 300.0},
    "cube-double": {"alpha": 300.0},
    "scene": {"alpha": 300.0},
    "puzzle-3x3": {"alpha": 1000.0},
    "puzzle-4x4": {"alpha": 1000.0},
}
VISUAL = {
    "visual-cube-single": {"alpha": 300.0},
    "visual-cube-double": {"alpha": 100.0},
    "visual-scene": {"alpha": 100.0},
    "visual-puzzle-3x3": {"alpha": 300.0},
    "visual-puzzle-4x4": {"alpha": 300.0},
}
BASELINE_OF_FLOQ = OFFLINE | {"humanoidmaze-large": OFFLINE["humanoidmaze-large"] | {"batch_size": 512}}
ONLINE = OFFLINE | {
    "humanoidmaze-medium": OFFLINE["humanoidmaze-medium"] | {"alpha": 100.0},
    "humanoidmaze-large": BASELINE_OF_FLOQ["humanoidmaze-large"] | {"alpha": 40.0},
    "antsoccer-arena": OFFLINE["antsoccer-arena"] | {"alpha": 30.0},
}
