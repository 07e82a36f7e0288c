"""Data that are drawn from formulas: points in classes, a map that no 1-D flow makes, periodic series."""
