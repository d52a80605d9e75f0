"""Golden numbers of the authors' implementation: where they are, how they are read, and how far off we are.

The folder is ``$WEAKSHOT_PARITY_DIR`` (default: this one). Files are found by pattern; a pattern without a file gives
tests that fail and say so. Seeds, sizes and class counts come from the files.
"""

import pytest

from parity.golden import FOLDER, HERE, largest

PATTERNS = {
    "loss_path": "loss_*.npz",
    "pair_path": "pair_*.npz",
    "balance_path": "balance_sequence*.npz",
    "simnet_path": "simnet_[0-9]*.npz",
    "simnet_nobn_path": "simnet_nobn*.npz",
    "simnet_shapes_path": "simnet_full_shapes*.json",
    "inference_path": "semantic_inference_*.npz",
    "tiny_path": "tiny_model_*.safetensors",
    "step_path": "tiny_train_step_*.npz",
    "optimizer_path": "optimizer_*.json",
    "state_path": "state_dict_*_R50.json",
    "evaluation_path": "eval_*.npz",
    "splits_path": "splits*.json",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, pattern in PATTERNS.items():
        if name in metafunc.fixturenames:
            paths = sorted(FOLDER.glob(pattern))
            if name == "splits_path":  # kept beside the folder, not in it
                paths = paths or sorted(HERE.glob(pattern))
            paths = paths or [FOLDER / pattern]
            metafunc.parametrize(name, paths, ids=[path.name for path in paths])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if largest:
        terminalreporter.section("largest absolute difference from the stored numbers")
        for name, difference in sorted(largest.items()):
            terminalreporter.line(f"{difference:9.1e}  {name}")


@pytest.fixture(autouse=True)
def every_family_is_there(request: pytest.FixtureRequest) -> None:
    for name, pattern in PATTERNS.items():
        if name in request.fixturenames and not request.getfixturevalue(name).is_file():
            pytest.fail(f"there is no {pattern} in {FOLDER} (environment variable WEAKSHOT_PARITY_DIR)", pytrace=False)
