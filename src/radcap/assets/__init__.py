"""What a profile needs on disk, published checkpoints and packs: sources, inspection, download, and the doctor."""
