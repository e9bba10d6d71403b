"""Export of trained policies to other runtimes, as ONNX, StableHLO, PyTorch and safetensors files."""

from floqzoo.export.agent_files import load_exported_agent as load_exported_agent
from floqzoo.export.export import Exported as Exported, export_policy as export_policy, export_run as export_run
from floqzoo.export.load_agent import load_agent as load_agent
from floqzoo.export.program import NotExportableError as NotExportableError
from floqzoo.export.runtimes import Parity as Parity, ParityError as ParityError
