"""MLflow: one run per model and strategy, found again by a fingerprint of what defines it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from radcap import layout
from radcap.errors import UserError
from radcap.settings import Settings

EXPERIMENT = "radcap"
TAG = "radcap.fingerprint"


def defining(settings: Settings, model: str) -> dict[str, Any]:
    """The resolved settings that decide a model's captions and scores."""
    block = settings.model(model)
    return {
        "seed": settings.seed,
        "profile": settings.profile,
        settings.profile: settings.active.model_dump(mode="json", exclude={"concept_processes"}),
        block.tuning: getattr(settings, block.tuning).model_dump(mode="json"),
        "train": settings.train.model_dump(mode="json", exclude={"resume"}),
        **{name: getattr(settings, name).model_dump(mode="json") for name in ("prompt", "generate", "score")},
        "model": {"key": model, **block.model_dump(mode="json")},
    }


def fingerprint(settings: Settings, model: str) -> str:
    """SHA-256 (first 16 digits) of what defines the run."""
    text = json.dumps(defining(settings, model), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or a database in the main workspace, which queued experiments share."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{layout.main_workspace() / 'mlflow.db'}"


class Run:
    """One MLflow run. `is_new`: no run of this fingerprint was there."""

    def __init__(self, client: Any, run_id: str, *, is_new: bool) -> None:
        self.client, self.run_id, self.is_new = client, run_id, is_new

    def curve(self, row: Mapping[str, float]) -> None:
        """One report of the training log, at its step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {name: value for name, value in row.items() if name not in ("step", "epoch")}
        points = [Metric(f"train/{name}", float(value), now, int(row["step"])) for name, value in figures.items()]
        self.client.log_batch(self.run_id, metrics=points)

    def scores(self, results: Mapping[str, Any]) -> None:
        """The figures of metrics/<model>.json; nested ones by their path."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, float(value), now, 0) for name, value in _flat(results).items() if value is not None]
        self.client.log_batch(self.run_id, metrics=points)

    def tag(self, **tags: str) -> None:
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value)


@contextlib.contextmanager
def run(settings: Settings, model: str, *, fresh: bool = False) -> Iterator[Run]:
    """The run of a model under these settings: found by its tag, else made. `fresh` replaces an older one.

    Ends FINISHED when the block ends well, FAILED otherwise. UserError when the store cannot be opened.
    """
    client, experiment = _open()
    mark = fingerprint(settings, model)
    old = client.search_runs([experiment], f"tags.`{TAG}` = '{mark}'")
    if fresh:
        for entry in old:
            client.delete_run(entry.info.run_id)
    if old and not fresh:
        current = Run(client, old[0].info.run_id, is_new=False)
        client.update_run(current.run_id, status="RUNNING")
    else:
        current = _create(client, experiment, settings, model, mark)
    try:
        yield current
    except BaseException:
        client.set_terminated(current.run_id, "FAILED")
        raise
    client.set_terminated(current.run_id)


def _create(client: Any, experiment: str, settings: Settings, model: str, mark: str) -> Run:
    from mlflow.entities import Param, RunTag

    variant = settings.variant(model)
    tags = {TAG: mark, "model": model, "variant": variant, "dvc_experiment": os.environ.get("DVC_EXP_NAME", "")}
    created = client.create_run(experiment, run_name=f"{model} {variant}")
    client.log_batch(
        created.info.run_id,
        params=[Param(name, str(value)) for name, value in _flat(defining(settings, model)).items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    return Run(client, created.info.run_id, is_new=True)


def _open() -> tuple[Any, str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from filelock import FileLock
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    root = layout.main_workspace()
    uri = tracking_uri()
    try:
        # Processes that open a fresh database at once crash in its schema migration.
        with FileLock(root / "mlflow.lock"):
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(EXPERIMENT)
            if found:
                return client, found.experiment_id
            # Absolute: a relative place would be the working copy of whoever came first.
            place = str(root.resolve() / "mlartifacts") if uri.startswith("sqlite:") else None
            return client, client.create_experiment(EXPERIMENT, artifact_location=place)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"MLflow store {uri!r} cannot be opened: {reason}") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
