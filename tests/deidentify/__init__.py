"""De-identified data sets, archives and mounts."""
