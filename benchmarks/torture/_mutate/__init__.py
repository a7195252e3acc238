"""Files changed by somebody who knows their format."""
