"""The stories: one file a flow, its body the stage calls from top to bottom."""
