"""The faults that the tests must catch. A fault joins by one entry in the file of its room."""

from .agent import AGENT
from .chunks import CHUNKS
from .critics import CRITICS
from .fault import Fault as Fault
from .flow import FLOW
from .goals import GOALS
from .networks import NETWORKS
from .pixels import PIXELS
from .policies import POLICIES
from .shards import SHARDS
from .successor import SUCCESSOR
from .training import TRAINING


FAULTS = FLOW + NETWORKS + CRITICS + POLICIES + SUCCESSOR + AGENT + TRAINING + CHUNKS + SHARDS + PIXELS + GOALS
