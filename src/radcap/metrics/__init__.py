"""Scores of captions: one file per metric behind one contract, protocols as data."""
