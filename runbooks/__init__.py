"""Runbooks, one for each class of fault: Markdown with a head (`agents/runbook/frontmatter.py`). No code."""
