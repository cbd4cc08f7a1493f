"""Messages that are kept: Varde beside Mosquitto, at rates that climb, and what is left after SIGKILL."""
