"""The logger of Weights & Biases: one run per output folder, and a training that does not depend on it."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger
from wandb.errors import AuthenticationError, CommError
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.run_lock import is_first_process

BROKEN = (OSError, wandb.Error, HandleAbandonedError, MailboxClosedError)
"""What W&B raises when its service process is gone."""

log = logging.getLogger(__name__)


class ResilientWandbLogger(WandbLogger):
    """A ``WandbLogger`` that keeps its run in ``<save_dir>/wandb_run.json``: a resumed job continues this run.

    If W&B cannot be reached when the run begins, it is kept offline, to be uploaded later by ``wandb sync``. (Once it
    has begun, W&B itself waits for the network.) If W&B's service process dies, it is started anew; if that fails, the
    training goes on without.

    Args:
        save_dir: folder of the job's outputs.
        resume: continue the run that is there, if any, in its group.
        group: of a new run.
        settings: further arguments of ``WandbLogger`` and ``wandb.init`` (``mode="offline"`` needs no account).
    """

    def __init__(self, save_dir: str, resume: bool = False, group: str | None = None, **settings: Any) -> None:
        file = Path(save_dir) / "wandb_run.json"
        if is_first_process() and not (resume and file.is_file()):
            with replacing(file) as temporary:
                temporary.write_text(json.dumps({"id": secrets.token_hex(4), "group": group}), encoding="utf-8")
        run = json.loads(file.read_text("utf-8")) if file.is_file() else {}  # other ranks log nothing
        super().__init__(save_dir=save_dir, **run, **settings)
        self._given_up = False

    @property
    def experiment(self) -> wandb.Run:
        """The run; it begins when it is first asked for."""
        try:
            return super().experiment
        except AuthenticationError:
            raise
        except CommError as error:
            reason = str(error).splitlines()[0]
            log.warning("W&B cannot be reached (%s): the run is kept offline, for wandb sync", reason)
            self._wandb_init["mode"] = "offline"
            self._reset()  # else the service keeps the name of the run for the attempt that failed
            return super().experiment

    def send(self, action: Callable[[wandb.Run], object]) -> None:
        """Lets ``action`` log something to the run, whatever has become of W&B's service."""
        if self._given_up:
            return
        try:
            action(self.experiment)
        except BROKEN as error:
            log.warning("W&B's service process has failed (%s): it is started anew", _text(error))
            self._reset()
            try:
                action(self.experiment)
            except BROKEN as again:
                log.warning("nothing more goes to W&B (%s); other loggers go on", _text(again))
                self._given_up = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers of a step."""
        self.send(lambda _: WandbLogger.log_metrics(self, metrics, step))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Logs settings."""
        self.send(lambda _: WandbLogger.log_hyperparams(self, *args, **kwargs))

    def finish(self) -> None:
        """Ends the run; the next job of this process begins its own."""
        try:
            if self._experiment is not None:
                self._experiment.finish()
        except BROKEN as error:
            log.warning("W&B's service process has failed (%s)", _text(error))
            self._reset()

    def _reset(self) -> None:
        self._experiment = None
        with suppress(*BROKEN):  # it reports that the service is gone, and has forgotten it then
            wandb.teardown()
        wandb.run = None  # else Lightning would take it up


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
