"""``python -m weakshot_seg.train`` is ``weakshot train``."""

from weakshot_seg.cli.entry_point import run_command

if __name__ == "__main__":
    run_command("train")
