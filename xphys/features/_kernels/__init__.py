"""Features of plain arrays: one module for each family, and what they share."""
