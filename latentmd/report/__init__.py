"""Pages, tables and figures. Knows no workflow."""
