"""The command ``weakshot``."""

import importlib.util
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from weakshot_seg import __main__, __version__
from weakshot_seg.config.commands import COMMANDS

Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs ``weakshot ARGUMENTS`` in this process; returns what it printed."""

    def run(*arguments: str, code: int | None = None) -> str:
        monkeypatch.setattr(sys, "argv", ["weakshot", *arguments])
        with nullcontext() if code is None else pytest.raises(SystemExit, match=str(code)):
            __main__.main()
        return "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("argument", [[], ["-h"], ["--help"]])
def test_help_lists_all_commands(argument: list[str], call: Call) -> None:
    lines = call(*argument).splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} == set(__main__.COMMANDS)
    assert max(map(len, lines)) < 100


def test_every_command_has_a_module_and_settings() -> None:
    assert {name.replace("-", "_") for name in __main__.COMMANDS} == set(COMMANDS)
    for name in __main__.COMMANDS:
        assert importlib.util.find_spec(__main__.module_of(name)) is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_its_settings(command: str, call: Call) -> None:
    lines = call(command.replace("_", "-"), "--help", code=0).splitlines()
    assert lines[0].startswith(f"usage: weakshot {command.replace('_', '-')} ")
    assert [line.strip().split("=")[0] for line in lines if line[:2] == "  " and line[2] != " "] == [*COMMANDS[command]]
    assert max(map(len, lines)) < 120


def test_help_shows_value_type_range_and_remark(call: Call) -> None:
    printed = call("app", "--help", "share=true", code=0)
    port = "  port=7860\n      a whole number (at least 0 and at most 65535) or null; null: the first free one"
    assert port in printed
    assert "  share=true\n      true or false; " in printed
    assert "  ckpt=(needed)\n      text; " in printed


def test_version(call: Call) -> None:
    assert call("--version") == f"weakshot_seg {__version__}\n"


@pytest.mark.parametrize(("name", "hint"), [("predcit", "did you mean predict?"), ("x", "see weakshot --help")])
def test_unknown_command(name: str, hint: str, call: Call) -> None:
    assert call(name, code=2) == f"error: unknown command {name!r}: {hint}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("weakshot pre", {"predict", "pseudo-label", "train"}),
        ("weakshot train data=", {"data=folder", "data=synthetic"}),
        ("weakshot pseudo-label cand", {"candidates="}),
        ("weakshot train optim.l", {"optim.lr="}),
    ],
)
def test_completion(line: str, expected: set[str], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert expected <= set(call("-sc", "query=bash").split())


@pytest.mark.parametrize("arguments", [("-sc", "install=bash"), ("train", "-sc", "install=bash")])
def test_completion_is_installed_for_the_command(
    arguments: tuple[str, ...], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert call(*arguments).rstrip().endswith("-F hydra_bash_completion weakshot")


def test_a_command_runs_as_main_module_that_other_processes_can_start_again(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning starts ``python -m <name of the main module's specification> <arguments>`` for the other devices."""
    (tmp_path / "probe.py").write_text("import __main__, sys\nprint(__name__, __main__.__spec__.name, sys.argv[1:])")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(__main__, "module_of", lambda command: "probe")
    assert call("predict", "ckpt=a") == "__main__ probe ['ckpt=a']\n"


@pytest.mark.parametrize("command", __main__.COMMANDS)
def test_every_command_checks_its_settings(
    command: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(command, "++nothing=1", code=2).startswith("error: ")
    assert not list(tmp_path.iterdir())
