"""RLPD's settings in FQL's experiments, offline-to-online: arXiv 2502.02538 and its official code."""

ONLINE = {
    "humanoidmaze-medium": {"discount": 0.995},
    "antsoccer-arena": {"discount": 0.995},
    "cube-double": {},
    "scene": {},
    "puzzle-4x4": {},
}
