"""Discord: gateway, embeds."""
