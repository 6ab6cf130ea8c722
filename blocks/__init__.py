"""Prefect blocks: settings and secrets, checked; each hands out a plain value or a fleet."""
