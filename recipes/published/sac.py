"""RLPD's settings in FQL's offline-to-online experiments: arXiv 2502.02538 and its official code."""

ONLINE = {
    "humanoidmaze-medium": {"discount": 0.995},
    "antsoccer-arena": {"discount": 0.995},
    "cube-double": {},
    "scene": {},
    "puzzle-4x4": {},
}
