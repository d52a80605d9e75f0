"""The targets of a batch against loops over its pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from properties.batches import batches
from weakshot_seg.structures import IGNORE, Knowledge


@given(batch=batches())
def test_targets_are_what_loops_find(batch):
    targets = batch.targets()
    masked, weak, classes = [], [], len(batch.novel)
    for image, label_map in enumerate(batch.label_maps):
        masked.append(sorted(set(label_map.ravel().tolist()) - {IGNORE}))
        weak.append(np.flatnonzero(batch.states[image] == Knowledge.PRESENT).tolist())
    assert targets.counts == tuple(len(m) + len(w) for m, w in zip(masked, weak, strict=True))
    slots = max(targets.counts)
    expected = [m + w + [-1] * (slots - len(m) - len(w)) for m, w in zip(masked, weak, strict=True)]
    assert targets.classes.tolist() == expected
    assert targets.mask_index.T.tolist() == [[i, slot] for i, m in enumerate(masked) for slot in range(len(m))]
    for image, (m, w) in enumerate(zip(masked, weak, strict=True)):
        assert [s for s in targets.tag_slots[image].tolist() if s >= 0] == list(range(len(m), len(m) + len(w)))
        assert targets.with_mask[image].nonzero().flatten().tolist() == m
        assert targets.tagged[image].nonzero().flatten().tolist() == w
        untold = np.flatnonzero(batch.states[image] == Knowledge.UNKNOWN).tolist()
        assert targets.unknown[image].nonzero().flatten().tolist() == untold
        assert targets.absent[image].nonzero().flatten().tolist() == sorted({*range(classes)} - {*m, *w, *untold})
        assert targets.unlabelled[image].nonzero().flatten().tolist() == sorted([*w, *untold])
        in_reach = untold if (batch.states[image] == Knowledge.MASK).any() else []
        assert [c for c in targets.unknown_classes[image].tolist() if c >= 0] == in_reach
