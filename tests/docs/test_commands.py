"""Every command line on the pages is one that the real command takes; nothing of it is run."""

import itertools
import re
import shlex
import tomllib

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from composing import compose_own
from pages import ROOT, blocks
from weakshot_seg import __main__
from weakshot_seg.cli.entry_point import add_data, name_sources, quote_settings
from weakshot_seg.config.schema import check_settings

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
OTHERS = {"source", "eval", "hf", "docker", "find", "export"}  # programs of others
OWN_CODE = ("short_outlines.", "plain_backbone.", "data=dots")  # of the pages, see test_examples.py


def commands() -> list[str]:
    """Each line of the ``bash`` blocks once, without its comment."""
    lines = [line for block in blocks("bash") for line in block.text.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(filter(None, (re.sub(r"\s+#.*$|^#.*$", "", line) for line in lines))))


def words_of(line: str) -> list[str]:
    """The words of the last command of a pipe, without ``NAME=VALUE`` and ``srun`` before it."""
    words = shlex.split(line.rpartition(" | ")[2] or line)
    return list(itertools.dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=.*|srun", word), words))


OURS = [line for line in commands() if words_of(line)[0] in ("weakshot", "scripts/sweep.sh") or "weakshot_seg" in line]
REST = [line for line in commands() if line not in OURS]


@pytest.mark.parametrize("line", OURS)
def test_settings_of_our_commands(line: str) -> None:
    words = words_of(line)
    start = {"weakshot": 1, "python": 3, "scripts/sweep.sh": 1}[words[0]]
    name = words[1] if words[0] == "weakshot" else "train"
    given = words[start + 1 :] if words[0] == "weakshot" else words[start:]
    if name.startswith("-"):
        return
    assert name in __main__.COMMANDS
    if any(word in line for word in OWN_CODE):
        return
    sweep = "-m" in given
    given = [word for word in given if not word.startswith("-")]
    if given in ([], ["--help"]) and name != "train":
        return
    given = name_sources(given) if name == "import" else given
    given = quote_settings(["-m", *given])[1:] if sweep else quote_settings(given)
    given = add_data(given) if name in ("evaluate", "pseudo-label") else given
    jobs = [given]
    if sweep:
        parsed = OverridesParser.create().parse_overrides(given)
        jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    for job in (jobs[0], jobs[-1]):
        check_settings(compose_own(name.replace("-", "_"), *job), name.replace("-", "_"))


@pytest.mark.parametrize("line", REST)
def test_other_commands(line: str) -> None:
    words = words_of(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[:2] == ["pip", "install"]:
        assert words[2] == "-e"
        extra = re.fullmatch(r"\.\[(\w+)\]", words[3])
        assert extra
        assert extra[1] in EXTRAS
    elif words[0] == "python":
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in words if word.startswith("--"))
    else:
        assert words[0] in OTHERS


def test_wrong_settings_would_be_found() -> None:
    with pytest.raises(Exception, match="rot"):
        test_settings_of_our_commands("weakshot train experiment=folder data.rot=ROOT")
    with pytest.raises(Exception, match="threads"):
        test_settings_of_our_commands("weakshot predict ckpt=CKPT source=PHOTOS threads=0")


def test_they_are_found() -> None:
    assert len(OURS) > 50
    assert any(line.startswith("weakshot import SOURCE") for line in OURS)
