"""InFOM's settings on the manipulation environments of OGBench: arXiv 2506.08902, and its official code."""

OFFLINE = {
    "cube-single": {"latent_dim": 512, "kl_weight": 0.05, "expectile": 0.95, "alpha": 30.0},
    "cube-double": {"latent_dim": 128, "kl_weight": 0.025, "expectile": 0.9, "alpha": 30.0},
    "scene": {"latent_dim": 128, "kl_weight": 0.2, "expectile": 0.99, "alpha": 300.0},
    "puzzle-4x4": {"latent_dim": 128, "kl_weight": 0.1, "expectile": 0.95, "alpha": 300.0},
}
