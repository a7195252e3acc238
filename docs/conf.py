"""Sphinx configuration."""

from xphys import __version__

project = "xphys"
author = "The xphys developers"
copyright = "2026, The xphys developers"
release = __version__

extensions = ["myst_nb"]
nb_execution_mode = "off"
myst_enable_extensions = ["deflist", "dollarmath"]
exclude_patterns = ["_build"]

html_theme = "pydata_sphinx_theme"
html_title = "xphys"
html_theme_options = {"show_toc_level": 2}
