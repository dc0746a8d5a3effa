"""MLflow: one run per model, strategy and prompt, found again by a fingerprint of what defines it; one per report."""

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

from radcap import layout, records
from radcap.errors import UserError
from radcap.settings import Settings

EXPERIMENT = "radcap"
TAG = "radcap.fingerprint"
# Of the metrics that tell what a fine-tune took.
COST = "finetune/"
# The run of the stage that writes the report.
REPORT = "aggregate"


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


def fingerprint(settings: Settings, model: str, *, prompt: str = "plain") -> str:
    """SHA-256 (first 16 digits) of what defines the run."""
    return _digest({**defining(settings, model), "prompted": prompt})


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


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

    def cost(self, seconds: float) -> None:
        """What the run took: wall time, and the peak of this process's memory."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        figures = {"seconds": round(seconds, 2), **records.peaks()}
        points = [Metric(f"{COST}{name}", float(value), now, 0) for name, value in figures.items() if value is not None]
        self.client.log_batch(self.run_id, metrics=points)

    def tag(self, **tags: str) -> None:
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value)


@contextlib.contextmanager
def run(settings: Settings, model: str, *, prompt: str = "plain", fresh: bool = False) -> Iterator[Run]:
    """The run of a model and prompt under these settings: found by its tag, else made. `fresh` replaces an older one,
    and what the block took is logged.

    Ends FINISHED when the block ends well, FAILED otherwise. UserError when the store cannot be opened.
    """
    client, experiment = _open()
    mark = fingerprint(settings, model, prompt=prompt)
    old = _found(client, experiment, mark)
    if fresh:
        # A fine-tune replaces what it said under every prompt.
        marks = [fingerprint(settings, model, prompt=name) for name in settings.model(model).prompts]
        for entry in (entry for each in marks for entry in _found(client, experiment, each)):
            client.delete_run(entry.info.run_id)
    if old and not fresh:
        current = Run(client, old[0].info.run_id, is_new=False)
        client.update_run(current.run_id, status="RUNNING")
    else:
        current = _create(client, experiment, settings, model, prompt=prompt, mark=mark)
    start = time.perf_counter()
    try:
        yield current
        if fresh:
            current.cost(time.perf_counter() - start)
    except BaseException:
        client.set_terminated(current.run_id, "FAILED")
        raise
    client.set_terminated(current.run_id)


def publish(settings: Settings, figures: Mapping[str, Any], folders: Sequence[Path]) -> str:
    """The report as one run that holds the folders' files as artifacts, and figures by their path; its id.

    It replaces an older one of the same models and settings. UserError when the store cannot be opened.
    """
    from mlflow.entities import RunTag

    client, experiment = _open()
    marks = {key: fingerprint(settings, key) for key in settings.models}
    mark = _digest({"models": marks, "report": settings.report.model_dump(mode="json")})
    for old in _found(client, experiment, mark):
        client.delete_run(old.info.run_id)
    created = client.create_run(experiment, run_name=REPORT)
    current = Run(client, created.info.run_id, is_new=True)
    tags = {TAG: mark, "stage": REPORT, "dvc_experiment": os.environ.get("DVC_EXP_NAME", "")}
    client.log_batch(current.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    current.scores(figures)
    for folder in folders:
        client.log_artifacts(current.run_id, str(folder), folder.name)
    client.set_terminated(current.run_id)
    return current.run_id


def costs(settings: Settings, model: str) -> dict[str, float]:
    """{seconds, peak_memory_mib, ...} of a model's fine-tune under these settings; empty where no store holds them."""
    store = tracking_uri().removeprefix("sqlite:///")
    if tracking_uri().startswith("sqlite:") and not Path(store).exists():
        return {}
    client, experiment = _open()
    found = _found(client, experiment, fingerprint(settings, model))
    metrics: dict[str, float] = found[0].data.metrics if found else {}
    return {name.removeprefix(COST): value for name, value in metrics.items() if name.startswith(COST)}


def _found(client: Any, experiment: str, mark: str) -> list[Any]:
    """Runs with a fingerprint, the newest first."""
    return list(client.search_runs([experiment], f"tags.`{TAG}` = '{mark}'"))


def _create(client: Any, experiment: str, settings: Settings, model: str, *, prompt: str, mark: str) -> Run:
    from mlflow.entities import Param, RunTag

    variant = settings.variant(model)
    tags = {TAG: mark, "model": model, "variant": variant, "prompt": prompt}
    tags["dvc_experiment"] = os.environ.get("DVC_EXP_NAME", "")
    created = client.create_run(experiment, run_name=f"{model} {variant} {prompt}")
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
