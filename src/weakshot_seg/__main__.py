"""The command ``weakshot``, also ``python -m weakshot_seg``: runs one of the commands below with settings KEY=VALUE."""

from __future__ import annotations

import difflib
import runpy
import sys

COMMANDS = {
    "train": "train a model, evaluate it, write metrics and pictures",
    "evaluate": "measure a checkpoint on validation images",
    "predict": "segment photos and videos",
    "pseudo-label": "label training images for the re-training stage",
    "check": "read a data set once and list everything wrong with it",
    "report": "compare runs: one page, Markdown and CSV",
    "export": "write a model as ONNX or torch.export file",
    "convert": "convert weights from and to detectron2 and Hugging Face",
    "app": "try a model in the browser",
    "card": "write a model as a folder to give away, with a model card",
}


def main() -> None:
    """Runs the command that the first argument names, with the other arguments.

    The command runs as the main module, so that processes it starts (DDP, SLURM) run the same command again.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS)) + 2
        print("usage: weakshot COMMAND [KEY=VALUE ...]\n\ncommands:")
        print("\n".join(f"  {command:{width}}{text}" for command, text in COMMANDS.items()))
        print("\nweakshot COMMAND --help lists the settings of a command.")
        return
    if name == "--version":
        from weakshot_seg import __version__

        print(f"weakshot_seg {__version__}")
        return
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "see weakshot --help"
        print(f"error: unknown command {name!r}: {hint}", file=sys.stderr)
        raise SystemExit(2)
    del sys.argv[1]
    module = "weakshot_seg.train" if name == "train" else f"weakshot_seg.cli.{name.replace('-', '_')}"
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
