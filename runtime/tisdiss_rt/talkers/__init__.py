"""Who is who: every talker stays on one output, from window to window and through silence."""
