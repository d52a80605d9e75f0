"""Composing settings, and checking them before anything is built or written."""

from weakshot_seg.config import run_folders  # its resolvers are used in conf/hydra
from weakshot_seg.config.compose import conf_dir, plain

__all__ = ["conf_dir", "plain", "run_folders"]
