"""A trained model as a folder that can be given away: weights, configuration and model card."""
