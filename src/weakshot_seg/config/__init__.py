"""Composing settings, and checking them before anything is built or written."""

from weakshot_seg.config import run_folders as run_folders  # its resolvers are used in conf/hydra
