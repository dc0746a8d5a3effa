"""What DVC keeps of an experiment or commit: parameters, metrics, audits, per-caption scores; its cost from MLflow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radcap import layout, settings
from radcap.data import articles
from radcap.errors import UserError
from radcap.report.scores import PLAIN, table
from radcap.runtime import tracking

BASELINE = "baseline"


@dataclass(frozen=True)
class Experiment:
    """`params`: its params.yaml. `metrics`, `audits`: by model. `tables`: per-caption scores of the plain captions by
    model, of those in DVC's cache. `costs`: what MLflow holds of the fine-tune's seconds and memory by model.
    `articles`: {image id: source article}, where known."""

    name: str
    rev: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    audits: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, Any]
    costs: Mapping[str, Mapping[str, float]]
    articles: Mapping[str, str]


def experiments(names: Sequence[str], *, protocol: str) -> list[Experiment]:
    """The current commit, then the named experiments, branches or commits; none named: all of this commit.

    UserError: no DVC repository, an unknown name, or no experiment.
    """
    return [_experiment(name, rev, protocol) for name, rev in _revisions(names).items()]


def _revisions(names: Sequence[str]) -> dict[str, str]:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    try:
        with Repo() as repo:
            head = repo.scm.get_rev()
            if not names:
                listed = dict(sorted(repo.experiments.ls(head).get(head, [])))
                if not listed:
                    raise UserError(
                        "this commit has no experiments; `dvc exp run -S KEY=VALUE` makes one, or name some"
                    )
                return {BASELINE: head, **listed}
            known = {name: rev for found in repo.experiments.ls(all_commits=True).values() for name, rev in found}
            return {BASELINE: head} | {name: known.get(name) or repo.scm.resolve_rev(name) for name in names}
    except NotDvcRepoError:
        raise UserError("no DVC repository here; run from the project's root") from None
    except SCMError as error:
        raise UserError(f"{error}: no experiment, branch or commit; `dvc exp list` names the experiments") from None


def _experiment(name: str, rev: str, protocol: str) -> Experiment:
    from dvc.api import DVCFileSystem

    stored = DVCFileSystem(rev=rev)
    params = _params(stored, name)
    models = list(params.get("models", {}))
    return Experiment(
        name=name,
        rev=rev,
        params=params,
        metrics=_each(stored, {key: layout.metrics(key).as_posix() for key in models}),
        audits=_each(stored, {key: (layout.fine_tuned(key) / "audit.json").as_posix() for key in models}),
        tables=_tables(stored, models, protocol),
        costs=_costs(params),
        articles=_articles(stored),
    )


def _params(stored: Any, name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    def read_text(path: str) -> str:
        return str(stored.read_text(path, encoding="utf-8"))

    try:
        return settings.read_tree(read_text)
    except UserError:
        # Of another version of radcap, or of one without configs/: what params.yaml itself says.
        with contextlib.suppress(FileNotFoundError):
            tree: dict[str, Any] = YAML(typ="safe").load(read_text(settings.PARAMS))
            return tree
        raise UserError(f"{name} holds no {settings.PARAMS}") from None


def _each(stored: Any, paths: Mapping[str, str]) -> dict[str, Any]:
    """JSON files by model, of those that are there: in git, or in DVC's cache."""
    found = {}
    for key, path in paths.items():
        with _unless_absent():
            found[key] = json.loads(stored.read_text(path, encoding="utf-8"))
    return found


def _tables(stored: Any, models: Sequence[str], protocol: str) -> dict[str, Any]:
    found = {}
    for key in models:
        path = (layout.scores(key) / f"{PLAIN}.parquet").as_posix()
        with _unless_absent(), stored.open(path, "rb") as stream:
            found[key] = table(stream, protocol)
    return found


def _articles(stored: Any) -> dict[str, str]:
    with _unless_absent():
        return articles.parse(stored.read_text(layout.articles().as_posix(), encoding="utf-8"))
    return {}


@contextlib.contextmanager
def _unless_absent() -> Iterator[None]:
    """Pass over a file that is neither in git nor in DVC's cache; the comparison tells which are not."""
    from dvc_data.index import DataIndexDirError

    with contextlib.suppress(FileNotFoundError, DataIndexDirError):
        yield


def _costs(params: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Of an experiment whose parameters this version of radcap can read; others have none."""
    try:
        known = settings.parse(params)
    except UserError:
        return {}
    return {key: cost for key in known.models if (cost := tracking.training_cost(known, key))}
