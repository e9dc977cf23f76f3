"""Pure: what the journal's messages come to for somebody who looks. No clock, no network, no server."""
