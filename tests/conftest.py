"""Settings of every test."""

import logging
import os
import sys
from collections.abc import Iterator

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["WANDB_MODE"] = "offline"

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

# pytest tests/properties --hypothesis-profile=thorough: a hundred times as many examples, other ones in every run
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "quick", derandomize=True, database=None, deadline=None, max_examples=25, suppress_health_check=CHECKS
)
settings.register_profile("thorough", database=None, deadline=None, max_examples=2500, suppress_health_check=CHECKS)
settings.load_profile("quick")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_handlers_left() -> Iterator[None]:
    """Hydra's handlers write to the ``sys.stderr`` of their test, which is closed in the next."""
    before = list(logging.root.handlers)
    yield
    for handler in set(logging.root.handlers) - set(before):
        logging.root.removeHandler(handler)
    if absl := sys.modules.get("absl.logging"):  # OpenVINO imports it; it would close the stream of its first test
        absl.get_absl_handler().python_handler.setStream(sys.__stderr__)
