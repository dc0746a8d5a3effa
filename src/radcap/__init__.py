"""radcap: reproducible radiology image captioning, from raw images to the tables of a study."""

__version__ = "0.1.0"
