"""What a Prometheus server reads at a worker's /metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def values(text: str) -> dict[tuple[str, str], float]:
    """Return samples by name and the value of their only label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("pressrun_") and "le" not in sample.labels
    }
