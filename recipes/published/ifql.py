"""IFQL's settings in FQL's experiments: arXiv 2502.02538, table 6 (N = 32 in all environments), and table 7 for
offline-to-online training; pixel tasks reuse the values of tasks with states."""

from recipes.published import with_pixels


OFFLINE = {
    "antmaze-large": {},
    "antmaze-giant": {"discount": 0.995},
    "humanoidmaze-medium": {"discount": 0.995},
    "humanoidmaze-large": {"discount": 0.995},
    "antsoccer-arena": {"discount": 0.995},
    "cube-single": {},
    "cube-double": {},
    "scene": {},
    "puzzle-3x3": {},
    "puzzle-4x4": {},
}
ONLINE = OFFLINE | {"antsoccer-arena": OFFLINE["antsoccer-arena"] | {"num_samples": 64}}
VISUAL = with_pixels(OFFLINE)
