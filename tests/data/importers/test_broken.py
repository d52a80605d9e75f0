"""Exports with a change at random are imported, or refused with a list; nothing else happens."""

import json
import random
import shutil
from pathlib import Path

import pytest

from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.importers.run import import_sources
from weakshot_seg.data.importers.source import Source

EXPORTS = Path(__file__).parent / "exports"
VALUES = [None, 0, -1, 1e9, float("nan"), "", "x", [], {}, [[]], [None], {"a": 1}, True, "a.jpg", "../../x", [[1, "b"]]]


def paths(content, path=()):
    """The keys to each entry of JSON."""
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


def change(file, rng):
    """Replaces or removes an entry of JSON, or some bytes of another file."""
    if file.suffix == ".json":
        content = json.loads(file.read_text())
        *keys, last = rng.choice(list(paths(content)))
        entry = content
        for key in keys:
            entry = entry[key]
        if rng.random() < 0.3:
            entry.pop(last)
        else:
            entry[last] = rng.choice(VALUES)
        file.write_text(json.dumps(content))
        return
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice([1, 1, 3, 10])):
        at = rng.randrange(len(content) + 1)
        content[at : at + rng.randrange(4)] = bytes(rng.choice(b'0,:;."<>x\x00\xff9-') for _ in range(rng.randrange(3)))
    file.write_bytes(content)


@pytest.mark.parametrize("name", sorted(path.name for path in EXPORTS.iterdir()))
def test_broken_exports(name, tmp_path):
    outcomes = []
    for seed in range(15):
        source, out = shutil.copytree(EXPORTS / name, tmp_path / f"{seed}" / name), tmp_path / f"{seed}" / "out"
        rng = random.Random(f"{name}{seed}")
        files = [file for file in sorted(source.rglob("*")) if file.suffix in (".json", ".xml", ".txt", ".csv")]
        change(rng.choice(files), rng)
        try:
            import_sources([Source(source)], out)
            messages = []
        except BadFiles as error:
            messages = [problem.message for problem in error.problems]
        outcomes.append(bool(messages))
        assert all(len(message.splitlines()) == 1 for message in messages)
        assert sorted(path.name for path in out.parent.iterdir()) == ([name] if messages else sorted([name, "out"]))
    assert len(set(outcomes)) == 2 or name == "datumaro_labels"
