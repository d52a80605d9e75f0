"""Runs that W&B keeps offline, read back from their files: what ``wandb sync`` would upload later."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record, RunRecord


def content(items: Any) -> dict[str, Any]:
    """Entries of a record as a nested dict."""
    result: dict[str, Any] = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        reduce(lambda node, key: node.setdefault(key, {}), outer, result)[last] = json.loads(item.value_json)
    return result


def records(file: Path) -> Iterator[Record]:
    """Reads a transaction log: LevelDB's log format (blocks of 32 KiB, split records) after a header of 7 bytes."""
    data, offset, whole = file.read_bytes(), 7, b""
    while offset < len(data):
        left = 32768 - offset % 32768
        if left < 7:  # too short for the header of a part
            offset += left
            continue
        _, length, kind = struct.unpack("<IHB", data[offset : offset + 7])
        whole += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a full record, or its last part
            yield Record.FromString(whole)
            whole = b""


@dataclass
class OfflineRun:
    """What one session of a run left on disk."""

    folder: Path
    start: RunRecord
    config: dict[str, Any]
    charts: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "OfflineRun":
        (file,) = folder.glob("run-*.wandb")
        starts, config, charts, history, summary = [], {}, {}, [], {}
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                starts.append(record.run)
                config |= content(record.run.config.update)
            elif kind == "config":
                update = content(record.config.update)
                charts |= update.get("_wandb", {}).get("visualize", {})
                config |= update
            elif kind == "history":
                history.append(content(record.history.item))
            elif kind == "summary":
                summary |= content(record.summary.update)
        return cls(folder / "files", starts[0], config, charts, history, summary)

    def logged(self, key: str) -> Any:
        """The last value of a history key."""
        return [row[key] for row in self.history if key in row][-1]

    def media(self, entry: dict[str, Any]) -> Path:
        return self.folder / entry["path"]

    def table(self, key: str) -> list[dict[str, Any]]:
        table = json.loads(self.media(self.logged(key)).read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def sessions(folder: Path) -> list[OfflineRun]:
    return [OfflineRun.read(path) for path in sorted(folder.glob("wandb/offline-run-*"))]
