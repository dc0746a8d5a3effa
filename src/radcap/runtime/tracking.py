"""MLflow: one run per model, strategy and prompt, identified by a fingerprint of its settings; one run per report."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files, layout
from radcap.errors import UserError
from radcap.runtime import records
from radcap.settings import Settings

EXPERIMENT = "radcap"
TAG = "radcap.fingerprint"
# Tag of a report's run: a digest of its files and figures.
CONTENT = "radcap.content"
# Prefix of the metrics for the time and memory of fine-tuning.
COST = "finetune/"
# Name of the run of the stage that writes the report.
REPORT = "aggregate"


def defining_settings(settings: Settings, model: str) -> dict[str, Any]:
    """The resolved settings that determine a model's captions and scores."""
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


def fingerprint(settings: Settings, model: str, *, prompt: str = "plain") -> str:
    """SHA-256 (first 16 digits) of the settings that define the run."""
    return _digest({**defining_settings(settings, model), "prompted": prompt})


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or else a database in the main workspace, which queued experiments share."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{layout.main_workspace() / 'mlflow.db'}"


class Run:
    """One MLflow run. `is_new`: there was no run with its fingerprint before."""

    def __init__(self, client: Any, run_id: str, *, is_new: bool) -> None:
        self.client, self.run_id, self.is_new = client, run_id, is_new

    def log_training_row(self, row: Mapping[str, float]) -> None:
        """Log one row of the training log, at its step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {name: value for name, value in row.items() if name not in ("step", "epoch")}
        points = [Metric(f"train/{name}", float(value), now, int(row["step"])) for name, value in figures.items()]
        self.client.log_batch(self.run_id, metrics=points)

    def log_scores(self, results: Mapping[str, Any]) -> None:
        """Log the figures of metrics/<model>.json. A nested figure is named by its path, joined with dots."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, float(value), now, 0) for name, value in _flatten(results).items() if value is not None]
        self.client.log_batch(self.run_id, metrics=points)

    def log_cost(self, seconds: float) -> None:
        """Log the wall time of the run and the peak memory of this process."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {"seconds": round(seconds, 2), **records.peak_memory()}
        points = [Metric(f"{COST}{name}", float(value), now, 0) for name, value in figures.items() if value is not None]
        self.client.log_batch(self.run_id, metrics=points)

    def set_tags(self, **tags: str) -> None:
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value)


@contextlib.contextmanager
def run(settings: Settings, model: str, *, prompt: str = "plain", replace: bool = False) -> Iterator[Run]:
    """The run of a model and prompt under these settings, found by its fingerprint or else created.

    `replace` deletes the older runs of all the model's prompts, starts a new one, and logs the time and memory of the
    block. The run ends as FINISHED when the block succeeds, and as FAILED otherwise. UserError when the store cannot
    be opened.
    """
    client, experiment = _open()
    run_fingerprint = fingerprint(settings, model, prompt=prompt)
    existing = _find_runs(client, experiment, run_fingerprint)
    if replace:
        # New weights invalidate the scores under every prompt.
        fingerprints = [fingerprint(settings, model, prompt=name) for name in settings.model(model).prompts]
        for entry in (entry for each in fingerprints for entry in _find_runs(client, experiment, each)):
            client.delete_run(entry.info.run_id)
    if existing and not replace:
        current = Run(client, existing[0].info.run_id, is_new=False)
        client.update_run(current.run_id, status="RUNNING")
    else:
        current = _create_run(client, experiment, settings, model, prompt=prompt, run_fingerprint=run_fingerprint)
    start = time.perf_counter()
    try:
        yield current
        if replace:
            current.log_cost(time.perf_counter() - start)
    except BaseException:
        client.set_terminated(current.run_id, "FAILED")
        raise
    client.set_terminated(current.run_id)


def log_report(settings: Settings, figures: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """Log the report as one run, with the folders' files as artifacts and the figures named by their path.

    Returns the id of the run. It replaces an older report of the same models and settings, together with its files;
    an older one with the same files stays, and nothing is uploaded. UserError when the store cannot be opened.
    """
    from mlflow.entities import RunTag

    client, experiment = _open()
    model_fingerprints = {key: fingerprint(settings, key) for key in settings.models}
    report_fingerprint = _digest({"models": model_fingerprints, "report": settings.report.model_dump(mode="json")})
    content = _digest({folder.name: files.folder_hashes(folder) for folder in folders} | {"figures": figures})
    older = _find_runs(client, experiment, report_fingerprint)
    for entry in older:
        if entry.data.tags.get(CONTENT) == content and entry.info.status == "FINISHED":
            return str(entry.info.run_id)
    for entry in older:
        _delete_with_files(client, entry)
    created = client.create_run(experiment, run_name=REPORT)
    current = Run(client, created.info.run_id, is_new=True)
    tags = {TAG: report_fingerprint, CONTENT: content, "stage": REPORT}
    tags["dvc_experiment"] = os.environ.get("DVC_EXP_NAME", "")
    client.log_batch(current.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    current.log_scores(figures)
    for folder in folders:
        client.log_artifacts(current.run_id, str(folder), folder.name)
    client.set_terminated(current.run_id)
    return current.run_id


def training_cost(settings: Settings, model: str) -> dict[str, float]:
    """{seconds, peak_memory_mib, ...} of a model's fine-tuning under these settings; empty if no store has them."""
    store = tracking_uri().removeprefix("sqlite:///")
    if tracking_uri().startswith("sqlite:") and not Path(store).exists():
        return {}
    client, experiment = _open()
    runs = _find_runs(client, experiment, fingerprint(settings, model))
    metrics: dict[str, float] = runs[0].data.metrics if runs else {}
    return {name.removeprefix(COST): value for name, value in metrics.items() if name.startswith(COST)}


def _find_runs(client: Any, experiment: str, run_fingerprint: str) -> list[Any]:
    """The runs with this fingerprint, newest first."""
    return list(client.search_runs([experiment], f"tags.`{TAG}` = '{run_fingerprint}'"))


def _delete_with_files(client: Any, run: Any) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Not every store of files can delete them.
    with contextlib.suppress(MlflowException, NotImplementedError, OSError):
        get_artifact_repository(run.info.artifact_uri).delete_artifacts()
    client.delete_run(run.info.run_id)


def _create_run(
    client: Any, experiment: str, settings: Settings, model: str, *, prompt: str, run_fingerprint: str
) -> Run:
    from mlflow.entities import Param, RunTag

    variant = settings.variant(model)
    tags = {TAG: run_fingerprint, "model": model, "variant": variant, "prompt": prompt}
    tags["dvc_experiment"] = os.environ.get("DVC_EXP_NAME", "")
    created = client.create_run(experiment, run_name=f"{model} {variant} {prompt}")
    client.log_batch(
        created.info.run_id,
        params=[Param(name, str(value)) for name, value in _flatten(defining_settings(settings, model)).items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    return Run(client, created.info.run_id, is_new=True)


def _open() -> tuple[Any, str]:
    """A client, and the id of radcap's experiment."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from filelock import FileLock
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    root = layout.main_workspace()
    uri = tracking_uri()
    try:
        # Processes that open a new database at the same time crash in its schema migration.
        with FileLock(root / "mlflow.lock"):
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment:
                return client, experiment.experiment_id
            # Absolute: a relative path could point into the temporary copy of a queued experiment.
            location = str(root.resolve() / "mlartifacts") if uri.startswith("sqlite:") else None
            return client, client.create_experiment(EXPERIMENT, artifact_location=location)
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"MLflow store {uri!r} cannot be opened: {reason}") from error


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
