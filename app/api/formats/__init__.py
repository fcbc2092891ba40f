"""Tables for people and other programs: CSV, Markdown, HTML. Names are hostile until escaped."""
