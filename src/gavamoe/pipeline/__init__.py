"""The main job: both stages trained into a run directory, evaluated, and shown."""
