"""Exports need their extra; without it these tests are skipped. PyTorch, which is large, is tried where it is installed."""

import pytest


pytest.importorskip("onnxruntime")
pytest.importorskip("safetensors")
