"""The programs beside the pages can be imported by the tests of the pages."""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
