"""Side-by-side benchmarks; the product never imports this folder. What they found stands in RESULTS.md."""
