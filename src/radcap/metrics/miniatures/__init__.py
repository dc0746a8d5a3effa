"""Miniature scorers for the sample: small models in the published layouts, trained on the spot."""
