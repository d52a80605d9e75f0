"""Models of the Hugging Face hub."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from weakshot_seg.errors import ConfigError

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", re.ASCII)
"""``user/name``, or ``user/name@revision`` with a branch, a tag or a commit."""

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Files of a model folder."""

REASONS = {  # those of a kind before those of its parents
    GatedRepoError: "the model of the hub must be asked for on its page; then `hf auth login`",
    RevisionNotFoundError: "the hub has no such revision of the model",
    RepositoryNotFoundError: "no such model at the hub (a private one needs `hf auth login`)",
    LocalEntryNotFoundError: "the hub cannot be reached: download the model elsewhere, and give its folder",
    EntryNotFoundError: f"the model of the hub has no {CONFIG} or {WEIGHTS}: it is none of ours",
}


def is_hub_id(source: str) -> bool:
    """Whether a text can name a model of the hub; a relative path of two parts looks the same."""
    return HUB_ID.fullmatch(source) is not None and not source.endswith(".ckpt")


def download(hub_id: str, **options: Any) -> Path:
    """A model folder, downloaded once or in the hub's cache; a ConfigError if it cannot be had.

    ``options`` are those of ``hf_hub_download``, such as ``token`` and ``cache_dir``.
    """
    name, _, revision = hub_id.partition("@")
    try:
        folder = Path(hf_hub_download(name, CONFIG, revision=revision or None, **options)).parent
        return Path(hf_hub_download(name, WEIGHTS, revision=folder.name, **options)).parent  # of the same commit
    except Exception as error:  # the hub's HTTP library, and thus its errors, changes from version to version
        answer = f"the hub answers: {' '.join(str(error).split()) or type(error).__name__}"
        reason = next((text for kind, text in REASONS.items() if isinstance(error, kind)), answer)
        raise ConfigError(f"ckpt={hub_id}: no such file or folder, and {reason}") from error
