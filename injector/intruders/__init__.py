"""Foreign programs that do harm in a workload's scope until they are ended.

`services/platform/embedded/intruders.py` starts them, marks them and ends them.
"""
