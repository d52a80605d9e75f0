"""The command ``weakshot``, also ``python -m weakshot_seg``: runs one of the commands below with settings KEY=VALUE."""

import difflib
import sys

from weakshot_seg import __version__
from weakshot_seg.cli.entry_point import run_command
from weakshot_seg.cli.settings import complete

COMMANDS = {
    "train": "train a model, evaluate it, write metrics and pictures",
    "evaluate": "measure a checkpoint on validation images",
    "predict": "segment photos and videos",
    "pseudo-label": "label training images for the re-training stage",
    "import": "make a data folder from what annotation tools export",
    "check": "read a data set once and list everything wrong with it",
    "rank": "find the photos to tag or mask next",
    "report": "compare runs: one page, Markdown and CSV",
    "export": "write a model as ONNX or torch.export file",
    "convert": "convert weights from and to detectron2 and Hugging Face",
    "app": "try a model in the browser",
    "card": "write a model as a folder to give away, with a model card",
}
USAGE = """usage: weakshot COMMAND [SETTING=VALUE ...]

{commands}

weakshot COMMAND --help               the settings of a command
eval "$(weakshot -sc install=bash)"   tab completion; also zsh, fish"""


def main() -> None:
    """Runs the command that the first argument names, with the other arguments."""
    name = (sys.argv[1:] or ["--help"])[0]
    if name in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {command:14}{text}" for command, text in COMMANDS.items())))
    elif name == "--version":
        print(f"weakshot_seg {__version__}")
    elif name == "-sc":
        complete(COMMANDS)
    elif name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "see weakshot --help"
        print(f"error: unknown command {name!r}: {hint}", file=sys.stderr)
        raise SystemExit(2)
    else:
        del sys.argv[1]
        run_command(name.replace("-", "_"), name)


if __name__ == "__main__":
    main()
