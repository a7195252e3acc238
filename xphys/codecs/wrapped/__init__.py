"""Compressors of others as methods of `compress`: the same bounds are verified around them.

Importing this registers them; the packages behind them are imported on first use.
"""

from xphys.codecs.wrapped._methods import CODECS, extra_of, require_method

__all__ = ["CODECS", "extra_of", "require_method"]
