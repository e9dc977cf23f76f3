"""The dashboard's API: the journal and the audit, read for people; their commands, signed as the operator's."""
