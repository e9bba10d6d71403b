"""QC's published settings (arXiv 2507.07969 and its official code), which are the same for all environments with dense
rewards."""

QC = {"cube-double": {}, "cube-triple": {}}
BFN = {environment: {"chunk_length": 1, "num_samples": 4} for environment in QC}
