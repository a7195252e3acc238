"""The frame as a Zarr v3 codec and as a numcodecs codec; found by entry point ``xphys.frame``."""
