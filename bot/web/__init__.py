"""The board, health and metrics over HTTP."""
