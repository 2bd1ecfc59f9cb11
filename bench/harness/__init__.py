"""The parts of the bench: what is measured (`workloads`), with what (`tools`), and by what (`meter`)."""
