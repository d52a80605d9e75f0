"""The whole machine can learn: one batch by heart."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate

from weakshot_seg.checkpoints.building import build_module
from weakshot_seg.config.compose import conf_dir, plain
from weakshot_seg.data.evaluation import EvalSample
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.recipe import Recipe

STEPS = 45


@pytest.mark.parametrize("loss", ["laptop", "simformer"])
def test_one_batch_is_learned_by_heart(loss, few_scenes, tmp_path):
    similarity = ("num_points=16", "simnet.hidden_dim=16")
    overrides = [
        *(*few_scenes, f"loss={loss}", "supervision=full", "optim.warmup_steps=10", "optim.lr=3e-3"),
        *("data.train.size=64", "data.train_transform.crop_size=64", "data.batch_size=4", "data.num_workers=0"),
        *("model.backbone.name=test_resnet", "model.dim=64", "model.num_layers=2"),
        *(f"loss.terms.similarity.{setting}" for setting in similarity),
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [*overrides, f"hydra.runtime.output_dir={tmp_path}"], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    data = instantiate(cfg.data)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    recipe = Recipe(**{key: plain(cfg[key]) for key in ("model", "loss", "optim")})
    module = build_module(recipe, data.class_split)
    optimizer, schedule = module.optimizer.build(module, STEPS)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_value = module.criterion(module.model(batch.images), batch.targets).total
        loss_value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss_value.item())
    assert losses[-1] < losses[0] / 3

    samples = [EvalSample(*row) for row in zip(batch.images, batch.targets.label_map, batch.names, strict=True)]
    module.eval()
    with torch.no_grad():
        maps = module.predict_step(samples)
    truth, prediction = batch.targets.label_map, torch.stack(maps)
    known = truth != IGNORE
    assert known.float().mean() > 0.5
    assert (prediction == truth)[known].float().mean() > 0.9
