"""A short run of the fuzzing, and that it finds what is wrong."""

from collections import Counter

import pytest

import fuzz_inputs
from fuzzing import pictures, tables


@pytest.mark.filterwarnings("ignore")
def test_any_file_is_read_as_it_is_or_refused():
    counts = fuzz_inputs.fuzz(200, seed=0)
    assert counts.keys() == fuzz_inputs.KINDS.keys()
    total = sum(counts.values(), Counter())
    assert total["fault"] == 0
    assert min(total["read"], total["refused"]) > 50


def test_wrong_ids_are_found(monkeypatch, capsys):
    def shifted(path, allowed):
        mask = open_mask(path, allowed=allowed)
        mask.ids[0, 0] ^= 1
        return mask

    open_mask = pictures.open_mask
    monkeypatch.setattr(pictures, "open_mask", shifted)
    numbers = [f"mask:{number}" for number in range(40)]
    counts = fuzz_inputs.fuzz(0, 0, numbers)["mask"]
    assert counts["fault"] > 3
    assert counts["read"] == 0
    assert "not those that OpenCV reads" in capsys.readouterr().out


def test_classes_in_another_order_are_found(monkeypatch):
    read = tables.read_classes
    monkeypatch.setattr(tables, "read_classes", lambda *places: dict(enumerate(sorted(read(*places).values()))))
    counts = fuzz_inputs.fuzz(0, 0, [f"classes:{number}" for number in range(60)])["classes"]
    assert counts["fault"] > 10


def test_what_takes_long_and_what_crashes_is_a_fault(monkeypatch, tmp_path):
    assert fuzz_inputs.outcome("tags", 0, 0, tmp_path)[0] != "fault"
    monkeypatch.setattr(fuzz_inputs, "LIMIT", 0)
    assert fuzz_inputs.outcome("tags", 0, 0, tmp_path) == ("fault", "took 0.0 s of CPU time\n")
    monkeypatch.setattr(fuzz_inputs, "LIMIT", 5)
    monkeypatch.setitem(fuzz_inputs.KINDS, "tags", (1, lambda rng, folder: {}["missing"]))
    assert "KeyError" in fuzz_inputs.outcome("tags", 0, 0, tmp_path)[1]
