"""Times training steps and minings, on request beside the same work in PyTorch."""
