"""Real processes killed under load, servers lost, every fault; then the money is counted."""
