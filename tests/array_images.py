"""Images and label maps given as arrays."""

import numpy as np

from weakshot_seg.structures import IGNORE, Knowledge


class ArrayImages:
    """Implements LabelledImages; an image without a map has the classes ``labels`` (bool ``[n, K]``) by tags.

    ``declared`` are the states of each image (uint8 ``[n, K]``), if not all of the maps are whole.
    """

    def __init__(self, images, maps, num_classes, labels=None, declared=None):
        self.class_names = tuple(f"class {i}" for i in range(num_classes))
        self.images, self.maps, self.labels = list(images), list(maps), labels
        self.declared = declared

    def __len__(self):
        return len(self.maps)

    def name(self, index):
        return f"image {index}"

    def load(self, index):
        label_map = self.maps[index]
        return self.images[index].copy(), None if label_map is None else label_map.copy()

    def presence(self):
        if self.labels is not None:
            return self.labels.copy()
        return np.array([np.isin(np.arange(len(self.class_names)), m[m != IGNORE]) for m in self.maps])

    def states(self, novel):
        if self.declared is not None:
            return self.declared.copy()
        has_map = np.array([m is not None for m in self.maps])[:, None]
        unmasked = np.where(self.presence(), Knowledge.PRESENT, np.where(novel, Knowledge.ABSENT, Knowledge.UNKNOWN))
        return np.where(has_map & (~novel | self.presence()), Knowledge.MASK, unmasked).astype(np.uint8)
