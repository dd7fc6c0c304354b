"""Pages, tables and figures of arrays and metrics; imports no workflow."""
