"""The control plane's broker: its configuration, made from `broker.subjects`."""
