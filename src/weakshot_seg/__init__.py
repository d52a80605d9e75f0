"""Weak-shot semantic segmentation: masks for base classes, image tags for novel ones (SimFormer, arXiv 2210.02270)."""

__version__ = "0.1.0"
