"""Killed writers, damaged bytes, racing writers and full disks against the verified store."""
