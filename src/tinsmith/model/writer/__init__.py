"""Questions about passages, written by the run's base model or by an endpoint that the owner configured."""
