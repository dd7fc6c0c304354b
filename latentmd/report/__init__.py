"""Pages, tables and figures. Knows nothing of the work that they report on."""
