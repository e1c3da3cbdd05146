"""The slash commands, once for every chat surface: text or options in, one reply out."""
