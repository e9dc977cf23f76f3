"""The demo on a stage: six minutes as data, and what carries them out on a real stack."""
