"""The command ``weakshot``."""

import importlib.util
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from weakshot_seg import __main__, __version__
from weakshot_seg.cli import entry_point
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
    for name in COMMANDS:
        assert importlib.util.find_spec(entry_point.module_of(name)) is not None


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


@pytest.mark.parametrize("words", [("predict",), ()])
def test_processes_are_started_with_the_whole_command_line(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning starts ``python -m <main module> <sys.argv[1:]>`` for the other devices, from within a job."""
    task = "print(sys.argv[1:], cfg.source, HydraConfig.get().job.name)"
    lines = ("import sys", "from hydra.core.hydra_config import HydraConfig", "def main(): ...")
    (tmp_path / "probe.py").write_text("\n".join([*lines, f"main.__wrapped__ = lambda cfg: {task}"]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(entry_point, "module_of", lambda command: "probe")
    monkeypatch.setattr(sys, "argv", ["weakshot", *words, "ckpt=a", "source=ä (1)"])
    if words:
        __main__.main()
    else:
        entry_point.run_command("predict")
    line = [*words, "ckpt=a", "source='ä (1)'"]
    assert capsys.readouterr().out == f"{line} ä (1) probe\n"


@pytest.mark.parametrize("command", __main__.COMMANDS)
def test_every_command_checks_its_settings(
    command: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(command, "++nothing=1", code=2).startswith("error: ")
    assert not list(tmp_path.iterdir())
