"""Named configurations, a YAML file each: what they change of the defaults in `gavamoe.config`."""
