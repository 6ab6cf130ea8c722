"""A model's release: what it is checked against, and what is made of that. Knows no worker and no flow."""
