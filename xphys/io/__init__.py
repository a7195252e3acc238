"""Opening and writing: readers, writers, payloads."""

__all__ = []
