"""Grafana's dashboards: said in Python (`shop.py`, `control.py`, `jetstream.py`), written as JSON by `__main__.py`."""
