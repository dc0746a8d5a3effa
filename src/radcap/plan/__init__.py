"""What a fine-tuning run costs before any weight is downloaded: parameters, adapters, memory, beside the study's."""
