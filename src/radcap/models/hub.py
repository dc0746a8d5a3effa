"""Snapshots of hub repositories, in the hub's own cache."""

from pathlib import Path

from radcap.errors import UserError

# Weights, configurations and tokenizers; no code.
PATTERNS = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.jinja")


def download(checkpoint: str, revision: str) -> Path:
    """The folder of a repository at a revision, downloaded where it is not cached; never code from it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(checkpoint, revision=revision, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"checkpoint {checkpoint!r}: neither a local folder nor reachable on the hub ({reason})"
        ) from None
