"""How the runtimes of an export compare with JAX, as a table."""

from floqzoo.export.export import Exported
from floqzoo.results.text_table import text_table


COLUMNS = ["runtime", "golden inputs", "random inputs", "latency"]


def parity_text(exported: Exported) -> str:
    """The differences from JAX, the latencies, and the success rates."""
    rows = [
        [row.runtime, f"{row.golden:.1e}", f"{row.random:.1e}", f"{row.latency_ms:.3f} ms"] for row in exported.parity
    ]
    text = text_table("Largest difference from JAX", COLUMNS, rows)
    success = exported.spec["success"]
    if success is None:
        return text
    return text + (
        f"success in {success['episodes']} episodes: {100 * success['onnx']:.0f} % in ONNX Runtime, "
        f"{100 * success['jax']:.0f} % in JAX\n"
    )
