"""Compiled solves: the loop's own body, captured, in loops that run without Python between steps."""
