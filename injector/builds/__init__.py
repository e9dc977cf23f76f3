"""Builds of the shop's services that should never have been released (fault `bad_version`)."""
