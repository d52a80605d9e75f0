"""A server of Weights & Biases, as far as ``wandb sync`` needs one: keeps what it is sent."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class UploadedRun:
    """What was sent of a run.

    Attributes:
        facts: variables of the mutation that makes or changes a run, the latest of each that is not null.
        lines: lines of each stream (``wandb-history.jsonl``, ``wandb-summary.json``, ...) by number.
        files: contents by path.
        tables: the artifacts of W&B's tables, by name.
        complete: whether its end was reported.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    files: dict[str, bytes] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    complete: bool = False

    @property
    def history(self) -> list[dict[str, Any]]:
        """Logged rows in order."""
        lines = self.lines["wandb-history.jsonl"]
        return [json.loads(lines[number]) for number in sorted(lines)]

    @property
    def summary(self) -> dict[str, Any]:
        """Its latest state."""
        lines = self.lines["wandb-summary.json"]
        summary: dict[str, Any] = json.loads(lines[max(lines)])
        return summary


class WandbServer(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, UploadedRun] = defaultdict(UploadedRun)
        self.unknown: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no error."""

    def answer(self, operation: str, sent: dict[str, Any]) -> dict[str, Any]:
        """The data of an answer to a GraphQL query or mutation."""
        if operation == "UpsertBucket":
            run = self.runs[sent["name"]]
            run.facts.update({name: value for name, value in sent.items() if value is not None})
            project = {"id": "1", "name": sent["project"], "entity": {"id": "1", "name": "me"}}
            bucket = {"id": sent["name"], "name": sent["name"], "displayName": sent["displayName"], "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": len(run.history)}, "inserted": True}}
        if operation == "RunResumeStatus":
            known = self.runs[sent["name"]]
            counts = {f"{kind}LineCount": len(known.lines[f"wandb-{kind}.jsonl"]) for kind in ("history", "events")}
            tails = {"historyTail": json.dumps([json.dumps(row) for row in known.history[-1:]]), "eventsTail": "[]"}
            state = {"config": known.facts.get("config", "{}"), "summaryMetrics": "{}", "logLineCount": 0, "tags": []}
            bucket = {"id": sent["name"], "name": sent["name"], "wandbConfig": "{}", **counts, **tails, **state}
            model = {"id": "1", "name": sent["project"], "entity": {"id": "1", "name": "me"}}
            return {"model": {**model, "bucket": bucket if known.facts else None}}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "CreateRunFiles":
            places = [{"name": name, "uploadUrl": f"{self.url}/{sent['run']}/{name}"} for name in sent["files"]]
            return {"createRunFiles": {"runID": sent["run"], "uploadHeaders": [], "files": places}}
        if operation == "CreateArtifact":
            self.runs[sent["input"]["runName"]].tables.add(sent["input"]["artifactCollectionName"])
            # "committed": its files are known already
            artifact = {"id": "1", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "1"}}}
            return {"createArtifact": {"artifact": artifact}}
        self.unknown.append(operation)
        return {}


class Handler(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        sent = self.content()
        if self.path == "/graphql":
            request = json.loads(sent)
            operation = request["query"].split("(")[0].split("{")[0].split()[1]
            self.reply({"data": self.server.answer(operation, request.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            stream, run = json.loads(sent), self.server.runs[self.path.split("/")[-2]]
            for name, part in stream.get("files", {}).items():
                run.lines[name].update(enumerate(part["content"], part["offset"]))
            run.complete |= stream.get("complete", False)
            self.reply({})
        else:  # telemetry
            self.reply({})

    def do_PUT(self) -> None:
        _, run, name = self.path.split("/", 2)
        self.server.runs[run].files[name] = self.content()
        self.reply({})

    def content(self) -> bytes:
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        return gzip.decompress(sent) if self.headers["Content-Encoding"] == "gzip" else sent

    def reply(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Runs a server while the block lasts."""
    with WandbServer() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
