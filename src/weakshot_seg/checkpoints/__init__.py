"""Reading checkpoints and model folders, and building modules of them."""
