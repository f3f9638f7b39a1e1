"""What the edge, the collector and the control plane must agree on, and nothing else.

The leaf of the house: key grammar, usage line, plugin schemas. It opens no file, socket or database
and imports nothing of Farebox.
"""
