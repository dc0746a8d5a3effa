"""Experiments side by side: what was set otherwise, what trained, what came out, and whether it differs."""
