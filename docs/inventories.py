"""Links from the API pages into the documentation of JAX, Equinox, diffrax and optax.

Only with `DOCS_INVENTORIES=1`: without it a build makes no network requests, and these names are plain text.
"""

import os

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority


INVENTORIES = (
    "https://docs.jax.dev/en/latest/objects.inv",
    "https://docs.kidger.site/equinox/objects.inv",
    "https://docs.kidger.site/jaxtyping/objects.inv",
    "https://docs.kidger.site/diffrax/objects.inv",
    "https://optax.readthedocs.io/en/latest/objects.inv",
)


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> None:
    """Called once by MkDocs."""
    if os.environ.get("DOCS_INVENTORIES") == "1":
        config.plugins["mkdocstrings"].config.handlers["python"]["inventories"] = list(INVENTORIES)
