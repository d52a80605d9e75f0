"""An exponential moving average of the weights."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from weakshot_seg.utils.ranges import Share


class AveragedWeights(WeightAveraging):
    """Averages weights and statistics of normalisation over the steps; validation and prediction use the average.

    A checkpoint holds the average as ``state_dict``, which is what every other command reads, and beside it the weights
    that a resumed training goes on with. ``decay`` is the share of the former average in the new one.
    """

    def __init__(self, decay: Share = 0.999) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))  # avg_fn would change constant buffers by rounding

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes the average on the device of the training, to which Lightning moves the module only later."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the weights as they are: the last checkpoint, saved after this hook, holds both."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the average into the module."""
        if stage == "fit":
            self._copy_average_to_current(pl_module)
