"""ReBRAC's settings in FQL's experiments: arXiv 2502.02538, table 6; pixel tasks reuse the values of tasks with
states."""

from recipes.published import with_pixels


OFFLINE = {
    "antmaze-large": {"alpha_actor": 0.003, "alpha_critic": 0.01},
    "antmaze-giant": {"alpha_actor": 0.003, "alpha_critic": 0.01, "discount": 0.995},
    "humanoidmaze-medium": {"alpha_actor": 0.01, "alpha_critic": 0.01, "discount": 0.995},
    "humanoidmaze-large": {"alpha_actor": 0.01, "alpha_critic": 0.01, "discount": 0.995},
    "antsoccer-arena": {"alpha_actor": 0.01, "alpha_critic": 0.01, "discount": 0.995},
    "cube-single": {"alpha_actor": 1.0, "alpha_critic": 0.0},
    "cube-double": {"alpha_actor": 0.1, "alpha_critic": 0.0},
    "scene": {"alpha_actor": 0.1, "alpha_critic": 0.01},
    "puzzle-3x3": {"alpha_actor": 0.3, "alpha_critic": 0.01},
    "puzzle-4x4": {"alpha_actor": 0.3, "alpha_critic": 0.01},
}
VISUAL = with_pixels(OFFLINE)
