"""The command ``weakshot``."""

import importlib.util
import sys
from pathlib import Path

import pytest

from weakshot_seg import __main__, __version__
from weakshot_seg.config.commands import COMMANDS

main = __main__.main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["weakshot", *arguments])
    main()


@pytest.mark.parametrize("argument", [[], ["-h"], ["--help"]])
def test_help_lists_all_commands(
    argument: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, *argument)
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} == set(__main__.COMMANDS)
    assert max(map(len, lines)) < 100


def test_every_command_has_a_module_and_settings() -> None:
    assert {name.replace("-", "_") for name in __main__.COMMANDS} == set(COMMANDS)
    for name in __main__.COMMANDS:
        assert importlib.util.find_spec(__main__.module_of(name)) is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_lists_its_settings(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        call(monkeypatch, command.replace("_", "-"), "--help")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: weakshot {command.replace('_', '-')} ")
    assert [line.strip().split("=")[0] for line in lines if line[:2] == "  " and line[2] != " "] == [*COMMANDS[command]]
    assert max(map(len, lines)) < 120


def test_help_shows_value_type_range_and_remark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        call(monkeypatch, "app", "--help", "share=true")
    printed = capsys.readouterr().out
    assert (
        "  port=7860\n      a whole number (at least 0 and at most 65535) or null; null: the first free one" in printed
    )
    assert "  share=true\n      true or false; " in printed


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call(monkeypatch, "--version")
    assert capsys.readouterr().out == f"weakshot_seg {__version__}\n"


@pytest.mark.parametrize(("name", "hint"), [("predcit", "did you mean predict?"), ("x", "see weakshot --help")])
def test_unknown_command(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, name)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: unknown command {name!r}: {hint}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("weakshot pre", {"predict", "pseudo-label", "train"}),
        ("weakshot train data=", {"data=folder", "data=synthetic"}),
        ("weakshot pseudo-label cand", {"candidates="}),
        ("weakshot train optim.l", {"optim.lr="}),
    ],
)
def test_completion(
    line: str, expected: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    call(monkeypatch, "-sc", "query=bash")
    assert expected <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [("-sc", "install=bash"), ("train", "-sc", "install=bash")])
def test_completion_is_installed_for_the_command(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    call(monkeypatch, *arguments)
    assert capsys.readouterr().out.rstrip().endswith("-F hydra_bash_completion weakshot")


def test_a_command_runs_as_main_module_that_other_processes_can_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning starts ``python -m <name of the main module's specification> <arguments>`` for the other devices."""
    (tmp_path / "probe.py").write_text("import __main__, sys\nprint(__name__, __main__.__spec__.name, sys.argv[1:])")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(__main__, "module_of", lambda command: "probe")
    call(monkeypatch, "predict", "ckpt=a")
    assert capsys.readouterr().out == "__main__ probe ['ckpt=a']\n"
