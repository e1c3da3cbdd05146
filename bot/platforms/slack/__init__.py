"""Slack: Socket Mode, Block Kit."""
