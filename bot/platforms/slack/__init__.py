"""Slack: Socket Mode for commands and losses, the Web API for deliveries."""
