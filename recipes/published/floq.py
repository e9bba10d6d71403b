"""floq's settings: arXiv 2509.06863, tables of floq-def, floq-best and offline-to-online."""

DEFAULT = {
    "antmaze-large": {},
    "antmaze-giant": {"discount": 0.995, "batch_size": 512, "q_agg": "min"},
    "humanoidmaze-medium": {"discount": 0.995, "alpha": 30.0},
    "humanoidmaze-large": {"discount": 0.995, "batch_size": 512, "alpha": 20.0},
    "antsoccer-arena": {"discount": 0.995},
    "cube-single": {"alpha": 300.0, "block_depth": 2},
    "cube-double": {"alpha": 300.0, "block_depth": 2},
    "scene": {"alpha": 300.0},
    "puzzle-3x3": {"alpha": 1000.0},
    "puzzle-4x4": {"alpha": 1000.0},
}
BEST = DEFAULT | {
    "antmaze-giant": DEFAULT["antmaze-giant"] | {"critic_flow_steps": 4},
    "puzzle-4x4": DEFAULT["puzzle-4x4"] | {"noise_coverage": 0.25},
}
# The settings of arXiv 2603.04333.
ANALYSIS = BEST | {"humanoidmaze-large": DEFAULT["humanoidmaze-large"] | {"critic_flow_steps": 16}}
ONLINE = ANALYSIS | {"antsoccer-arena": DEFAULT["antsoccer-arena"] | {"alpha": 30.0}}
