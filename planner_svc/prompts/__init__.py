"""Prompt templates as versioned files, read by `planner_svc/prompt_files.py`.

A template that was used is never changed: a better one is the next version, since its hash stands in every record of a
run (docs/planner.md).
"""
