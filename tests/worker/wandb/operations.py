"""The GraphQL operations that wandb 0.31 sends, each answered with just what the client needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.worker.wandb.held import Held, HeldRun, md5_of

ENTITY = "team"
Json = dict[str, Any]


def _variables(body: Mapping[str, Any]) -> Json:
    variables = dict(body.get("variables") or {})
    inner = variables.pop("input", None)
    return variables | (inner if isinstance(inner, dict) else {})


def _config(text: Any) -> Json:
    return json.loads(text) if isinstance(text, str) and text else {}


def _resume(held: Held, _url: str, body: Json) -> Json:
    variables = _variables(body)
    run = held.run_like(variables)
    if run is None:
        return {"model": {"id": "p1", "name": variables["project"], "entity": _entity(), "bucket": None}}
    tail = [run.history[max(run.history)]] if run.history else []
    bucket = {
        "id": run.id,
        "name": run.name,
        "summaryMetrics": json.dumps(run.summary),
        "displayName": run.display_name or run.name,
        "logLineCount": 0,
        "historyLineCount": len(run.history),
        "eventsLineCount": 0,
        "historyTail": json.dumps(tail),
        "eventsTail": "[]",
        "config": json.dumps(run.config),
        "tags": run.tags,
        "notes": None,
        "wandbConfig": json.dumps({"t": 1}) if run.config else "{}",
    }
    return {"model": {"id": "p1", "name": run.project, "entity": _entity(), "bucket": bucket}}


def _upsert(held: Held, _url: str, body: Json) -> Json:
    variables = _variables(body)
    run = held.run_like(variables)
    inserted = run is None
    if run is None:
        name = variables["name"]
        run = HeldRun(
            name=name, id=f"id-{name}", entity=variables.get("entity") or ENTITY, project=variables["project"]
        )
        held.runs[name] = run
    run.upserts.append(variables)
    run.group = variables.get("groupName") or run.group
    run.job_type = variables.get("jobType") or run.job_type
    run.display_name = variables.get("displayName") or run.display_name
    run.tags = run.tags if variables.get("tags") is None else list(variables["tags"])
    if variables.get("config"):
        run.config = _config(variables["config"])
    if variables.get("summaryMetrics"):
        run.summary = json.loads(variables["summaryMetrics"])
    bucket = {
        "id": run.id,
        "name": run.name,
        "displayName": run.display_name or run.name,
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": None,
        "historyLineCount": len(run.history),
        "project": {"id": "p1", "name": run.project, "entity": {"id": "e1", "name": run.entity}},
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def _entity() -> Json:
    return {"id": "e1", "name": ENTITY}


def _viewer(_held: Held, _url: str, _body: Json) -> Json:
    viewer = {
        "id": "u1",
        "entity": ENTITY,
        "username": "mirror",
        "name": "mirror",
        "email": "mirror@example.org",
        "admin": False,
        "flags": "{}",
        "deletedAt": None,
        "apiKeys": {"edges": []},
        "teams": {"edges": []},
    }
    return {"viewer": viewer}


def _artifact_type(_held: Held, _url: str, _body: Json) -> Json:
    return {"project": {"artifact": None}}


def _features(_held: Held, _url: str, _body: Json) -> Json:
    return {"serverInfo": {"features": []}}


def _create_artifact(held: Held, _url: str, body: Json) -> Json:
    number = f"a{len(held.artifacts)}"
    held.artifacts[number] = {"state": "PENDING", "files": {}, "asked": _variables(body)}
    artifact = {
        "id": number,
        "state": "PENDING",
        "artifactSequence": {"id": f"s{number}", "latestArtifact": None},
    }
    return {"createArtifact": {"artifact": artifact}}


def _create_manifest(_held: Held, url: str, body: Json) -> Json:
    variables = _variables(body)
    file: Json = {"id": "f1"}
    if variables.get("includeUpload"):
        address = f"{url}/blobs/artifact/{variables['artifactID']}/{variables['name']}"
        file |= {"uploadUrl": address, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": "m1", "file": file}}}


def _create_artifact_files(_held: Held, url: str, body: Json) -> Json:
    edges = [
        {
            "node": {
                "id": "f2",
                "name": each["name"],
                "storagePath": each["name"],
                "uploadUrl": f"{url}/blobs/artifact/{each['artifactID']}/{each['name']}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": each["artifactID"]},
            }
        }
        for each in _variables(body)["artifactFiles"]
    ]
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit_artifact(held: Held, _url: str, body: Json) -> Json:
    number = _variables(body)["artifactID"]
    held.artifacts[number]["state"] = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": number, "digest": "d"}}}


def _create_run_files(held: Held, url: str, body: Json) -> Json:
    variables = _variables(body)
    run = held.runs[variables["run"]]
    run.wanted.update(variables["files"])
    files = [{"name": name, "uploadUrl": f"{url}/blobs/run/{run.name}/{name}"} for name in variables["files"]]
    return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}


def _alert(held: Held, _url: str, body: Json) -> Json:
    held.take_alert(_variables(body))
    return {"notifyScriptableRunAlert": {"success": True}}


def _run(held: Held, _url: str, body: Json) -> Json:
    run = held.run_like(_variables(body))
    if run is None:
        return {"project": {"internalId": "1", "run": None}}
    steps = [row["_step"] for row in run.rows]
    found = {
        "id": run.id,
        "projectId": "1",
        "tags": run.tags,
        "name": run.name,
        "displayName": run.display_name or run.name,
        "sweepName": None,
        "state": "finished" if run.complete else "running",
        "config": json.dumps(run.config),
        "group": run.group,
        "jobType": run.job_type,
        "commit": None,
        "readOnly": False,
        "createdAt": "2026-01-01T00:00:00",
        "heartbeatAt": "2026-01-01T00:00:00",
        "description": None,
        "notes": None,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": len(run.history),
        "user": {"name": "mirror", "username": "mirror"},
        "historyKeys": {"lastStep": max(steps)} if steps else None,
    }
    return {"project": {"internalId": "1", "run": found}}


def _run_files(held: Held, url: str, body: Json) -> Json:
    variables = _variables(body)
    run = held.run_like(variables)
    assert run is not None
    # The real backend lists a file as soon as its upload address was given out, and its size when it is there.
    names = [name for name in sorted(run.wanted) if name in (variables["fileNames"] or run.wanted)]
    edges = []
    for name in names:
        content = run.files.get(name)
        address = f"{url}/blobs/run/{run.name}/{name}"
        node = {
            "id": name,
            "name": name,
            "url": address,
            "directUrl": address,
            "sizeBytes": "0" if content is None else str(len(content)),
            "mimetype": "application/json",
            "updatedAt": None,
            "md5": None if content is None else md5_of(content),
        }
        edges.append({"node": node, "cursor": name})
    files = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
    return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}}


OPERATIONS: dict[str, Callable[[Held, str, Json], Json]] = {
    "RunResumeStatus": _resume,
    "UpsertBucket": _upsert,
    "Viewer": _viewer,
    "GetDefaultEntity": _viewer,
    "GetViewer": _viewer,
    "ArtifactType": _artifact_type,
    "ServerFeaturesQuery": _features,
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_manifest,
    "CreateArtifactFiles": _create_artifact_files,
    "CommitArtifact": _commit_artifact,
    "CreateRunFiles": _create_run_files,
    "NotifyScriptableRunAlert": _alert,
    "Run": _run,
    "RunHistoryKeys": _run,
    "RunFiles": _run_files,
}
