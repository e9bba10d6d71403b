"""SORL's settings in its experiments: README of the official code of arXiv 2505.22866."""

OFFLINE = {
    "antmaze-large": {"q_loss_coef": 500.0, "q_agg": "min"},
    "antmaze-giant": {"q_loss_coef": 500.0, "q_agg": "min", "discount": 0.995},
    "humanoidmaze-medium": {"q_loss_coef": 100.0, "discount": 0.995},
    "humanoidmaze-large": {"q_loss_coef": 500.0, "discount": 0.995},
    "antsoccer-arena": {"q_loss_coef": 500.0, "discount": 0.995},
    "cube-single": {"q_loss_coef": 10.0},
    "cube-double": {"q_loss_coef": 50.0},
    "scene": {"q_loss_coef": 100.0},
}
