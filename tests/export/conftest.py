"""Exports need their extra; without it these tests are skipped."""

import pytest


pytest.importorskip("onnxruntime")
pytest.importorskip("safetensors")
pytest.importorskip("torch")
