"""Tocsin: public posts in, alerts out to the organisations that subscribe, access withdrawn at once."""
