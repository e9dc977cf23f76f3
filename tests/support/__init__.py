"""Builders that tests share: keys and signers, journals filled by hand, servers on free ports."""
