"""Weights of other implementations under our names and back. Knows tensors and names, not our modules."""
