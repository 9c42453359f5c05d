"""What each TIFF reader makes of each slide, as a table in Markdown."""
