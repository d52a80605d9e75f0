"""Requests to end, from the keyboard, an operator or a scheduler."""

import logging
import os
import signal
import subprocess
import threading
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C; an operator, Kubernetes or ``scancel``; SLURM some time before the end (``--signal=USR1@90``)."""

log = logging.getLogger(__name__)


class StopRequest:
    """Remembers in ``received`` the number of the first signal that came in, 0 before any."""

    received = 0

    def install(self) -> None:
        """Takes over the signals of this process; Python allows it in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt  # whoever presses Ctrl-C twice does not want to wait
        self.received = self.received or number


def leave_signals_to_parent(worker: int = 0) -> None:
    """``worker_init_fn`` of a DataLoader. Terminals and SLURM signal all processes of a job; only the main one acts.

    SIGTERM of the main process itself still ends the worker: multiprocessing sends it at exit.
    """
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _obey_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def requeue_slurm_job() -> bool:
    """Puts the SLURM job this process belongs to back into the queue; False if there is none or SLURM refuses."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("scontrol requeue %s: %s", job, getattr(error, "stderr", None) or error)
        return False
    return True
