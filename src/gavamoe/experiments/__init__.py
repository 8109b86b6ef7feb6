"""Many runs: the comparison of systems and ablations, over seeds."""
