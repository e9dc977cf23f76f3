"""The network between workloads of the embedded platform: one TCP proxy per link, each with a switchable fault."""
