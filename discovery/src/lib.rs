//! Who is where: services, instances and their state. Knows nothing of the sidecar.
