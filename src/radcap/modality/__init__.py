"""The modality classifier: a ResNet-50 that tells CT from X-ray, MRI and so on by the image alone."""

# Before transformers: it keeps the Hugging Face libraries' bars to terminals.
import radcap.models  # noqa: F401
