"""report.html: one file with three pictures."""
