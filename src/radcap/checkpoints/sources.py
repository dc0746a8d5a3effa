"""The scorers' public downloads: which files of which repository at which commit, and where a profile wants them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from radcap.settings import SCORERS, Scorers, Settings

COMMIT = re.compile(r"[0-9a-f]{40}")
# A model's checkpoint that is one file, not a folder or a hub id (CheXNet's).
FILE_SUFFIXES = (".pth.tar", ".pth", ".pt", ".safetensors")
MEDIMAGEINSIGHT = "2024.09.27"
CLIP = f"{MEDIMAGEINSIGHT}/language_model/clip_tokenizer_4.16.2"
UMLS_PACK = (
    "a MedCAT pack cannot be downloaded here: take out a UMLS licence at https://uts.nlm.nih.gov, follow the model "
    "download form linked from https://github.com/CogStack/cogstack-nlp with it, and put the zip at"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository's files at a commit. Without one the branch's is taken and recorded; without files, hub.PATTERNS.

    `sha256`: {file: digest}, beside those that the hub itself names.
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
    """A zip from a web address, of which `folder` is kept."""

    name: str
    metric: str
    url: str
    size: int
    sha256: str
    folder: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A source with what a profile says of it. `place`: the folder or, of one file, its path; None: the hub's cache.

    `branch` may be a tag or a commit too. `staging`: the folder beside the place in which a download grows.
    """

    source: Source
    branch: str
    place: Path | None
    staging: Path | None = None

    def target(self, path: str) -> Path | None:
        """Where one of the repository's files goes."""
        return self.place / path if self.place and len(self.source.files) != 1 else self.place


SIMILARITY = Source(
    name="MedImageInsight",
    metric="similarity",
    repo="lion-ai/MedImageInsights",
    # No commit of it is named in public, so the first fetch records the one that it took.
    commit=None,
    files=(
        f"{MEDIMAGEINSIGHT}/config.yaml",
        # Spelled so by its publishers.
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


def wanted(scorers: Scorers) -> list[Wanted]:
    """The repositories that a profile's published scorers read, in the metrics' order."""
    tree, ckpt = Path(scorers.medimageinsight).expanduser(), Path(scorers.alignscore).expanduser()
    beside = _staging(ckpt)
    # A folder is a converted checkpoint, which brings RoBERTa's files along.
    roberta = Wanted(source=ROBERTA, branch="main", place=ckpt.parent, staging=beside)
    return [
        Wanted(source=SIMILARITY, branch="main", place=tree, staging=_staging(tree)),
        _named(BERTSCORE, scorers.deberta, scorers.deberta_revision),
        _named(BLEURT, scorers.bleurt, scorers.bleurt_revision),
        Wanted(source=ALIGNSCORE, branch="main", place=ckpt, staging=beside),
        *([] if ckpt.is_dir() else [roberta]),
    ]


def _named(known: Source, checkpoint: str, revision: str) -> Wanted:
    """A profile's own hub id or folder may stand in the place of the known repository."""
    local = Path(checkpoint).expanduser()
    if checkpoint != known.repo:
        known = Source(
            name=known.name, metric=known.metric, repo=checkpoint, commit=None, licence="as its page on the hub says"
        )
    return Wanted(source=known, branch=revision, place=local if local.is_dir() else None)


def _staging(place: Path) -> Path:
    return place.with_name(f".{place.name}.part")


def clashes(params: Settings, scorers: Scorers) -> dict[str, str]:
    """{model: why} of those that would take RoBERTa's files, which lie beside AlignScore's, for their tokenizer's."""
    ckpt = Path(scorers.alignscore).expanduser()
    return {
        key: f"models.{key}.checkpoint takes the tokenizer beside it, which is RoBERTa's, put there for AlignScore; "
        f"name a folder of its own in alignscore of {SCORERS}"
        for key, model in params.models.items()
        if model.checkpoint.endswith(FILE_SUFFIXES)
        and Path(model.checkpoint).expanduser().parent == ckpt.parent
        and not ckpt.is_dir()
    }
