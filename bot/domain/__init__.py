"""The rules: pure data and functions. No I/O, no clock, no logging; standard library only."""
