"""What every process agrees on: settings, contract, lifecycle, store, gateway protocol."""
