"""Composing settings, and checking them before anything is built or written."""

from weakshot_seg.config import help, run_folders  # their resolvers are used in conf/hydra
from weakshot_seg.config.compose import conf_dir, plain

__all__ = ["conf_dir", "help", "plain", "run_folders"]
