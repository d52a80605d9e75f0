"""The Lightning module, optimiser, metrics and callbacks."""
