"""The scorers' public downloads: files, repositories and pinned commits, and where a profile expects them on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from radcap.settings import SCORERS, Scorers, Settings

COMMIT = re.compile(r"[0-9a-f]{40}")
# Suffixes of a checkpoint that is a single file, as CheXNet's, instead of a folder or a hub id.
FILE_SUFFIXES = (".pth.tar", ".pth", ".pt", ".safetensors")
MEDIMAGEINSIGHT = "2024.09.27"
CLIP = f"{MEDIMAGEINSIGHT}/language_model/clip_tokenizer_4.16.2"
UMLS_PACK = (
    "a MedCAT pack cannot be downloaded here: take out a UMLS licence at https://uts.nlm.nih.gov, follow the model "
    "download form linked from https://github.com/CogStack/cogstack-nlp with it, and put the zip at"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of a hub repository at a commit.

    Without a commit, the branch's current one is used and recorded. Without files, those that match hub.PATTERNS.
    `sha256`: {file: digest}, in addition to those that the hub itself provides.
    """

    name: str
    metric: str
    repo: str
    commit: str | None
    licence: str
    files: tuple[str, ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip at a web address, of which only `folder` is unpacked."""

    name: str
    metric: str
    url: str
    size: int
    sha256: str
    folder: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A source that a profile needs, and where it expects it.

    `branch`: a branch, tag or commit. `path`: the folder, or the file if the source is a single one; None for the hub's
    cache. `staging`: the folder beside `path` that holds unfinished downloads.
    """

    source: Source
    branch: str
    path: Path | None
    staging: Path | None = None

    def target(self, file: str) -> Path | None:
        """The path of one of the repository's files; None for the hub's cache."""
        return self.path / file if self.path and len(self.source.files) != 1 else self.path


SIMILARITY = Source(
    name="MedImageInsight",
    metric="similarity",
    repo="lion-ai/MedImageInsights",
    # No commit of it is published, so the first fetch records the one that it used.
    commit=None,
    files=(
        f"{MEDIMAGEINSIGHT}/config.yaml",
        # This is how its publishers spell it.
        f"{MEDIMAGEINSIGHT}/vision_model/medimageinsigt-v1.0.0.pt",
        f"{CLIP}/vocab.json",
        f"{CLIP}/merges.txt",
    ),
    licence="MIT; for research, not for clinical use",
)
BERTSCORE = Source(
    name="DeBERTa",
    metric="bertscore",
    repo="microsoft/deberta-xlarge-mnli",
    commit="5b07a9086c1dbb79981ff7b05b4d1ad83b3af51c",
    licence="MIT",
)
BLEURT = Source(
    name="BLEURT",
    metric="bleurt",
    repo="lucadiliello/BLEURT-20-D12",
    commit="90ce39a8ceb3b9a046a7788f0005572301c3fe67",
    licence="Apache-2.0",
)
ALIGNSCORE = Source(
    name="AlignScore",
    metric="alignscore",
    repo="yzha/AlignScore",
    commit="8509e78d25bb914939fc585c626500c9b2944249",
    files=("AlignScore-base.ckpt",),
    sha256={"AlignScore-base.ckpt": "6aedb637f0596ab29baef91e94466a57f032e02feea654978518919fe0981607"},
    licence="MIT",
)
ROBERTA = Source(
    name="RoBERTa's tokenizer",
    metric="alignscore",
    repo="FacebookAI/roberta-base",
    commit="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
    files=("config.json", "vocab.json", "merges.txt"),
    licence="MIT",
)
PUNKT = Archive(
    name="punkt_tab",
    metric="alignscore",
    url="https://raw.githubusercontent.com/nltk/nltk_data/4f15a3d89eefe9748ec1c05be495d91289197155"
    "/packages/tokenizers/punkt_tab.zip",
    size=4_319_076,
    sha256="e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106",
    folder="punkt_tab/english/",
    licence="MIT",
)


def requirements(scorers: Scorers) -> list[Requirement]:
    """The repositories that a profile's published scorers need, in the order of the metrics."""
    tree, ckpt = Path(scorers.medimageinsight).expanduser(), Path(scorers.alignscore).expanduser()
    staging = _staging(ckpt)
    # If AlignScore's is a folder, it is a converted checkpoint, which includes RoBERTa's files.
    roberta = Requirement(source=ROBERTA, branch="main", path=ckpt.parent, staging=staging)
    return [
        Requirement(source=SIMILARITY, branch="main", path=tree, staging=_staging(tree)),
        _from_settings(BERTSCORE, scorers.deberta, scorers.deberta_revision),
        _from_settings(BLEURT, scorers.bleurt, scorers.bleurt_revision),
        Requirement(source=ALIGNSCORE, branch="main", path=ckpt, staging=staging),
        *([] if ckpt.is_dir() else [roberta]),
    ]


def _from_settings(source: Source, checkpoint: str, revision: str) -> Requirement:
    """The known repository, or another hub id or a folder if the profile names one."""
    local = Path(checkpoint).expanduser()
    if checkpoint != source.repo:
        source = Source(
            name=source.name, metric=source.metric, repo=checkpoint, commit=None, licence="as its page on the hub says"
        )
    return Requirement(source=source, branch=revision, path=local if local.is_dir() else None)


def _staging(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def tokenizer_conflicts(params: Settings, scorers: Scorers) -> dict[str, str]:
    """{model: explanation} of the models that would take RoBERTa's files, which are there for AlignScore, as theirs."""
    ckpt = Path(scorers.alignscore).expanduser()
    return {
        key: f"models.{key}.checkpoint takes the tokenizer beside it, which is RoBERTa's and belongs to AlignScore; "
        f"name a separate folder in alignscore of {SCORERS}"
        for key, model in params.models.items()
        if model.checkpoint.endswith(FILE_SUFFIXES)
        and Path(model.checkpoint).expanduser().parent == ckpt.parent
        and not ckpt.is_dir()
    }
