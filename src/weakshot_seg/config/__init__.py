"""Composing settings, and checking them before anything is built or written."""

from weakshot_seg.config import presets as presets  # their resolvers are used in conf
from weakshot_seg.config import run_folders as run_folders
