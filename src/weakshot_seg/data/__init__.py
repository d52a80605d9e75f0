"""From files or generated scenes to batches in which the novel classes are known by image-level label only."""
