"""Errors that carry one sentence for a person: what happened, to what, and what to do."""


class TocsinError(Exception):
    """Could not be done. Exit status 1 on the command line."""


class UsageError(TocsinError):
    """The caller asked for something that does not exist or makes no sense. Exit status 2."""


class RefusedError(TocsinError):
    """The actor may not do this; the refusal has been (or is being) audited."""


class StoreError(TocsinError):
    """The store cannot be opened or written: locked by another service, disk full, damaged."""
