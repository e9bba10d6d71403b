"""A table that compares the runtimes of an export with JAX."""

from floqzoo.export.export import Exported
from floqzoo.export.readme import NAMES, checkpoint, reached
from floqzoo.results.text_table import text_table
from floqzoo.tasks.layouts import counted


COLUMNS = ["runtime", "golden inputs", "random inputs", "latency"]


def parity_text(exported: Exported) -> str:
    """Formats the measurements of an export as text.

    For each runtime, the text contains the latency and the largest difference of the outputs from those in JAX. If
    episodes were played, it also contains the results of the ONNX policy and the JAX policy in the environment.
    """
    rows = [
        [row.runtime, f"{row.golden:.1e}", f"{row.random:.1e}", f"{row.latency_ms:.3f} ms"] for row in exported.parity
    ]
    text = text_table("Largest difference from JAX", COLUMNS, rows)
    spec = exported.spec
    if spec["step"] is not None:
        text += f"{checkpoint(spec)}\n"
    played = spec["evaluation"]
    if played is None:
        return text
    onnx, jax = (reached(played, name) for name in ("onnx", "jax"))
    return (
        text
        + f"{NAMES[played['metric']]} in {counted(played['episodes'], 'episode')}: {onnx} in ONNX Runtime, {jax} in JAX\n"
    )
