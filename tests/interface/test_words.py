"""Settings of a call against the grammar of Hydra's command line."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from weakshot_seg.errors import ConfigError
from weakshot_seg.interface.words import as_words

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,7}", fullmatch=True)
# text that Hydra would resolve is left out: it is resolved as on the command line
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="$"), max_size=12)
TEXT |= st.from_regex(r"[\w/][\w./-]{0,6}", fullmatch=True) | st.sampled_from(["null", "True", "NaN", "inf", "-1"])
PLAIN = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3))


def read(words: list[str]) -> dict[str, Any]:
    return {one.key_or_group: one.value() for one in OverridesParser.create().parse_overrides(words)}


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_hydra_reads_the_values_that_were_given(settings: dict[str, Any]) -> None:
    assert read(list(as_words(settings))) == settings


def test_dicts_are_names_with_dots_and_paths_are_text() -> None:
    given = {"optim": {"lr": 1e-4, "a": {"b": (1, "x,y")}}, "root": Path("/a b/c"), "x": [{"k": "it's"}], "y": {}}
    expected = {"optim.lr": 1e-4, "optim.a.b": [1, "x,y"], "root": "/a b/c", "x": [{"k": "it's"}], "y": {}}
    assert read(list(as_words(given))) == expected


def test_other_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^optim\.lr=<object .* is no setting: give a number"):
        list(as_words({"optim": {"lr": object()}}))
