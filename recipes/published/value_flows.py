"""Value Flows' settings in its experiments: arXiv 2510.07650, official code."""

OFFLINE = {
    "cube-double": {"discount": 0.995, "confidence_weight_temp": 3.0},
    "cube-triple": {"discount": 0.995, "bcfm_lambda": 3.0, "confidence_weight_temp": 0.03},
    "scene": {"ret_agg": "min"},
    "puzzle-3x3": {"bcfm_lambda": 0.5, "ret_agg": "min"},
    "puzzle-4x4": {"bcfm_lambda": 3.0, "confidence_weight_temp": 100.0, "q_agg": "min"},
}
ONLINE = {
    "antmaze-large": {"bcfm_lambda": 10.0, "confidence_weight_temp": 0.01, "alpha": 30.0, "q_agg": "min"},
    "humanoidmaze-medium": {
        "discount": 0.995,
        "bcfm_lambda": 3.0,
        "alpha": 100.0,
        "q_agg": "min",
        "ret_agg": "min",
    },
    "cube-double": OFFLINE["cube-double"] | {"alpha": 300.0},
    "cube-triple": OFFLINE["cube-triple"] | {"alpha": 300.0},
    "scene": OFFLINE["scene"] | {"alpha": 300.0},
    "puzzle-4x4": {"bcfm_lambda": 3.0, "confidence_weight_temp": 0.1, "alpha": 300.0, "q_agg": "min"},
}
