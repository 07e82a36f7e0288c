"""Figures of papers, reproduced with thresholds: `python -m experiments`."""
