"""Candidates to Events to Alerts: pure over stream time."""
