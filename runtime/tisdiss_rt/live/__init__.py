"""Live sound through two devices: microphone to headphones."""
