"""Measurements whose results are kept under ``benchmarks/results``."""
